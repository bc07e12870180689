"""A hostile process in the administrator's place, against the access function and the mediator as real processes.

It holds the X1 sockets and every text that honest persons ever signed. Each row of the mutation matrix is sent to both
processes: each must refuse it by the name that `admit` gives, for itself. What they have in common with the
administrator is the function `admit`; that they call it, on what they were sent and with their own key rings, is what
is shown here. The clock of the processes is set to the matrix's time.
"""

from __future__ import annotations

import os
import signal
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

from mediation.core.authority import authorization
from mediation.core.authority.trust import Trust
from mediation.core.case import Act, TaskRequest
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from mediation.core.interface import x1
from mediation.runtime import sockets
from tests import vault, warm
from tests.core import authority, founding
from tests.core.authority import LEGAL
from tests.core.mutation import GOOD, replace, with_commands
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
START_LIMIT_S, STOP_LIMIT_S = 60.0, 60.0
LAG_NS = 20_000_000_000


def _groups() -> dict[str, list[str]]:
    """Rows that the same processes can be asked: same key rings, same time. A process knows of no revocation."""
    groups: dict[str, list[str]] = {}
    seen: dict[tuple[bytes, bool, int, bool], str] = {}
    for name, (check, make) in ROWS.items():
        _, trust, now_ns = make()
        # The founding on the disk has executives of its own, who sign no order either.
        if _of_the_site(trust) or trust.revoked or _no_roster(trust) or "executive" in name:
            continue
        rings = msgspec.json.encode({role: list(keys.values()) for role, keys in trust.rings.items()})
        groups.setdefault(seen.setdefault((rings, trust.lab, now_ns, check is Check.EXPIRED), name), []).append(name)
    return groups


def _of_the_site(trust: Trust) -> bool:
    """Whether the row is of another site's contacts, terms or policy, which these processes do not have."""
    usual = authority.trust()
    if trust.policy is None or trust.terms != usual.terms:
        return True
    return not trust.roster.lines and trust.roster.contacts != usual.roster.contacts


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
def function(name: str, folder: Path, now_ns: int, namespace: str = "") -> Iterator[None]:
    """With another wall clock; `monotonic` and everything else stay as they are."""
    shift_ns, words = now_ns - time.time_ns(), ("function", name, "--site", str(folder))
    process: warm.Process | subprocess.Popen[bytes]
    with (folder / "log" / f"{name}.log").open("ab") as log:
        if namespace:
            process = subprocess.Popen(
                ["ip", "netns", "exec", namespace, sys.executable, "-c", LAUNCHER, str(shift_ns), *words],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        else:
            image = warm.function(name, turned=True)
            process = image.start(*words, out=log.fileno(), errors=log.fileno(), shift_ns=shift_ns)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_LIMIT_S)


async def connect(folder: Path, name: str) -> trio.SocketStream:
    with trio.move_on_after(START_LIMIT_S):
        while True:
            try:
                return await sockets.connect(folder / "run", f"{name}.x1")
            except OSError:
                await trio.sleep(0.02)  # nothing announces a socket that is not there yet
    raise AssertionError((folder / "log" / f"{name}.log").read_text())


async def ask(stream: trio.SocketStream, request: TaskRequest) -> x1.Answer:
    return await say(stream, x1.ActivateTask(id=1, request=request))


async def say(stream: trio.SocketStream, message: x1.Request) -> x1.Answer:
    lines = x1.Lines()
    await stream.send_all(x1.encode(message))
    with trio.fail_after(60):
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


async def only_stops(folder: Path, name: str) -> None:
    """What a hostile administrator can do with an order that runs: interrupt and end it. Nothing else, and what it
    has interrupted goes on only by an officer's later act."""
    ledger = authority.Ledger()
    texts = with_commands(
        {}, {"act": Act.SUSPEND, "sequence": 2}, {"act": Act.RESUME, "sequence": 3}, ledger=ledger
    )  # fmt: skip
    first = replace(texts, commands=texts.commands[:1], proofs=texts.proofs[:1])
    xid = authorization.xid(texts.carrier).hex()
    async with await connect(folder, name) as stream:

        async def change(request: TaskRequest) -> str:
            answer = await say(stream, x1.ModifyTask(request=request))
            return answer.check if isinstance(answer, x1.Refused) else "ok"

        assert isinstance(await ask(stream, first), x1.Ok)
        elsewhere = msgspec.structs.replace(LEGAL, destination=msgspec.structs.replace(LEGAL.destination, port=41_900))
        assert await change(replace(first, legal=authority.sign_legal(elsewhere))) == Check.LEGAL_BINDING
        longer = authority.extended(ledger=ledger)
        half = longer.extensions[0]
        for missing in ("legal", "carrier"):
            without = msgspec.structs.replace(half, **{missing: ""})
            assert await change(replace(longer, extensions=(without,))) != "ok"
        assert await change(replace(longer, extensions=())) == Check.EXTENSION
        # Without the officer's word it can suspend; without it, it cannot resume.
        assert isinstance(await say(stream, x1.SuspendTask(xid=xid, sequence=0)), x1.Ok)
        assert await change(first) == Check.SUSPENDED
        answer = await ask(stream, first)
        assert isinstance(answer, x1.Refused) and answer.check == Check.SUSPENDED
        assert await change(texts) == "ok"
        assert isinstance(await say(stream, x1.DeactivateTask(xid=xid)), x1.Ok)
        assert await change(texts) == Check.DEACTIVATED


@pytest.mark.root
async def test_a_hostile_administrator_can_only_stop(tmp_path: Path) -> None:
    trust = authority.trust()
    write_site(tmp_path, trust)
    begin_ns = authority.NOW_NS - LAG_NS
    with function("iap", tmp_path, begin_ns), function("mediator", tmp_path, begin_ns):
        async with trio.open_nursery() as nursery:
            for name in ("iap", "mediator"):
                nursery.start_soon(only_stops, tmp_path, name)
