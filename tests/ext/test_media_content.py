"""Content: which packets become X3 PDUs, from when to when, of which call, and that no others ever do."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediation.core.x2 import Direction, PayloadFormat, Pdu, PduType, Role
from tests.ext.calls import S2, XID, XID2, Dialog, Rig, event_packet, sdp

SUBJECT = "sip:+12125550100@example.com"
NEAR, NEAR_RTCP = ("192.0.2.10", 40000), ("192.0.2.10", 40001)
FAR, FAR_RTCP = ("203.0.113.5", 50000), ("203.0.113.5", 50001)
RTP = b"\x80\x00" + bytes(170)
RTCP = b"\x80\xc9\0\1" + bytes(4)  # an empty receiver report
CONTROL = tuple(range(64, 96))  # 192 to 223 without the highest bit
TAIL_NS = 100_000_000


def described(*lines: str, address: str = "192.0.2.10") -> str:
    family = "IP6" if ":" in address else "IP4"
    return f"v=0\r\no=- 1 1 IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\nt=0 0\r\n" + "".join(
        f"{line}\r\n" for line in lines
    )


def up(rig: Rig, d: Dialog | None = None, near: str | None = None, far: str | None = None) -> Dialog:
    d = d or Dialog()
    rig.send(d.invite(body=near or sdp()))
    rig.send(d.response(200, body=far or sdp(*FAR)), d.request("ACK"), source="203.0.113.1")
    return d


def udp_of(pdu: Pdu) -> tuple[tuple[str, int], tuple[str, int], bytes]:
    """Source, destination and payload of an X3 PDU's IP packet."""
    octets = pdu.payload
    if pdu.payload_format == PayloadFormat.IPV4:
        assert octets[0] == 0x45
        assert struct.unpack_from("!H", octets, 2)[0] == len(octets)
        a, b, udp = octets[12:16], octets[16:20], octets[20:]
    else:
        assert pdu.payload_format == PayloadFormat.IPV6
        assert octets[0] >> 4 == 6
        a, b, udp = octets[8:24], octets[24:40], octets[40:]
    source, destination, length = struct.unpack_from("!HHH", udp)
    assert length == len(udp)
    return (str(ipaddress.ip_address(a)), source), (str(ipaddress.ip_address(b)), destination), udp[8:]


def test_both_directions_and_their_control_packets() -> None:
    rig = Rig().arm(content=True)
    d = up(rig)
    assert rig.open() == {NEAR: None, NEAR_RTCP: CONTROL, FAR: None, FAR_RTCP: CONTROL}
    handle = rig.send(d.request("INFO"))[0].correlation
    for number, (packet, source, destination, direction) in enumerate(
        (
            (RTP, NEAR, FAR, Direction.FROM_TARGET),
            (RTP, FAR, NEAR, Direction.TO_TARGET),
            (RTCP, NEAR_RTCP, FAR_RTCP, Direction.FROM_TARGET),
            (RTCP, FAR_RTCP, NEAR_RTCP, Direction.TO_TARGET),
        ),
        1,
    ):
        (pdu,) = rig.x3(packet, source, destination)
        assert udp_of(pdu) == (source, destination, packet)
        assert (pdu.type, pdu.xid, pdu.correlation, pdu.role) == (PduType.X3, XID, handle, Role.CALLING)
        assert (pdu.direction, pdu.sequence) == (direction, number)
        assert (pdu.source, pdu.destination) == (source, destination)
    assert rig.pdus() == []  # nothing of it goes the way of call-identifying information


def test_a_called_subject_s_directions() -> None:
    rig = Rig().arm(content=True)
    up(rig, Dialog(caller="sip:+13125550123@x", callee=SUBJECT))
    assert rig.x3(RTP, NEAR, FAR)[0].direction == Direction.TO_TARGET
    assert rig.x3(RTP, FAR, NEAR)[0].direction == Direction.FROM_TARGET


def test_a_task_without_content_gets_none() -> None:
    rig = Rig().arm(dde=True)
    up(rig)
    assert rig.open() == {FAR: (101,)}
    assert rig.x3(RTP, NEAR, FAR) == []
    assert rig.x3(event_packet(), NEAR, FAR) == []
    assert len(rig.pdus()) == 1  # the digit
    assert rig.matcher.gauges()["content_octets"] == 0


