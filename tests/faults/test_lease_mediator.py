"""SEC-3 in the mediator's process: without news of the witnesses its taps die, and come back with a new head.

The grace is the configured one, 24 hours; the witness's last word is what is nearly that old.
"""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from mediation.core.authority.lease import GRACE_NS
from mediation.core.case import TaskRequest
from mediation.core.interface import x1
from mediation.core.ledger import merkle, note
from tests.core import authority as a
from tests.delivery.house import call, xid_of
from tests.delivery.links import until
from tests.delivery.rig import Rig, rig
from tests.faults.test_calls_mediator import story

GRACE_S = GRACE_NS // 1_000_000_000
LEFT_S = 8  # of the grace, once the order is armed


def head(ledger: a.Ledger, first: int, time_s: int) -> x1.Head:
    """The ledger's head, cosigned then, and the path from the one of `first` leaves."""
    tree = ledger.tree
    text = a.SIGNER.sign(note.Checkpoint(origin=a.ORIGIN, size=tree.size, root=tree.root()).text())
    path = merkle.consistency_path(first, tree.size, tree.read) if 0 < first < tree.size else []
    return x1.Head(checkpoint=a.cosigned(text, time_s), first=first, path=tuple(node.hex() for node in path))


def under(request: TaskRequest, text: str) -> TaskRequest:
    """The same order, proven under a head with other cosignatures."""
    proofs = tuple(msgspec.structs.replace(proof, checkpoint=text) for proof in request.proofs)
    return msgspec.structs.replace(request, proofs=proofs)


async def lapsed(r: Rig) -> None:
    await r.report_where(lambda found: found["tasks"] == 0 and found["lease"]["lapses"] == 1)


async def test_taps_die_with_the_grace_and_come_back_with_their_calls(tmp_path: Path) -> None:
    async with rig(tmp_path) as r, r.collector.running(r.port):
        ledger = r.house.ledger
        order = r.house.order(r.port)
        size, now_s = ledger.tree.size, int(time.time())
        old = under(order, head(ledger, 0, now_s - GRACE_S + LEFT_S).checkpoint)
        assert await r.ask(x1.ActivateTask(request=old)) == x1.Ok()
        xid = xid_of(order)
        *begun, bye = call("one")
        await r.tap.send(r.tap.pdus(xid, begun, 7))
        await until(lambda: story(r, "one") == ["origination", "networkSignal", "answer"])
        await lapsed(r)
        await r.tap.send(r.tap.pdus(xid, call("meanwhile"), 8))
        await r.report_where(lambda found: found["tracker"]["refused_unknown"] + found["tracker"]["refused_ended"] >= 4)
        refused = await r.ask(x1.ActivateTask(request=old))
        assert isinstance(refused, x1.Refused) and refused.check == "lease"
        again = head(ledger, size, int(time.time()))
        assert await r.ask(again) == x1.Ok(again=True)
        assert await r.ask(x1.ActivateTask(request=under(order, again.checkpoint))) == x1.Ok()
        report = await r.report()
        assert report["calls"] == report["tracker"]["restored"] == 1
        await r.tap.send(r.tap.pdus(xid, [bye], 7))
        await until(lambda: "release" in story(r, "one"))
        assert story(r, "one") == ["origination", "networkSignal", "answer", "release"]
        assert story(r, "meanwhile") == []


async def test_another_ledger_is_refused_over_a_restart(tmp_path: Path) -> None:
    """The head that was seen is remembered: one that was put back, or another, is no news."""
    async with rig(tmp_path) as r, r.collector.running(r.port):
        ledger = r.house.ledger
        early = head(ledger, 0, int(time.time()))
        r.house.order(r.port)  # an entry that the other ledger has not
        for _ in range(5):
            ledger.add(ledger.records[0][0])
        size = ledger.tree.size
        assert await r.ask(head(ledger, 0, int(time.time()))) == x1.Ok()
        await r.crash()
        await r.start()
        other = a.Ledger()
        for _ in range(size + 3):
            other.add(other.records[0][0])
        forged = head(other, size, int(time.time()))
        for wrong in (early, forged, head(other, 0, int(time.time()))):
            refused = await r.ask(wrong)
            assert isinstance(refused, x1.Refused)
            assert (refused.check, refused.detail) == ("proof-consistency", str(size))
        ledger.add(ledger.records[0][0])
        assert await r.ask(head(ledger, size, int(time.time()))) == x1.Ok()
        assert await r.ask(x1.ActivateTask(request=r.house.order(r.port))) == x1.Ok()
