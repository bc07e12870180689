"""Dialed digits: whose packets are looked at, when, and that nothing is when extraction is off."""

import pytest

from mediation.core.interface.x2 import Direction, PayloadFormat, Role
from tests.ext.calls import S2, XID, XID2, Dialog, Rig, event_packet, sdp

SUBJECT = "sip:+12125550100@example.com"
OTHER = ("203.0.113.5", 50000)
NEAR = ("192.0.2.10", 40000)


def answered(rig: Rig, d: Dialog | None = None, event: int = 101) -> Dialog:
    d = d or Dialog()
    rig.send(d.invite(body=sdp()), d.response(200, body=sdp(*OTHER, event=event)), d.request("ACK"))
    return d


def test_the_subject_s_digits() -> None:
    rig = Rig().arm(dde=True)
    d = answered(rig)
    assert rig.flows() == [(True, *OTHER, (0, 101))]
    (pdu,) = rig.rtp(event_packet(), OTHER)
    assert (pdu.payload, pdu.payload_format, pdu.direction) == (
        event_packet(),
        PayloadFormat.RTP,
        Direction.FROM_TARGET,
    )
    assert (pdu.xid, pdu.role) == (XID, Role.CALLING)
    assert (pdu.source, pdu.destination) == (NEAR, OTHER)
    assert rig.send(d.request("BYE"))[0].correlation == pdu.correlation
    assert rig.flows() == [(False, *OTHER, ())]
    assert rig.rtp(event_packet(), OTHER) == []
    assert rig.count("media_no_flow") == 1


def test_the_other_party_s_digits_are_not_the_subject_s() -> None:
    rig = Rig().arm(dde=True)
    answered(rig)
    assert rig.rtp(event_packet(), NEAR, source=OTHER) == []


def test_a_called_subject_sends_to_the_caller() -> None:
    rig = Rig().arm(dde=True)
    answered(rig, Dialog(caller="sip:+13125550123@x", callee=SUBJECT))
    assert rig.flows() == [(True, *NEAR, (0, 101))]
    (pdu,) = rig.rtp(event_packet(), NEAR, source=OTHER)
    assert (pdu.role, pdu.direction) == (Role.CALLED, Direction.FROM_TARGET)


def test_off_means_that_no_packet_is_looked_at() -> None:
    rig = Rig().arm(dde=False)
    answered(rig)
    assert rig.flows() == []
    assert rig.rtp(event_packet(), OTHER) == []
    assert rig.matcher.gauges()["flows"] == 0


def test_the_toggle_acts_in_mid_call() -> None:
    rig = Rig().arm(dde=False)
    answered(rig)
    rig.matcher.set_dde(XID, True)
    assert rig.flows() == [(True, *OTHER, (0, 101))]
    assert len(rig.rtp(event_packet(), OTHER)) == 1
    rig.matcher.set_dde(XID, False)
    assert rig.flows() == [(False, *OTHER, ())]
    assert rig.rtp(event_packet(), OTHER) == []
    rig.matcher.set_dde(XID, False)
    assert rig.flows() == []
    with pytest.raises(KeyError):
        rig.matcher.set_dde(XID2, True)


def test_the_toggle_is_of_one_case() -> None:
    rig = Rig().arm(XID, dde=True).arm(XID2, dde=False)
    answered(rig)
    assert [p.xid for p in rig.rtp(event_packet(), OTHER)] == [XID]
    rig.matcher.set_dde(XID2, True)
    assert sorted(p.xid for p in rig.rtp(event_packet(), OTHER)) == [XID, XID2]
    rig.matcher.set_dde(XID, False)
    assert [p.xid for p in rig.rtp(event_packet(), OTHER)] == [XID2]
    assert [f[0] for f in rig.flows()] == [True]  # the flow stayed while one case had it