def test_one_call_of_two_cases_of_which_one_has_content() -> None:
    rig = Rig().arm(XID, content=True).arm(XID2, dde=True)
    up(rig)
    assert [p.xid for p in rig.x3(RTP, NEAR, FAR)] == [XID]
    assert [p.xid for p in rig.x3(event_packet(), NEAR, FAR)] == [XID]
    assert [p.xid for p in rig.pdus()] == [XID2]
    rig.matcher.remove_task(XID)
    assert rig.open() == {FAR: (101,)}
    assert rig.x3(RTP, NEAR, FAR) == []


def test_each_case_counts_its_own_packets() -> None:
    rig = Rig().arm(XID, content=True).arm(XID2, content=True)
    up(rig)
    assert len(rig.x3(RTP, NEAR, FAR)) == 2
    rig.matcher.remove_task(XID)
    assert [(p.xid, p.sequence) for p in rig.x3(RTP, FAR, NEAR)] == [(XID2, 2)]


def test_a_subject_calls_a_subject() -> None:
    rig = Rig().arm(XID, content=True).arm(XID2, S2, content=True)
    up(rig, Dialog(callee="sip:+12125550199@x"))
    assert {p.xid: p.direction for p in rig.x3(RTP, NEAR, FAR)} == {
        XID: Direction.FROM_TARGET, XID2: Direction.TO_TARGET,
    }  # fmt: skip


def test_the_offer_opens_the_caller_s_side_for_early_media() -> None:
    """RFC 3264 section 5.1: who offers must take media before any answer. It is believed from where the other party's
    signalling comes from, and only if the offer's address is the offerer's own."""
    rig = Rig().arm(content=True)
    d = Dialog()
    rig.send(d.invite(body=sdp()))
    assert rig.open() == {NEAR: None, NEAR_RTCP: CONTROL}
    assert rig.x3(RTP, FAR, NEAR) == []  # from anywhere: nobody's
    rig.send(d.response(100, to_tag=False), source="203.0.113.1")
    assert len(rig.x3(RTP, ("203.0.113.1", 6000), NEAR)) == 1
    assert rig.x3(RTP, ("203.0.113.1", 6002), NEAR) == []
    other = Dialog(call_id="elsewhere")
    rig.send(other.invite(body=sdp("192.0.2.77", 41000)), source="192.0.2.10")
    rig.send(other.response(100, to_tag=False), source="203.0.113.1")
    assert rig.x3(RTP, ("203.0.113.1", 7000), ("192.0.2.77", 41000)) == []


def test_early_media_at_one_address_and_the_answer_at_another() -> None:
    rig = Rig().arm(content=True)
    d = Dialog()
    early = ("203.0.113.40", 6000)
    rig.send(d.invite(body=sdp()), d.response(183, body=sdp(*early)))
    assert len(rig.x3(RTP, early, NEAR)) == len(rig.x3(RTP, NEAR, early)) == 1
    rig.send(d.response(200, body=sdp(*FAR)))
    assert set(rig.open()) == {NEAR, NEAR_RTCP, FAR, FAR_RTCP}
    assert len(rig.x3(RTP, FAR, NEAR)) == len(rig.x3(RTP, NEAR, FAR)) == 1
    assert len(rig.x3(RTP, early, NEAR)) == 1  # still under way
    assert rig.x3(RTP, NEAR, early) == []


def test_every_fork_until_the_answer() -> None:
    rig = Rig().arm(content=True)
    d = Dialog()
    rig.send(d.invite(body=sdp()))
    ends = [("203.0.113.40", 6000 + 10 * i) for i in range(4)]
    forks = [Dialog(callee_tag=f"fork{i}") for i in range(4)]
    for end, fork in zip(ends, forks, strict=True):
        rig.send(fork.response(183, body=sdp(*end)))
    for end in ends:
        assert len(rig.x3(RTP, end, NEAR)) == len(rig.x3(RTP, NEAR, end)) == 1
    rig.send(forks[1].response(603))
    assert rig.x3(RTP, NEAR, ends[1]) == rig.x3(RTP, ends[1], NEAR) == []
    rig.send(forks[2].response(200))  # its answer was in the 183
    assert {at for at in rig.open() if at[0] == "203.0.113.40"} == {ends[2], (ends[2][0], ends[2][1] + 1)}
    rig.send(forks[3].response(183, body=sdp(*ends[3])))
    assert rig.x3(RTP, NEAR, ends[3]) == rig.x3(RTP, ends[3], NEAR) == []


