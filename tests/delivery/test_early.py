"""What happens while the mediator starts: PDUs before their order, and orders that wait for their first PDU."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from mediation.collection.decoder import decode
from mediation.core.case import Authority, Capability, TaskRequest
from mediation.core.check import Check
from mediation.core.interface import x1
from mediation.delivery.calls import CallJournal, Seen
from mediation.delivery.early import LIMIT_NS, MAX_PDUS, Early
from tests.core import authority as a
from tests.core.mutation import GOOD
from tests.delivery.house import MESSAGES_OF_A_CALL, call, xid_of
from tests.delivery.links import until
from tests.delivery.rig import Rig, rig
from tests.delivery.test_calls import END_NS, ONE, OTHER, journal, pdu

WAITS, JUDGED = x1.Ok(waits=True), x1.Ok()
CONTENT = a.good(
    msgspec.structs.replace(
        a.LEGAL, authority=Authority.TITLE_III, capabilities=(Capability.CALL_DATA, Capability.CONTENT)
    )
)


@pytest.fixture
def kept(tmp_path: Path) -> CallJournal:
    """Of a mediator that had one order armed."""
    made = journal(tmp_path)
    made.armed(ONE, END_NS)
    return made


def test_early_pdus_wait_for_their_order_alone(kept: CallJournal) -> None:
    early = Early(kept, 0)
    assert early.hold([pdu(1), pdu(2, OTHER), pdu(3)], 1) == [pdu(2, OTHER)]
    assert early.release(OTHER) == []
    assert early.release(ONE) == [pdu(1), pdu(3)]
    assert early.hold([pdu(4)], 2) == [pdu(4)]
    late = Early(kept, 0)
    assert late.hold([pdu(1)] * (MAX_PDUS + 1), 1) == []
    assert late.hold([pdu(2)], LIMIT_NS) == [pdu(2)]
    assert late.counters.lost == MAX_PDUS + 1
    assert late.release(ONE) == []


def test_only_a_quiet_order_that_was_in_force_may_wait(kept: CallJournal) -> None:
    assert Early(kept, 0).may_wait(ONE, GOOD)
    assert not Early(kept, 0).may_wait(OTHER, GOOD), "it was not in force"
    assert not Early(kept, 0, third_parties=True).may_wait(ONE, GOOD), "others' PDUs are judged where they come in"
    assert not Early(kept, 0).may_wait(ONE, CONTENT), "content has another way in"
    held = Early(kept, 0)
    held.hold([pdu(1)], 1)
    assert not held.may_wait(ONE, GOOD), "there is a PDU of it"
    armed = Early(kept, 0)
    armed.release(ONE)
    assert not armed.may_wait(ONE, GOOD), "it was armed since"
    late = Early(kept, 0)
    late.hold([pdu(1)], LIMIT_NS)
    assert not late.may_wait(ONE, GOOD), "nobody is waited for any more"
    kept.add(ONE, "iap", Seen(False, pdu(1)))
    assert not Early(kept, 0).may_wait(ONE, GOOD), "a call of it goes on"


@pytest.mark.parametrize("legal", ["", "a.b.c", "..", "a.e30.c", GOOD.legal.replace(".", "")])
def test_a_text_that_cannot_be_read_does_not_wait(kept: CallJournal, legal: str) -> None:
    assert not Early(kept, 0).may_wait(ONE, msgspec.structs.replace(GOOD, legal=legal))


async def heard(r: Rig, name: str) -> None:
    """Until the whole of a call has come, and nothing else of it."""
    await until(lambda: len(story(r, name)) >= len(MESSAGES_OF_A_CALL))
    assert story(r, name) == MESSAGES_OF_A_CALL


def story(r: Rig, name: str) -> tuple[str, ...]:
    found = [decode(received.octets) for received in r.collector.messages]
    return tuple(one.message for one in found if one.call == name)


async def told(r: Rig, order: TaskRequest) -> x1.Answer:
    return await r.ask(x1.ActivateTask(request=order, may_wait=True))


async def restarted(r: Rig) -> None:
    await r.report()
    await r.crash()
    await r.start()


async def test_after_a_restart_the_first_event_has_the_order_judged(tmp_path: Path) -> None:
    async with rig(tmp_path) as r, r.collector.running(r.port):
        order, other = r.house.order(r.port), r.house.order(r.port, case="CASE-2")
        assert [await told(r, order), await told(r, other)] == [JUDGED, JUDGED]  # in force for the first time
        await restarted(r)
        assert [await told(r, order), await told(r, other)] == [WAITS, WAITS]
        report = await r.report()
        assert (report["tasks"], report["waiting"]) == (0, 2)
        await r.tap.send(r.tap.pdus(xid_of(order), call("one"), 1))
        await heard(r, "one")
        report = await r.report()
        assert (report["tasks"], report["waiting"]) == (1, 1) and report["journal"]["held"] == 0
        for each in (order, other):
            assert await r.ask(x1.JudgeTask(xid=xid_of(each).hex())) == JUDGED
        await r.tap.send(r.tap.pdus(xid_of(other), call("two"), 2))
        await heard(r, "two")


async def test_an_event_before_the_order_is_told_has_it_judged_when_it_is(tmp_path: Path) -> None:
    async with rig(tmp_path) as r, r.collector.running(r.port):
        order = r.house.order(r.port)
        assert await told(r, order) == JUDGED
        await restarted(r)
        await r.tap.send(r.tap.pdus(xid_of(order), call("one"), 1))
        await r.report_where(lambda report: report["journal"]["held"] == len(call("one")))
        assert await told(r, order) == JUDGED
        await heard(r, "one")


async def test_what_is_not_good_any_more_delivers_nothing(tmp_path: Path) -> None:
    """By its event it is refused; told again, it is said why. An order beside it is not disturbed."""
    async with rig(tmp_path) as r, r.collector.running(r.port):
        order, other = r.house.order(r.port), r.house.order(r.port, case="CASE-2")
        assert [await told(r, order), await told(r, other)] == [JUDGED, JUDGED]
        await restarted(r)
        spoiled = msgspec.structs.replace(order, legal=order.legal[:-8] + "AAAAAAAA")
        assert [await told(r, spoiled), await told(r, other)] == [WAITS, WAITS]
        await r.tap.send(r.tap.pdus(xid_of(order), call("one"), 1) + r.tap.pdus(xid_of(other), call("two"), 2))
        await heard(r, "two")
        unknown = await r.ask(x1.JudgeTask(xid=xid_of(order).hex()))
        assert unknown == x1.Refused(check=Check.TASK_UNKNOWN)
        answer = await r.ask(x1.ActivateTask(request=spoiled))
        assert isinstance(answer, x1.Refused) and answer.check == Check.SIGNATURE
        report = await r.report()
        assert (report["tasks"], report["waiting"]) == (1, 0)
        assert story(r, "one") == ()
