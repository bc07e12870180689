"""What passes from X2 to the links: only what a live task covers, at the very moment it comes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from mediation.core.call import CallModel
from mediation.core.case import Task
from mediation.core.interface import task_table, x1
from mediation.core.interface.link import Loss, LossClass
from mediation.core.interface.x2 import Framer, Pdu, PduType
from mediation.core.message.cdc import CallEvent
from mediation.delivery.spool import Spool
from mediation.delivery.tracker import Tracker
from mediation.runtime import keys
from tests import vault
from tests.delivery.house import IAP, House, Tap, call, xid_of


class Desk:
    """A tracker and the task table that judges for it."""

    def __init__(self, path: Path) -> None:
        self.house = House(path)
        self.order = self.house.order(1)
        self.table = task_table.TaskTable(keys.load_trust(self.house.site), lambda _change: None)
        now_ns = self.house.now_s * 1_000_000_000
        assert self.table.handle(x1.ActivateTask(request=self.order), now_ns) == x1.Ok()
        self.tracker = Tracker(self.house.site.dial_plan, [IAP], digit_timeout_ns=10**9, status_messages=False)
        self.tracker.begin(self.task, now_ns)

    @property
    def task(self) -> Task:
        return next(iter(self.table))

    async def pdus(self, **changes: object) -> list[Pdu]:
        tap = Tap(self.house.site.run_dir)
        octets = tap.pdus(xid_of(self.order), call("call-1"), 1, **changes)
        await tap.close()
        return Framer().feed(octets)


async def test_the_end_of_a_window_is_exact(tmp_path: Path) -> None:
    """Nobody has to have noticed the end: the question is asked for each PDU."""
    desk = Desk(tmp_path)
    end_ns = desk.task.not_after_ns
    invite, ringing, *rest = await desk.pdus()
    assert len(desk.tracker.observe([invite], lambda xid: desk.table.live(xid, end_ns - 1))) == 1
    assert desk.tracker.observe([ringing], lambda xid: desk.table.live(xid, end_ns)) == []
    assert (desk.tracker.counters.refused_ended, desk.tracker.counters.refused_unknown) == (1, 0)
    begin_ns = desk.task.not_before_ns
    assert desk.tracker.observe(rest, lambda xid: desk.table.live(xid, begin_ns - 1)) == []
    assert desk.tracker.counters.refused_ended == 3


async def test_content_is_not_taken_for_signalling(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert desk.tracker.observe(await desk.pdus(type=PduType.X3), desk.table.get) == []
    assert desk.tracker.counters.not_x2 == 4


async def test_what_is_due_comes_with_the_time(tmp_path: Path) -> None:
    """A call that nobody ends is ended by its timer, and `next_deadline_ns` says when to look."""
    desk = Desk(tmp_path)
    invite, *_ = await desk.pdus()
    desk.tracker.observe([invite], desk.table.get)
    found = []
    while (deadline := desk.tracker.next_deadline_ns()) is not None:
        assert desk.tracker.advance(deadline - 1) == []
        found += desk.tracker.advance(deadline)
    assert len(found) == 1
    assert desk.tracker.calls == 0


async def test_a_task_that_ended_leaves_nothing_behind(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    pdus = await desk.pdus()
    desk.tracker.observe(pdus[:1], desk.table.get)
    assert desk.tracker.calls == 1
    task = desk.task
    desk.tracker.end(task, 0)
    assert desk.tracker.calls == 0
    assert desk.tracker.advance(1 << 62) == []
    assert desk.tracker.observe(pdus[1:], lambda _xid: None) == []
    assert desk.tracker.counters.refused_unknown == 3


async def test_a_fault_of_ours_in_one_call_is_a_reported_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(tmp_path)
    pdus = await desk.pdus()
    real = CallModel.observe

    def breaks(self: CallModel, pdu: Pdu) -> list[CallEvent]:
        if b"180 Ringing" in pdu.payload:
            raise IndexError("our bug")
        return real(self, pdu)

    monkeypatch.setattr(CallModel, "observe", breaks)
    outgoing = desk.tracker.observe(pdus, desk.table.get)
    assert desk.tracker.counters.faults == 1
    spool = Spool(tmp_path / "spool" / "x", vault.box(), now_s=1, bound_octets=1 << 20)
    events = spool.append([one.message for one in outgoing])
    assert [event for event in events if isinstance(event, Loss)] == [Loss(2, 2, LossClass.UNENCODABLE)]
    assert len(events) == 4
    spool.close()


async def test_what_the_profile_cannot_say_takes_no_number(tmp_path: Path) -> None:
    """PCESP has no SurveillanceStatus: nothing is sent, nothing is reported lost, and it is counted."""
    desk = Desk(tmp_path)
    task = msgspec.structs.replace(desk.task, profile="pcesp")
    tracker = Tracker(desk.house.site.dial_plan, [IAP], digit_timeout_ns=10**9, status_messages=True)
    assert tracker.begin(task, desk.house.now_s * 10**9) == []
    assert (tracker.counters.not_in_profile, tracker.counters.unencodable) == (1, 0)
    found = tracker.observe(await desk.pdus(), lambda _xid: task)
    assert found and all(message.octets and message.octets[0] == 0x30 for _, message, _ in found)


async def test_what_was_cut_to_fit_is_reported(tmp_path: Path) -> None:
    """The agency gets less than was said, so the carrier can see that it did."""
    desk = Desk(tmp_path)
    before = desk.tracker.adapted().get("digested", 0)
    (invite, *_) = await desk.pdus()
    long = msgspec.structs.replace(invite, payload=invite.payload.replace(b"call-1", b"c" * 20_000))
    assert long != invite
    assert desk.tracker.observe([long], lambda xid: desk.table.live(xid, desk.task.not_before_ns))
    assert desk.tracker.adapted()["digested"] > before