def test_forks_are_bounded() -> None:
    rig = Rig().arm(content=True)
    d = Dialog()
    rig.send(d.invite(body=sdp()))
    for i in range(100):
        rig.send(Dialog(callee_tag=f"fork{i}").response(183, body=sdp("203.0.113.40", 6000 + 2 * i)))
    assert rig.count("descriptions_refused") == 100 - 23
    assert rig.matcher.gauges()["flows"] == 48
    rig.send(d.response(200, body=sdp(*FAR)))
    assert set(rig.open()) == {NEAR, NEAR_RTCP, FAR, FAR_RTCP}


def test_delayed_offer() -> None:
    rig = Rig().arm(content=True)
    d = Dialog()
    rig.send(d.invite(), d.response(200, body=sdp(*FAR)))
    assert set(rig.open()) == {FAR, FAR_RTCP}
    rig.send(d.request("ACK", body=sdp()))
    assert set(rig.open()) == {NEAR, NEAR_RTCP, FAR, FAR_RTCP}


def test_offer_in_a_reliable_183_and_answer_in_prack() -> None:
    rig = Rig().arm(content=True)
    d = Dialog()
    rig.send(d.invite(), d.response(183, body=sdp(*FAR)), d.request("PRACK", cseq=2, body=sdp()))
    assert set(rig.open()) == {NEAR, NEAR_RTCP, FAR, FAR_RTCP}
    rig.send(d.response(200, method="PRACK", cseq=2), d.response(200))
    assert set(rig.open()) == {NEAR, NEAR_RTCP, FAR, FAR_RTCP}
    assert rig.flows() == []


def test_a_refused_re_invite_falls_back() -> None:
    rig = Rig().arm(content=True)
    d = up(rig)
    moved = ("192.0.2.11", 42000)
    rig.send(d.request("INVITE", cseq=5, body=sdp(*moved)))
    assert moved in rig.open()
    assert NEAR in rig.open()
    rig.send(d.response(491, cseq=5))
    assert set(rig.open()) == {NEAR, NEAR_RTCP, FAR, FAR_RTCP}
    assert len(rig.x3(RTP, NEAR, FAR)) == 1
    assert rig.x3(RTP, moved, FAR) == []


def test_a_copy_of_an_old_answer_moves_nothing() -> None:
    rig = Rig().arm(content=True)
    d = up(rig)
    rig.send(d.request("INVITE", cseq=5, body=sdp()), d.response(200, cseq=5, body=sdp("203.0.113.6", 50002)))
    moved = set(rig.open())
    rig.send(d.response(200, cseq=1, body=sdp(*FAR)))
    assert set(rig.open()) == moved
    assert ("203.0.113.6", 50002) in moved


def test_hold_and_resume() -> None:
    rig = Rig().arm(content=True)
    d = up(rig)
    rig.send(d.request("INVITE", by_callee=True, cseq=2, body=sdp("0.0.0.0", 50000)))
    rig.send(d.response(200, by_caller=True, cseq=2, body=sdp()))
    assert set(rig.open()) == {NEAR, NEAR_RTCP}  # the one who holds may play music
    rig.send(d.request("INVITE", by_callee=True, cseq=3, body=sdp(*FAR)))
    assert set(rig.open()) == {NEAR, NEAR_RTCP, FAR, FAR_RTCP}
    rig.send(d.request("INVITE", by_callee=True, cseq=4, body=sdp(*FAR, direction="sendonly")))
    rig.send(d.response(200, by_caller=True, cseq=4, body=sdp(direction="recvonly")))
    assert set(rig.open()) == {NEAR, NEAR_RTCP, FAR, FAR_RTCP}