def test_two_subjects_in_one_call_have_their_own_digits() -> None:
    rig = Rig().arm(XID, dde=True).arm(XID2, S2, dde=True)
    answered(rig, Dialog(callee="sip:+12125550199@x"))
    assert sorted(f[1:3] for f in rig.flows()) == sorted([OTHER, NEAR])
    assert [p.xid for p in rig.rtp(event_packet(), OTHER)] == [XID]
    assert [p.xid for p in rig.rtp(event_packet(), NEAR, source=OTHER)] == [XID2]


def test_a_removed_task_loses_its_flows() -> None:
    rig = Rig().arm(dde=True)
    answered(rig)
    rig.flows()
    rig.matcher.remove_task(XID)
    assert rig.flows() == [(False, *OTHER, ())]
    assert rig.rtp(event_packet(), OTHER) == []


def test_the_window_holds_for_media() -> None:
    rig = Rig().arm(dde=True, end=Rig().now + 5)
    answered(rig)
    rig.now += 5
    assert rig.rtp(event_packet(), OTHER) == []
    assert rig.count("outside_window") == 1
    assert rig.count("media_off") == 1


def test_payload_types_of_both_descriptions() -> None:
    rig = Rig().arm(dde=True)
    answered(rig, event=96)
    assert rig.flows() == [(True, *OTHER, (0, 96, 101))]
    assert len(rig.rtp(event_packet(96), OTHER)) == 1
    assert len(rig.rtp(event_packet(101 | 0x80), OTHER)) == 1  # the marker bit is no part of the type
    assert rig.rtp(event_packet(97), OTHER) == []
    assert rig.count("media_other_type") == 1


def test_neither_events_nor_voice_that_is_understood_no_flow() -> None:
    rig = Rig().arm(dde=True)
    d = Dialog()
    offer, answer = (sdp(*at, event=None).replace("RTP/AVP 0", "RTP/AVP 18") for at in (NEAR, OTHER))
    rig.send(d.invite(body=offer), d.response(200, body=answer))
    assert rig.flows() == []


@pytest.mark.parametrize(
    ("packet", "counter"),
    [
        (event_packet()[:11], "media_malformed"),
        (b"", "media_malformed"),
        (event_packet(first=0x40), "media_malformed"),
        (event_packet(first=0x8F), "media_malformed"),  # 15 contributing sources that are not there
        (event_packet(first=0x90, payload=b"\0\0\0\xff\0\0\0\0"), "media_malformed"),
        (event_packet(first=0xA0, payload=b"\x05\x8a\x03\x20\0\0\0\x30"), "media_malformed"),
        (event_packet(payload=b"\x05\x8a\x03"), "media_event_length"),
        (event_packet(payload=b""), "media_event_length"),
        (event_packet(payload=b"\x05\x8a\x03\x20\x06\x8a"), "media_event_length"),  # one event and a half
        (event_packet(payload=bytes(160)), "media_event_length"),
    ],
)
def test_hostile_rtp(packet: bytes, counter: str) -> None:
    rig = Rig().arm(dde=True)
    answered(rig)
    assert rig.rtp(packet, OTHER) == []
    assert rig.count(counter) == 1


@pytest.mark.parametrize(
    "packet",
    [
        event_packet(first=0x82, payload=bytes(8) + b"\x05\x8a\x03\x20"),
        event_packet(first=0x90, payload=b"\xbe\xde\0\x01abcd\x05\x8a\x03\x20"),
        event_packet(first=0xA0, payload=b"\x05\x8a\x03\x20\0\0\0\x04"),
        event_packet(payload=b"\x05\x8a\x03\x20\x06\x8a\x03\x20"),
    ],
)
def test_whole_rtp_headers(packet: bytes) -> None:
    rig = Rig().arm(dde=True)
    answered(rig)
    assert [p.payload for p in rig.rtp(packet, OTHER)] == [packet]


