"""A hostile process in the administrator's place, against the access function and the mediator as real processes.

It holds the X1 sockets and every text that honest persons ever signed. Each row of the mutation matrix is sent to both
processes: each must refuse it by the name that `admit` gives, for itself. What they have in common with the
administrator is the function `admit`; that they call it, on what they were sent and with their own key rings, is what
is shown here. The clock of the processes is set to the matrix's time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio

from mediation.core import x1
from mediation.core.case import TaskRequest
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from mediation.core.trust import Trust
from mediation.runtime import sockets
from tests import vault
from tests.core import authority, founding
from tests.core.mutation import GOOD
from tests.core.mutations import ROWS
from tests.delivery.support import Certificates

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the access function opens a packet socket")

# Runs a function with another wall clock; `monotonic` and everything else stay as they are.
LAUNCHER = """
import sys, time
real, shift = time.time_ns, int(sys.argv.pop(1))
time.time_ns = lambda: real() + shift
time.time = lambda: time.time_ns() / 1e9
from mediation.cli.main import main
main()
"""
START_LIMIT_S = 20.0
LAG_NS = 20_000_000_000


def _groups() -> dict[str, list[str]]:
    """Rows that the same processes can be asked: same key rings, same time. A process knows of no revocation."""
    groups: dict[str, list[str]] = {}
    seen: dict[tuple[bytes, bool, int, bool], str] = {}
    for name, (check, make) in ROWS.items():
        _, trust, now_ns = make()
        if trust.revoked or _no_roster(trust):
            continue
        rings = msgspec.json.encode({role: list(keys.values()) for role, keys in trust.rings.items()})
        groups.setdefault(seen.setdefault((rings, trust.lab, now_ns, check is Check.EXPIRED), name), []).append(name)
    return groups


def _no_roster(trust: Trust) -> bool:
    """Whether no roster can hold these persons: two roles of one, a key of two, a lab's key. None is on any disk."""
    try:
        founding.of_trust(trust)
    except AuthorizationError as error:
        assert error.check in {Check.ROSTER_ROLES, Check.ROSTER_KEYS, Check.LAB_KEY}
        return True
    return trust.senior_officer(authority.NOW_S) is None


GROUPS = _groups()


def write_site(folder: Path, trust: Trust) -> None:
    for name in ("keys", "run", "log", "spool", "delivery", "certificates"):
        (folder / name).mkdir()
    (folder / "config.toml").write_text(
        f'name = "house"\nlab = {str(trust.lab).lower()}\n[[iap]]\nname = "access-1"\ninterface = "lo"\nring_mib = 1\n'
        "promiscuous = false\n[clock]\naccept_undisciplined = true\n"
    )
    founding.write(folder / "keys", *founding.of_trust(trust))
    (folder / "keys" / "ledger.pub").write_text(f"{trust.ledger}\n")
    vault.furnish(folder)
    Certificates(folder / "certificates")
    for source, target in (("mediator.pem", "client.pem"), ("mediator.key", "client.key"), ("ca.pem", "agency-ca.pem")):
        (folder / "delivery" / target).write_bytes((folder / "certificates" / source).read_bytes())


@contextmanager
def function(name: str, folder: Path, now_ns: int) -> Iterator[None]:
    shift = now_ns - time.time_ns()
    with (folder / "log" / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, str(shift), "function", name, "--site", str(folder)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


async def connect(folder: Path, name: str) -> trio.SocketStream:
    with trio.move_on_after(START_LIMIT_S):
        while True:
            try:
                return await sockets.connect(folder / "run", f"{name}.x1")
            except OSError:
                await trio.sleep(0.02)  # nothing announces a socket that is not there yet
    raise AssertionError((folder / "log" / f"{name}.log").read_text())


async def ask(stream: trio.SocketStream, request: TaskRequest) -> x1.Answer:
    lines = x1.Lines()
    await stream.send_all(x1.encode(x1.ActivateTask(id=1, request=request)))
    with trio.fail_after(5):
        while True:
            octets = await stream.receive_some(65_536)
            assert octets, "it hung up instead of refusing"
            for line in lines.feed(octets):
                return x1.decode_answer(line)


async def refuses(folder: Path, name: str, group: str, *, control: bool) -> None:
    """Every row of the group is refused by its name; with `control` the honest order is armed after all."""
    wrong = {}
    async with await connect(folder, name) as stream:
        for row in GROUPS[group]:
            check, make = ROWS[row]
            answer = await ask(stream, make()[0])
            if not isinstance(answer, x1.Refused) or answer.check != check:
                wrong[row] = (str(check), answer)
        if control:
            assert isinstance(await ask(stream, GOOD), x1.Ok)
    assert not wrong, f"{name}: {wrong}"


@pytest.mark.root
@pytest.mark.parametrize("group", GROUPS)
async def test_refused_by_each_process_itself(tmp_path: Path, group: str) -> None:
    _, trust, now_ns = ROWS[group][1]()
    write_site(tmp_path, trust)
    # Rows stand at the very edge of a limit; a process's clock goes on. Lag lets none of them come over it meanwhile.
    begin_ns = now_ns - (0 if ROWS[group][0] is Check.EXPIRED else LAG_NS)
    honest = now_ns == authority.NOW_NS and trust.rings == authority.trust().rings and not trust.lab
    with function("iap", tmp_path, begin_ns), function("mediator", tmp_path, begin_ns):
        async with trio.open_nursery() as nursery:
            for name in ("iap", "mediator"):
                nursery.start_soon(partial(refuses, tmp_path, name, group, control=honest))
    for name in ("iap", "mediator"):
        assert "2125550100" not in (tmp_path / "log" / f"{name}.log").read_text()
