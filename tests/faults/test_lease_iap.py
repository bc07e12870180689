"""SEC-3 in the access function's process, by real witnesses: without news of them its taps die, whoever still runs.

The grace is the configured hour. The witness is the real program, whose clock the test turns back, so that its last
word is nearly that old; then it is stopped, and it returns.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from mediation.administration.ledger.witnesses import Witnesses
from mediation.core.check import Check
from mediation.core.interface import x1
from mediation.core.ledger import merkle, note, policy
from mediation.runtime.keys import POLICY
from mediation.witness import folder as witness_folder
from tests.access.conftest import Wire, folder, wire
from tests.access.process import Access, answer, invite, running, write_site
from tests.core import authority as a
from tests.faults.test_calls_iap import bye
from tests.faults.test_lease_mediator import under
from tests.witness import clocked, processes

__all__ = ["folder", "wire"]
pytestmark = pytest.mark.root
NS = 1_000_000_000
GRACE_S = 3_600
LEFT_S = 8  # of the grace, once the witness has signed
NAME = "witness.example/counsel"


class Counsel:
    """One witness program, both of whose keys must cosign."""

    def __init__(self, path: Path) -> None:
        self._path, self._clock = path / "counsel", path / "clock"
        self._keys = witness_folder.init(self._path, NAME)
        witness_folder.add(self._path, str(a.SIGNER.verifier))
        self.policy = ""
        self._port = 0

    @asynccontextmanager
    async def running(self, ahead_s: int) -> AsyncIterator[None]:
        """`ahead_s` of the machine's clock; at the same address each time."""
        clocked.turn(self._clock, ahead_s * NS)
        command = (sys.executable, "-m", "tests.witness.clocked", str(self._clock))
        with processes.running(self._path, port=self._port, command=command) as program:
            self._port = program.ready["port"]
            lines = "".join(f"witness w{n} {key} {program.url}\n" for n, key in enumerate(self._keys))
            self.policy = f"log {a.SIGNER.verifier}\n{lines}group counsel all w0 w1\nquorum counsel\n"
            yield

    async def head(self, ledger: a.Ledger, first: int = 0) -> x1.Head | None:
        """The ledger's head as the witness cosigned it, and the path from the one of `first` leaves; None when the
        witness is away."""
        tree = ledger.tree
        text = a.SIGNER.sign(note.Checkpoint(origin=a.ORIGIN, size=tree.size, root=tree.root()).text())
        asked = Witnesses(policy.parse(self.policy), a.SIGNER.verifier)
        found = await asked.cosign(
            text, lambda one, two: merkle.consistency_path(one, two, tree.read), now_s=int(time.time())
        )
        await asked.close()
        if not found.judgement.quorum:
            return None
        path = merkle.consistency_path(first, tree.size, tree.read) if 0 < first < tree.size else []
        return x1.Head(checkpoint=found.note, first=first, path=tuple(node.hex() for node in path))


async def test_taps_die_with_the_grace_and_come_back_when_the_witness_does(
    folder: Path, wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(a, "NOW_S", int(time.time()))
    write_site(folder, wire, more=f"[ledger]\ngrace_hours = {GRACE_S // 3_600}\n")
    counsel = Counsel(tmp_path)
    access = Access(folder, wire)
    async with counsel.running(0):
        pass  # for its address
    (folder / "keys" / POLICY).write_text(counsel.policy)
    async with trio.open_nursery() as access.nursery:
        await access.start()
        try:
            await lapse_and_return(access, counsel)
        finally:
            await access.stop()


async def lapse_and_return(access: Access, counsel: Counsel) -> None:
    order = access.order()
    size = access.ledger.tree.size
    async with counsel.running(LEFT_S - GRACE_S):
        last = await counsel.head(access.ledger)
    assert last is not None
    old = under(order, last.checkpoint)
    assert await access.ask(x1.ActivateTask(id=1, request=old)) == x1.Ok(id=1)
    access.wire.send(invite(), answer())
    await access.pdus(2)

    # The witness is away, and the administrator has nothing that the function would take for its word.
    assert await counsel.head(access.ledger) is None
    with trio.fail_after(30):
        while (await access.report())["tasks"]:
            await trio.sleep(0.05)
    access.wire.send(bye(), invite(call_id="meanwhile"))
    await access.drained()
    refused = await access.ask(x1.ActivateTask(id=2, request=old))
    assert isinstance(refused, x1.Refused) and refused.check == Check.LEASE
    await access.ask(last)  # no news: the same word again
    assert not (await access.report())["tasks"]

    # It returns, and with its signature what ran goes on; of the time between there is nothing.
    async with counsel.running(0):
        again = await counsel.head(access.ledger, size)
    assert again is not None
    assert await access.ask(again) == x1.Ok(again=True)
    assert await access.ask(x1.ActivateTask(id=3, request=under(order, again.checkpoint))) == x1.Ok(id=3)
    access.wire.send(invite(call_id="after"))
    (pdu,) = await access.pdus(1)
    assert b"Call-ID: after" in pdu.payload


def packet_sockets(namespace: str) -> int:
    """By the kernel's own list (packet(7), /proc/net/packet)."""
    done = subprocess.run(
        ["ip", "netns", "exec", namespace, "cat", "/proc/net/packet"], capture_output=True, check=True
    )
    return len(done.stdout.splitlines()) - 1


async def test_a_tap_dies_with_its_process(folder: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """The element of this site is the kernel: what is killed leaves no socket and no filter behind it."""
    assert packet_sockets(wire.namespace) == 0
    async with running(folder, wire, monkeypatch) as access:
        assert await access.ask(x1.ActivateTask(id=1, request=access.order())) == x1.Ok(id=1)
        assert packet_sockets(wire.namespace) >= 1
        assert access.process is not None
        access.process.kill()
        await access.process.wait()
        with trio.fail_after(30):
            while packet_sockets(wire.namespace):
                await trio.sleep(0.05)