def test_all_streams_of_a_description() -> None:
    rig = Rig().arm(content=True)
    near = described(
        "m=audio 40000 RTP/AVP 0", "a=rtcp:45000 IN IP4 192.0.2.12",
        "m=video 40002/2 RTP/AVPF 96", "c=IN IP4 192.0.2.13/127",
        "m=image 40004 udptl t38", "m=audio 0 RTP/AVP 0", "m=message 40006 TCP/MSRP *",
        "m=audio 40008 UDP/TLS/RTP/SAVPF 111", "c=IN IP6 2001:db8::9", "a=rtcp:9 IN IP4 0.0.0.0",
    )  # fmt: skip
    rig.send(Dialog().invite(body=near))
    assert rig.open() == {
        ("192.0.2.10", 40000): None, ("192.0.2.12", 45000): CONTROL, ("192.0.2.13", 40002): None,
        ("192.0.2.13", 40003): CONTROL, ("192.0.2.10", 40004): None, ("2001:db8::9", 40008): None,
    }  # fmt: skip
    far = described(*(f"m=audio {50000 + 2 * i} RTP/AVP 0" for i in range(20)), address=FAR[0])
    rig.send(Dialog().response(200, body=far))
    assert rig.count("sdp_streams_refused") == 12


def test_fax_over_udptl_is_content() -> None:
    rig = Rig().arm(content=True)
    up(rig, near=described("m=image 40000 udptl t38"), far=described("m=image 50000 udptl t38", address=FAR[0]))
    assert rig.open() == {NEAR: None, FAR: None}
    assert udp_of(rig.x3(b"\0\1\2", NEAR, FAR)[0])[2] == b"\0\1\2"


@pytest.mark.parametrize(("near_mux", "far_mux"), [(True, True), (True, False), (False, False)])
def test_rtcp_mux(near_mux: bool, far_mux: bool) -> None:
    """The port beside the media's may be another call's: it is looked at only if RTCP must be there."""
    rig = Rig().arm(content=True)
    lines = [described("m=audio 40000 RTP/AVP 0", *["a=rtcp-mux"] * near_mux)]
    lines.append(described("m=audio 50000 RTP/AVP 0", *["a=rtcp-mux"] * far_mux, address=FAR[0]))
    rig.send(Dialog().invite(body=lines[0]))
    assert (NEAR_RTCP in rig.open()) == (not near_mux)
    rig.send(Dialog().response(200, body=lines[1]))
    assert (NEAR_RTCP in rig.open()) == (not (near_mux and far_mux))
    assert (FAR_RTCP in rig.open()) == (not (near_mux and far_mux))
    assert len(rig.x3(RTCP, NEAR, FAR)) == 1


def test_media_on_the_port_of_control_packets_is_nobody_s() -> None:
    rig = Rig().arm(content=True)
    up(rig)
    assert rig.x3(RTP, NEAR_RTCP, FAR_RTCP) == []
    assert rig.count("media_other_type") == 1


def test_ipv6() -> None:
    rig = Rig().arm(content=True)
    up(rig, near=sdp("2001:db8::10"), far=sdp("2001:db8::5", 50000))
    (pdu,) = rig.x3(RTP, ("2001:db8::10", 40000), ("2001:db8::5", 50000))
    assert udp_of(pdu) == (("2001:db8::10", 40000), ("2001:db8::5", 50000), RTP)


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_call_that_was_up_before_has_content_from_its_next_offer_on(method: str) -> None:
    rig = Rig().arm(content=True)
    d = Dialog()
    assert rig.x3(RTP, NEAR, FAR) == []
    rig.send(d.request(method, cseq=5, body=sdp()))
    rig.send(d.response(200, method=method, cseq=5, body=sdp(*FAR)), source="203.0.113.1")
    assert set(rig.open()) == {NEAR, NEAR_RTCP, FAR, FAR_RTCP}
    assert len(rig.x3(RTP, NEAR, FAR)) == len(rig.x3(RTP, FAR, NEAR)) == 1


# ---- NAT ------------------------------------------------------------------------------------------------------------


def behind_nat(rig: Rig) -> tuple[str, int]:
    """A subject behind a NAT, in a call; where its media come from."""
    d = Dialog()
    rig.send(d.invite(body=sdp("10.0.0.5", 40000)), source="198.51.100.7")
    rig.send(d.response(200, body=sdp(*FAR)), d.request("ACK"), source="203.0.113.1")
    return "198.51.100.7", 61000


