"""A call whose end was not seen: what the agency is told when the access function doubts its media or gives them up."""

from __future__ import annotations

import struct
import zlib

import msgspec
import pytest

from mediation.core.call import CallModel
from mediation.core.channel.content import Reason, Verb
from mediation.core.interface.notice import LAYOUT, VERSION, Notice, notice_of
from mediation.core.interface.x2 import INBAND_DIGIT, Direction, PayloadFormat, Pdu, PduType, Role
from tests.core.call_rig import Wire, sdp, surveillance
from tests.core.test_content import channels, model, packet, told

LAPSES = {
    Notice.LAPSED_SESSION: Reason.EXPIRED,
    Notice.LAPSED_DOUBTED: Reason.OVERTAKEN,
    Notice.LAPSED_SILENT: Reason.SILENT,
}


@pytest.fixture
def wire() -> Wire:
    made = Wire(model())
    made.connect()
    packet(made)
    made.model.bindings()
    return made


def pdu(wire: Wire, payload: bytes) -> Pdu:
    return Pdu(
        type=PduType.X2, payload_format=PayloadFormat.PROPRIETARY, direction=Direction.NOT_APPLICABLE,
        xid=bytes(16), correlation=zlib.crc32(wire.call_id.encode()) or 1, payload=payload, stamp_ns=wire.now_ns,
        role=Role.CALLING,
    )  # fmt: skip


def notice(wire: Wire, what: Notice) -> list[str]:
    """The access function's word, ten seconds later; what is told of it."""
    before = len(told(wire))
    wire.now_ns += 10_000_000_000
    wire.events += wire.model.observe(pdu(wire, LAYOUT.pack(VERSION, what)))
    return told(wire)[before:]


def verbs(wire: Wire) -> list[Verb]:
    return [each.verb for each in wire.model.bindings()]


def test_media_that_are_not_shown_to_be_the_call_s_are_told_once_and_so_is_their_return(wire: Wire) -> None:
    assert notice(wire, Notice.DOUBTED) == [f"ccUnavailable {Reason.DOUBTED}"]
    assert verbs(wire) == [Verb.WATCH]
    assert notice(wire, Notice.DOUBTED) == []
    packet(wire)
    assert told(wire)[-1] == "ccChange"
    assert notice(wire, Notice.DOUBTED) == [f"ccUnavailable {Reason.DOUBTED}"]
    wire.bye()
    assert told(wire)[-2:] == ["ccClose", "release"]


@pytest.mark.parametrize("what", LAPSES)
def test_an_inferred_end_closes_the_channel_and_says_why(wire: Wire, what: Notice) -> None:
    assert notice(wire, what) == [f"ccUnavailable {LAPSES[what]}", "ccClose"]
    assert verbs(wire) == [Verb.CLOSE]
    assert notice(wire, what) == notice(wire, Notice.DOUBTED) == []
    wire.bye()
    assert told(wire)[-1] == "release"  # its one end; the channel has had its own
    assert told(wire).count("ccClose") == 1


def test_signalling_of_the_call_opens_it_again(wire: Wire) -> None:
    """Even a refresh that changes nothing."""
    notice(wire, Notice.DOUBTED)
    notice(wire, Notice.LAPSED_DOUBTED)
    wire.model.bindings()
    wire.offer(sdp(), sdp(address="10.0.9.9", origin="a"))
    assert told(wire)[-1] == "ccOpen"
    assert verbs(wire) == [Verb.OPEN]
    packet(wire)
    assert notice(wire, Notice.DOUBTED) == [f"ccUnavailable {Reason.DOUBTED}"]  # what comes anew is told anew
    wire.bye()
    assert told(wire)[-2:] == ["ccClose", "release"]


def test_the_channel_of_a_lapsed_call_is_another_s() -> None:
    made = channels(maximum=1)
    calls = CallModel(surveillance(channels=made))
    first, second = Wire(calls, call_id="one"), Wire(calls, call_id="two", caller_contact="sip:line2@10.0.0.6")
    first.connect()
    packet(first)
    notice(first, Notice.LAPSED_SILENT)
    second.connect()
    assert told(second) == ["origination", "ccOpen", "answer"]
    first.offer(sdp(), sdp(address="10.0.9.9", origin="a"))
    assert told(first)[-1] == f"ccUnavailable {Reason.NO_CHANNEL}"


def test_a_lapsed_call_that_is_secret_is_told_so() -> None:
    wire = Wire(model())
    wire.connect()
    packet(wire)
    notice(wire, Notice.LAPSED_SESSION)
    secret = sdp(2).replace("RTP/AVP", "UDP/TLS/RTP/SAVPF")
    wire.offer(secret, sdp(2, address="10.0.9.9", origin="a"))
    assert told(wire)[-2:] == [f"ccUnavailable {Reason.ENCRYPTED}", "ccClose"]
    assert verbs(wire)[-1] is Verb.CLOSE


def test_while_the_content_link_is_down(wire: Wire) -> None:
    made = channels()
    wire = Wire(CallModel(surveillance(channels=made)))
    wire.connect()
    made.link_up = False
    wire.events += wire.model.content_link(wire.now_ns)
    assert notice(wire, Notice.DOUBTED) == [f"ccUnavailable {Reason.DOUBTED}"]
    made.link_up = True
    wire.events += wire.model.content_link(wire.now_ns)
    packet(wire)
    assert told(wire)[-1] == "ccChange"
    assert notice(wire, Notice.LAPSED_DOUBTED) == [f"ccUnavailable {Reason.OVERTAKEN}", "ccClose"]


def test_an_order_without_content_and_a_call_that_is_none_are_told_nothing() -> None:
    wire = Wire(CallModel(surveillance()))
    wire.connect()
    assert notice(wire, Notice.LAPSED_SILENT) == []
    other = Wire(model(), call_id="never")
    assert notice(other, Notice.DOUBTED) == []
    ended = Wire(model())
    ended.connect()
    ended.bye()
    assert notice(ended, Notice.LAPSED_SILENT) == []


def test_a_notice_says_nothing_of_the_clock(wire: Wire) -> None:
    wire.now_ns += 1
    events = wire.model.observe(pdu(wire, LAYOUT.pack(VERSION, Notice.DOUBTED)))
    assert [event.disciplined for event in events] == [wire.events[-1].disciplined]


@pytest.mark.parametrize("payload", [
    b"", b"\x02", LAYOUT.pack(1, 1), LAYOUT.pack(VERSION, 0), LAYOUT.pack(VERSION, 99), bytes(8),
    INBAND_DIGIT.pack(2, 1, 0, 0, 0, 0), struct.pack("!BBB", VERSION, 1, 0),
])  # fmt: skip
def test_what_is_no_notice_changes_no_content(wire: Wire, payload: bytes) -> None:
    assert notice_of(pdu(wire, payload)) is None
    wire.events += wire.model.observe(pdu(wire, payload))
    assert told(wire) == ["origination", "ccOpen", "answer"]


def test_it_is_a_notice_by_its_format_alone(wire: Wire) -> None:
    good = pdu(wire, LAYOUT.pack(VERSION, Notice.DOUBTED))
    assert notice_of(good) is Notice.DOUBTED
    assert notice_of(msgspec.structs.replace(good, payload_format=PayloadFormat.RTP)) is None


def test_reasons_fit_their_field() -> None:
    for reason in LAPSES.values():
        assert isinstance(reason.value, str) and reason.value.isascii() and len(reason.value) < 128
