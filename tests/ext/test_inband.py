"""Digits in the voice band of a subject's call: whose voice is listened to, when, what goes out, and that it is all."""

from __future__ import annotations

import pytest

from bench import tones
from bench.tones import ALAW, KEYS, ULAW, Dialing
from mediation.core.interface import x2
from mediation.core.interface.x2 import Direction, PayloadFormat, Pdu, Role
from tests.ext.calls import S2, XID, XID2, Dialog, Rig, event_packet, sdp

SUBJECT = "sip:+12125550100@example.com"
OTHER = ("203.0.113.5", 50000)
NEAR = ("192.0.2.10", 40000)
TICK = 20_000_000


def answered(rig: Rig, d: Dialog | None = None, answer: str | None = None) -> Dialog:
    d = d or Dialog()
    rig.send(d.invite(body=sdp()), d.response(200, body=answer or sdp(*OTHER)), d.request("ACK"))
    return d


def voice(keys: str = KEYS, law: tones.Law = ULAW, kind: int = 0, how: Dialing | None = None) -> list[bytes]:
    codes = law.encode(tones.dial(keys, how or Dialing(), 1))
    return [
        bytes([0x80, kind]) + number.to_bytes(2) + (160 * number).to_bytes(4) + b"ssrc" + codes[160 * number :][:160]
        for number in range(len(codes) // 160)
    ]


def say(rig: Rig, packets: list[bytes], to: tuple[str, int] = OTHER, source: tuple[str, int] = NEAR) -> list[Pdu]:
    found = []
    for packet in packets:
        found += rig.rtp(packet, to, source=source)
        rig.now += TICK
    return found


def digits(pdus: list[Pdu]) -> str:
    return "".join(chr(x2.INBAND_DIGIT.unpack(pdu.payload)[1]) for pdu in pdus)


def test_the_subject_s_digits_and_nothing_else() -> None:
    rig = Rig().arm(dde=True)
    d = answered(rig)
    start = rig.now
    pdus = say(rig, voice("159#"))
    assert digits(pdus) == "159#"
    assert rig.count("voice") == len(voice("159#"))
    assert rig.count("inband_digits") == rig.count("pdus") - 3 == 4
    for number, pdu in enumerate(pdus):
        assert (pdu.xid, pdu.role, pdu.direction) == (XID, Role.CALLING, Direction.FROM_TARGET)
        assert (pdu.payload_format, len(pdu.payload)) == (PayloadFormat.PROPRIETARY, x2.INBAND_DIGIT.size)
        assert (pdu.source, pdu.destination) == (NEAR, OTHER)
        version, _, kind, zero, sounded, end = x2.INBAND_DIGIT.unpack(pdu.payload)
        assert (version, kind, zero, end) == (1, 0, 0, 0)
        assert abs(sounded - 40) <= 2
        assert 0 <= start + TICK * (5 + 4 * number) - pdu.stamp_ns <= TICK  # the packet in which it began
    assert [pdu.sequence for pdu in pdus] == [4, 5, 6, 7]
    assert rig.send(d.request("BYE"))[0].correlation == pdus[0].correlation


def test_a_law() -> None:
    rig = Rig().arm(dde=True)
    answered(rig, answer=sdp(*OTHER).replace("RTP/AVP 0", "RTP/AVP 8"))
    pdus = say(rig, voice("42", ALAW, 8))
    assert digits(pdus) == "42"
    assert {x2.INBAND_DIGIT.unpack(pdu.payload)[2] for pdu in pdus} == {8}


def test_types_that_a_map_gives_to_g711_and_one_that_it_takes_away() -> None:
    rig = Rig().arm(dde=True)
    mapped = sdp(*OTHER, event=None).replace("RTP/AVP 0", "RTP/AVP 97 98 99 0") + (
        "a=rtpmap:97 pcma/8000/1\r\na=rtpmap:98 PCMU/16000\r\na=rtpmap:99 PCMU/8000/2\r\na=rtpmap:0 L16/8000\r\n"
    )
    answered(rig, answer=mapped)
    assert rig.flows() == [(True, *OTHER, (97, 101))]
    assert digits(say(rig, voice("7", ALAW, 97))) == "7"
    assert say(rig, voice("7", ULAW, 0)) == []


def test_the_other_party_s_digits_are_not_the_subject_s() -> None:
    rig = Rig().arm(dde=True)
    answered(rig)
    assert say(rig, voice(), NEAR, OTHER) == []
    assert rig.count("voice") == 0
    assert rig.matcher.gauges()["voices"] == 0


def test_off_means_that_nobody_listens() -> None:
    rig = Rig().arm(dde=False)
    answered(rig)
    assert say(rig, voice()) == []
    assert rig.count("voice") == 0
    rig.matcher.set_dde(XID, True)
    assert digits(say(rig, voice("12"))) == "12"
    packets = voice("3", how=Dialing(on_ms=400))
    assert say(rig, packets[:12]) == []
    rig.matcher.set_dde(XID, False)  # in the middle of a key
    assert rig.pdus() == []
    assert rig.matcher.gauges()["voices"] == 0


def test_each_case_by_its_own_toggle() -> None:
    rig = Rig().arm(XID, dde=True).arm(XID2, dde=False)
    answered(rig)
    assert {pdu.xid for pdu in say(rig, voice("1"))} == {XID}
    rig.matcher.set_dde(XID2, True)
    packets = [bytes([*p[:8]]) + b"next" + p[12:] for p in voice("2")]
    assert sorted(pdu.xid for pdu in say(rig, packets)) == [XID, XID2]


def test_two_subjects_in_one_call_have_their_own() -> None:
    rig = Rig().arm(XID, dde=True).arm(XID2, S2, dde=True)
    answered(rig, Dialog(callee="sip:+12125550199@x"))
    assert [(p.xid, digits([p])) for p in say(rig, voice("1"))] == [(XID, "1")]
    assert [(p.xid, digits([p])) for p in say(rig, voice("2"), NEAR, OTHER)] == [(XID2, "2")]


@pytest.mark.parametrize("sounded", [11, 13])
def test_a_key_that_sounds_when_the_call_ends_was_pressed(sounded: int) -> None:
    rig = Rig().arm(dde=True)
    d = answered(rig)
    assert say(rig, voice("5", how=Dialing(on_ms=600))[:sounded]) == []
    digit, bye = rig.send(d.request("BYE"))
    assert digits([digit]) == "5"
    assert bye.payload_format == PayloadFormat.SIP
    assert rig.matcher.gauges()["voices"] == 0


def test_the_window_holds_for_what_is_heard() -> None:
    rig = Rig()
    packets = voice("55")
    rig.arm(dde=True, end=rig.now + 8 * TICK)
    answered(rig)
    assert digits(say(rig, packets)) == ""  # the first key ended in time, but was complete only afterwards
    assert rig.count("voice") == 8
    assert rig.count("outside_window") > 0


def test_a_stranger_who_sends_there_is_not_listened_to() -> None:
    rig = Rig().arm(dde=True)
    answered(rig)
    assert say(rig, voice(), source=("192.0.2.99", 40000)) == []
    assert rig.count("voice") == 0


def test_no_more_at_once_than_the_bound() -> None:
    rig = Rig(voice_capacity=1).arm(dde=True)
    first, second = Dialog(call_id="one"), Dialog(call_id="two")
    answered(rig, first)
    rig.send(second.invite(body=sdp()), second.response(200, body=sdp("203.0.113.6", 50000)))
    assert digits(say(rig, voice("1"))) == "1"
    assert say(rig, voice("2"), ("203.0.113.6", 50000)) == []
    assert rig.count("voice_refused") == len(voice("2"))
    rig.send(first.request("BYE"))
    assert digits(say(rig, voice("3"), ("203.0.113.6", 50000))) == "3"


def test_events_between_the_voice_take_numbers_and_lose_nothing() -> None:
    rig = Rig().arm(dde=True)
    answered(rig)
    packets = voice("9", how=Dialing(on_ms=100))
    event = event_packet()
    shifted = [p[:2] + (n + (n >= 3)).to_bytes(2) + p[4:] for n, p in enumerate(packets)]
    between = event[:2] + (3).to_bytes(2) + event[4:8] + b"ssrc" + event[12:]
    pdus = say(rig, [*shifted[:3], between, *shifted[3:]])
    assert [pdu.payload_format for pdu in pdus] == [PayloadFormat.RTP, PayloadFormat.PROPRIETARY]
    assert rig.count("voice_lost") == 0


def test_counters_of_what_is_wrong() -> None:
    rig = Rig().arm(dde=True)
    answered(rig)
    packets = voice("9")
    say(rig, [packets[0], packets[0], packets[0][:12], packets[5]])
    assert (rig.count("voice"), rig.count("voice_late"), rig.count("voice_malformed")) == (2, 1, 1)
    assert rig.count("voice_lost") == 4


def test_content_does_not_depend_on_it() -> None:
    rig = Rig().arm(dde=True, content=True)
    answered(rig)
    assert digits(say(rig, voice("8"))) == "8"
    assert rig.count("voice") == len(voice("8"))