def test_both_directions_behind_a_nat() -> None:
    rig = Rig().arm(content=True)
    outside = behind_nat(rig)
    assert rig.x3(RTP, FAR, outside) == []
    assert len(rig.x3(RTP, outside, FAR)) == 1
    assert rig.open()[outside] is None
    assert rig.x3(RTP, FAR, outside)[0].direction == Direction.TO_TARGET
    assert rig.x3(RTP, ("203.0.113.5", 50002), outside) == []  # another call's, to the same NAT binding
    assert rig.x3(RTP, ("203.0.113.1", 50000), outside) == []
    assert rig.x3(RTCP, (outside[0], 61001), FAR_RTCP)[0].direction == Direction.FROM_TARGET
    assert rig.open()[outside[0], 61001] == CONTROL
    assert rig.x3(RTCP, FAR_RTCP, (outside[0], 61001))[0].direction == Direction.TO_TARGET


def test_the_way_back_ends_with_the_way_there() -> None:
    rig = Rig().arm(content=True)
    outside = behind_nat(rig)
    rig.x3(RTP, outside, FAR)
    d = Dialog()
    rig.send(d.request("INVITE", by_callee=True, cseq=2, body=sdp("203.0.113.6", 50002)), source="203.0.113.1")
    rig.send(d.response(200, by_caller=True, cseq=2, body=sdp("10.0.0.5", 40000)), source="198.51.100.7")
    assert outside not in rig.open()
    assert len(rig.x3(RTP, outside, ("203.0.113.6", 50002))) == 1
    assert outside in rig.open()
    rig.matcher.remove_task(XID)
    assert rig.open() == {}
    assert rig.matcher.gauges()["flows"] == 0


# ---- the end --------------------------------------------------------------------------------------------------------


def test_a_tail_and_nothing_after_it() -> None:
    rig = Rig().arm(content=True, dde=True)
    d = up(rig)
    rig.send(d.request("BYE"))
    rig.now += TAIL_NS - 1
    assert len(rig.x3(RTP, FAR, NEAR)) == 1
    rig.now += 1
    assert rig.x3(RTP, FAR, NEAR) == []
    assert rig.open()
    rig.matcher.expire(rig.now)
    assert rig.open() == {}
    assert rig.matcher.gauges()["calls"] == 1  # it lingers, without media
    assert len(rig.send(d.response(200, method="BYE"))) == 1
    rig.matcher.expire(rig.now + 33_000_000_000)
    assert rig.matcher.gauges()["calls"] == rig.matcher.gauges()["flows"] == 0


def test_a_refused_bye_goes_on_with_the_content() -> None:
    rig = Rig().arm(content=True)
    d = up(rig)
    rig.send(d.request("BYE", cseq=2))
    rig.send(d.response(401, method="BYE", cseq=2))
    rig.now += 10 * TAIL_NS
    rig.matcher.expire(rig.now)
    assert len(rig.x3(RTP, FAR, NEAR)) == 1


def test_a_refused_call() -> None:
    rig = Rig().arm(content=True)
    d = Dialog()
    rig.send(d.invite(body=sdp()), d.response(486))
    rig.now += TAIL_NS
    rig.matcher.expire(rig.now)
    assert rig.open() == {}


def test_the_window_ends_content_at_once() -> None:
    rig = Rig().arm(content=True, end=Rig().now + 5)
    up(rig)
    rig.now += 5
    assert rig.x3(RTP, FAR, NEAR) == []
    assert rig.count("outside_window") == 1


def test_a_forwarded_call_is_the_subject_s_service() -> None:
    rig = Rig().arm(content=True)
    d = Dialog(caller="sip:+13125550123@x", callee=SUBJECT)
    rig.send(d.invite(body=sdp()))
    on = Dialog(caller="sip:+13125550123@x", callee="sip:+14155550142@y", branch="z9hG4bKfwd")
    rig.send(on.invite(body=sdp(), headers=["Diversion: <" + SUBJECT + ">"]), on.response(200, body=sdp(*FAR)))
    assert rig.x3(RTP, FAR, NEAR)[0].direction == Direction.FROM_TARGET
    assert rig.x3(RTP, NEAR, FAR)[0].direction == Direction.TO_TARGET