@pytest.mark.parametrize("method", ["INVITE", "UPDATE", "PRACK"])
def test_media_that_moves(method: str) -> None:
    """From the offer on in both places, from its answer on in the new one alone."""
    rig = Rig().arm(dde=True)
    d = answered(rig)
    rig.flows()
    at = ("203.0.113.6", 50002)
    rig.send(d.request(method, by_callee=True, cseq=2, body=sdp(*at)))
    assert rig.flows() == [(True, *at, (0, 101))]
    assert len(rig.rtp(event_packet(), at)) == len(rig.rtp(event_packet(), OTHER)) == 1
    rig.send(d.response(200, method=method, by_caller=True, cseq=2, body=sdp()))
    assert rig.flows() == [(False, *OTHER, ())]
    assert len(rig.rtp(event_packet(), at)) == 1
    assert rig.rtp(event_packet(), OTHER) == []


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_refused_offer_leaves_the_media_where_they_were(method: str) -> None:
    rig = Rig().arm(dde=True)
    d = answered(rig)
    rig.send(d.request(method, by_callee=True, cseq=2, body=sdp("203.0.113.6", 50002)))
    rig.flows()
    rig.send(d.response(488, method=method, by_caller=True, cseq=2))
    assert rig.flows() == [(False, "203.0.113.6", 50002, ())]
    assert len(rig.rtp(event_packet(), OTHER)) == 1


def test_the_same_description_again_changes_nothing() -> None:
    rig = Rig().arm(dde=True)
    d = answered(rig)
    rig.flows()
    rig.send(d.response(200, body=sdp(*OTHER)), d.request("INVITE", by_callee=True, cseq=2, body=sdp(*OTHER)))
    assert rig.flows() == []


def test_delayed_offer() -> None:
    """The offer in the 200, the answer in the ACK."""
    rig = Rig().arm(dde=True)
    d = Dialog(caller="sip:+13125550123@x", callee=SUBJECT)
    rig.send(d.invite(), d.response(200, body=sdp(*OTHER)), d.request("ACK", body=sdp(*NEAR)))
    assert rig.flows() == [(True, *NEAR, (0, 101))]


def test_early_media_then_the_answer_elsewhere() -> None:
    rig = Rig().arm(dde=True)
    d = Dialog()
    rig.send(d.invite(body=sdp()), d.response(183, body=sdp("203.0.113.1", 1000)), d.response(200, body=sdp(*OTHER)))
    assert [f[:3] for f in rig.flows()] == [(True, "203.0.113.1", 1000), (True, *OTHER), (False, "203.0.113.1", 1000)]
    late = Dialog(callee_tag="losing-branch")
    rig.send(late.response(183, body=sdp("203.0.113.2", 2000)))
    assert rig.flows() == []  # another branch's early media is not the call's


@pytest.mark.parametrize("body", [sdp("0.0.0.0", 50000), sdp(OTHER[0], 0), sdp("::", 50000)])
def test_hold_by_null_address_and_refused_audio(body: str) -> None:
    rig = Rig().arm(dde=True)
    d = answered(rig)
    rig.flows()
    rig.send(d.request("INVITE", by_callee=True, cseq=2, body=body))
    rig.send(d.response(200, by_caller=True, cseq=2, body=sdp()))
    assert rig.flows() == [(False, *OTHER, ())]


def test_a_description_with_a_host_name_is_counted() -> None:
    rig = Rig().arm(dde=True)
    d = Dialog()
    rig.send(d.invite(body=sdp()), d.response(200, body=sdp("media.example.com")))
    assert rig.flows() == []
    assert rig.count("sdp_unknown") == 1


def test_a_call_that_was_forwarded_is_not_the_subject_s_media() -> None:
    """B answers the call that S forwarded: B's digits are not S's."""
    rig = Rig().arm(dde=True)
    d = Dialog(caller="sip:+13125550123@x", callee=SUBJECT)
    rig.send(d.invite(body=sdp()))
    assert len(rig.flows()) == 1
    on = Dialog(caller="sip:+13125550123@x", callee="sip:+14155550142@y", branch="z9hG4bKfwd")
    pdus = rig.send(on.invite(body=sdp(), headers=["Diversion: <" + SUBJECT + ">"]), on.response(200, body=sdp(*OTHER)))
    assert [(p.role, p.direction) for p in pdus] == [(Role.CALLED, Direction.UNKNOWN)] * 2
    assert rig.flows() == [(False, *NEAR, ())]
    assert rig.rtp(event_packet(), NEAR, source=OTHER) == []


