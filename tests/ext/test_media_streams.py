"""Where content is looked for: all streams of a description, RTCP, NAT; and that nobody opens the streams of others."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediation.core.interface.x2 import Direction
from tests.ext.calls import XID, Dialog, Rig, sdp
from tests.ext.content import CONTROL, FAR, FAR_RTCP, NEAR, NEAR_RTCP, RTCP, RTP, described, udp_of, up


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