def test_a_media_relay_between_two_sides_that_are_both_seen() -> None:
    """Each direction goes out once, though each packet passes twice: as its sender sent it to the relay."""
    rig = Rig().arm(content=True)
    d = Dialog()
    inside, outside = ("192.0.2.200", 30000), ("192.0.2.200", 30100)
    rig.send(d.invite(body=sdp(*NEAR)), source="192.0.2.10")
    rig.send(d.invite(body=sdp(*outside)), source="192.0.2.200")
    rig.send(d.response(200, body=sdp(*FAR)), source="203.0.113.5")
    rig.send(d.response(200, body=sdp(*inside)), source="192.0.2.200")
    assert len(rig.x3(RTP, NEAR, inside)) == len(rig.x3(RTP, FAR, outside)) == 1
    assert rig.x3(RTP, inside, NEAR) == rig.x3(RTP, outside, FAR) == []


def test_content_that_nobody_takes_is_bounded_and_counted() -> None:
    rig = Rig(content_bound=1000).arm(content=True)
    up(rig)
    for _ in range(5):
        rig.matcher.media(RTP, source=NEAR, destination=FAR, stamp_ns=rig.now, now_ns=rig.now)
    assert [p.sequence for p in rig.content()] == [1, 2, 3]
    assert rig.matcher.counters()["content_lost"] == 2
    assert rig.x3(RTP, NEAR, FAR)[0].sequence == 6  # the gap says so too
    assert rig.count("out_lost") == 0


def test_an_evicted_call_takes_everything_with_it() -> None:
    rig = Rig(call_capacity=1).arm(content=True)
    up(rig)
    rig.send(Dialog(call_id="next").invite())
    assert rig.open() == {}
    assert rig.x3(RTP, NEAR, FAR) == []


# ---- what must never happen ----------------------------------------------------------------------------------------

STRANGERS = [(f"198.51.100.{i}", 20000 + 2 * i) for i in range(4)] + [("192.0.2.10", 44000), ("203.0.113.1", 20002)]
LINES = st.sampled_from(
    ["a=rtcp:{port}", "a=rtcp:{port} IN IP4 {address}", "a=rtcp-mux", "c=IN IP4 {address}", "c=IN IP6 ::", "c=", "m=",
     "a=rtpmap:0 telephone-event/1", "m=audio {port} RTP/AVP 0 101", "m=video {port} RTP/SAVP 96", "v=0", "a=rtcp:",
     "m=image {port} udptl t38", "m=audio {port}/99 UDP x", "m=audio 99999999999999999999 RTP/AVP 0", "m=audio {port}"]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    bodies=st.lists(st.lists(st.tuples(LINES, st.sampled_from(STRANGERS)), max_size=12), min_size=1, max_size=5),
    statuses=st.lists(st.sampled_from([180, 183, 200, 488]), min_size=5, max_size=5),
    packets=st.lists(st.tuples(st.sampled_from(STRANGERS), st.sampled_from(STRANGERS), st.booleans()), max_size=40),
)
def test_who_describes_the_addresses_of_others_opens_nothing_of_theirs(
    bodies: list[list[tuple[str, tuple[str, int]]]], statuses: list[int],
    packets: list[tuple[tuple[str, int], tuple[str, int], bool]],
) -> None:  # fmt: skip
    """The called party writes strangers' addresses into its descriptions; the subject's own are honest."""
    rig = Rig().arm(content=True, dde=True)
    d = Dialog()
    rig.send(d.invite(body=sdp(*NEAR)), source=NEAR[0])
    for body, status in zip(bodies, statuses, strict=False):
        text = described(
            *(line.format(address=at[0], port=at[1]) for line, at in body), address=body[0][1][0] if body else "1.1.1.1"
        )
        rig.send(d.response(status, body=text), source="203.0.113.1")
        for source, destination, control in packets:
            assert rig.x3(RTCP if control else RTP, source, destination) == []
    assert len(rig.open()) == rig.matcher.gauges()["flows"]