def test_ipv6_media() -> None:
    rig = Rig().arm(dde=True)
    d = Dialog()
    rig.send(d.invite(body=sdp("2001:db8::10")), d.response(200, body=sdp("2001:DB8:0::5", 50000)))
    assert rig.flows() == [(True, "2001:db8::5", 50000, (0, 101))]
    assert len(rig.rtp(event_packet(), ("2001:db8::5", 50000), source=("2001:db8::10", 40000))) == 1


def test_a_stranger_who_sends_to_the_same_destination_is_nobody_s() -> None:
    rig = Rig().arm(dde=True)
    answered(rig)
    assert rig.rtp(event_packet(), OTHER, source=("192.0.2.99", NEAR[1])) == []
    assert rig.rtp(event_packet(), OTHER, source=(NEAR[0], NEAR[1])) != []
    assert rig.rtp(event_packet(), OTHER, source=("192.0.2.99", NEAR[1])) == []
    assert rig.count("media_other_source") == 2


def test_behind_a_nat_the_first_source_at_the_signalling_s_address_is_kept() -> None:
    rig = Rig().arm(dde=True)
    d = Dialog()
    rig.send(d.invite(body=sdp("10.0.0.5", 40000)), source="198.51.100.7")
    rig.send(d.response(200, body=sdp(*OTHER)), source="203.0.113.1")
    assert rig.rtp(event_packet(), OTHER, source=("203.0.113.1", 40000)) == []  # the other side's own address
    assert len(rig.rtp(event_packet(), OTHER, source=("198.51.100.7", 61000))) == 1
    assert rig.rtp(event_packet(), OTHER, source=("198.51.100.7", 61002)) == []  # somebody else behind the same NAT
    assert len(rig.rtp(event_packet(), OTHER, source=("198.51.100.7", 61000))) == 1
    assert rig.count("media_other_source") == 2


def test_the_announced_source_takes_the_place_of_a_likely_one() -> None:
    rig = Rig().arm(dde=True)
    d = Dialog()
    rig.send(d.invite(body=sdp("198.51.100.6", 40000)), source="198.51.100.7")
    rig.send(d.response(200, body=sdp(*OTHER)), source="203.0.113.1")
    assert len(rig.rtp(event_packet(), OTHER, source=("198.51.100.7", 61000))) == 1
    assert len(rig.rtp(event_packet(), OTHER, source=("198.51.100.6", 40000))) == 1
    assert rig.rtp(event_packet(), OTHER, source=("198.51.100.7", 61000)) == []


def test_who_announces_the_address_it_signals_from_sends_from_the_port_it_announced() -> None:
    """Many calls may end at one address (an SBC): another port of it is another call."""
    rig = Rig().arm(dde=True)
    d = Dialog()
    rig.send(d.invite(body=sdp("198.51.100.7", 40000)), source="198.51.100.7")
    rig.send(d.response(200, body=sdp(*OTHER)), source="203.0.113.1")
    assert rig.rtp(event_packet(), OTHER, source=("198.51.100.7", 61000)) == []
    assert len(rig.rtp(event_packet(), OTHER, source=("198.51.100.7", 40000))) == 1


def test_a_call_knows_nothing_of_the_call_whose_place_it_took() -> None:
    rig = Rig().arm(dde=True)
    first = Dialog(call_id="first")
    rig.send(first.invite(body=sdp("10.0.0.5", 40000)), source="198.51.100.7")
    rig.send(
        first.response(200, body=sdp(*OTHER)),
        first.request("BYE"),
        first.response(200, method="BYE", cseq=2),
        source="203.0.113.1",
    )
    rig.now += 40_000_000_000  # the first call is over and forgotten
    second = Dialog(call_id="second")
    rig.send(second.invite(body=sdp("10.0.0.6", 40000)), source="198.51.100.8")
    rig.send(second.response(200, body=sdp(*OTHER)), source="203.0.113.1")
    assert rig.matcher.gauges()["calls"] == 1
    assert rig.rtp(event_packet(), OTHER, source=("198.51.100.7", 61000)) == []
    assert len(rig.rtp(event_packet(), OTHER, source=("198.51.100.8", 61000))) == 1


def test_two_calls_behind_one_nat_to_one_destination_are_nobody_s() -> None:
    rig = Rig().arm(XID, dde=True).arm(XID2, S2, dde=True)
    for d, private in (
        (Dialog(call_id="one"), "10.0.0.5"),
        (Dialog(call_id="two", caller="sip:+12125550199@x"), "10.0.0.6"),
    ):
        rig.send(d.invite(body=sdp(private, 40000)), source="198.51.100.7")
        rig.send(d.response(200, body=sdp(*OTHER)), source="203.0.113.1")
    assert rig.rtp(event_packet(), OTHER, source=("198.51.100.7", 61000)) == []
    assert rig.count("media_ambiguous") == 1


def test_two_calls_to_one_destination_are_told_apart_by_source() -> None:
    rig = Rig().arm(XID, dde=True).arm(XID2, S2, dde=True)
    one = Dialog(call_id="one")
    two = Dialog(call_id="two", caller="sip:+12125550199@x")
    rig.send(one.invite(body=sdp("192.0.2.10", 40000)), one.response(200, body=sdp(*OTHER, event=96)))
    rig.send(two.invite(body=sdp("192.0.2.20", 40000)), two.response(200, body=sdp(*OTHER, event=97)))
    assert rig.flows()[-1] == (True, *OTHER, (0, 96, 97, 101))  # the kernel passes what either of them needs
    assert [p.xid for p in rig.rtp(event_packet(), OTHER, source=("192.0.2.10", 40000))] == [XID]
    assert [p.xid for p in rig.rtp(event_packet(), OTHER, source=("192.0.2.20", 40000))] == [XID2]
    assert rig.rtp(event_packet(), OTHER, source=("192.0.2.30", 40000)) == []
    assert rig.count("media_other_source") == 1
    rig.send(one.request("BYE"))
    assert rig.flows() == [(True, *OTHER, (0, 97, 101))]
    rig.send(two.request("BYE"))
    assert rig.flows() == [(False, *OTHER, ())]


def test_a_thousand_flows() -> None:
    rig = Rig().arm(dde=True)
    for i in range(1000):
        d = Dialog(call_id=f"c{i}")
        rig.send(d.invite(body=sdp()), d.response(200, body=sdp("203.0.113.5", 10000 + i)))
    assert rig.matcher.gauges()["flows"] == 1000
    handles = {rig.rtp(event_packet(), ("203.0.113.5", 10000 + i))[0].correlation for i in range(1000)}
    assert len(handles) == 1000
    rig.matcher.set_dde(XID, False)
    assert rig.matcher.gauges()["flows"] == 0
    assert sum(1 for f in rig.flows() if not f[0]) == 1000


def test_an_evicted_call_loses_its_flow() -> None:
    rig = Rig(call_capacity=1).arm(dde=True)
    answered(rig)
    rig.send(Dialog(call_id="next").invite())
    assert rig.flows() == [(True, *OTHER, (0, 101)), (False, *OTHER, ())]


def test_multipart_body() -> None:
    rig = Rig().arm(dde=True)
    d = Dialog()
    parts = "--b1\r\nContent-Type: application/isup\r\n\r\n\x01\x02\r\n--b1\r\nContent-Type: application/sdp\r\n\r\n"
    rig.send(d.invite(body=sdp()), d.response(200, body=parts + sdp(*OTHER) + "--b1--\r\n"))
    assert rig.flows() == [(True, *OTHER, (0, 101))]
