"""Content: which packets become X3 PDUs, from when to when, of which call."""

from __future__ import annotations

from mediation.core.interface.x2 import Direction, PduType, Role
from tests.ext.calls import S2, XID, XID2, Dialog, Rig, event_packet, sdp
from tests.ext.content import CONTROL, FAR, FAR_RTCP, NEAR, NEAR_RTCP, RTCP, RTP, udp_of, up

SUBJECT = "sip:+12125550100@example.com"
TAIL_NS = 100_000_000


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
    assert rig.open() == {FAR: (0, 101)}
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
    assert rig.open() == {FAR: (0, 101)}
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


def test_the_tail_has_both_directions_and_no_stranger() -> None:
    """What the caller sent before a BYE that was walked first: the callee's address holds as long as its own."""
    rig = Rig().arm(content=True)
    d = up(rig)
    assert rig.open() == {NEAR: None, NEAR_RTCP: CONTROL, FAR: None, FAR_RTCP: CONTROL}
    rig.send(d.request("BYE"))
    rig.now += TAIL_NS - 1
    assert len(rig.x3(RTP, NEAR, FAR)) == len(rig.x3(RTP, FAR, NEAR)) == 1
    assert len(rig.x3(RTCP, NEAR_RTCP, FAR_RTCP)) == len(rig.x3(RTCP, FAR_RTCP, NEAR_RTCP)) == 1
    assert rig.x3(RTP, ("192.0.2.10", 40004), FAR) == rig.x3(RTP, NEAR, ("203.0.113.5", 50004)) == []
    assert rig.open() == {NEAR: None, NEAR_RTCP: CONTROL, FAR: None, FAR_RTCP: CONTROL}
    rig.now += 1
    assert rig.x3(RTP, NEAR, FAR) == rig.x3(RTP, FAR, NEAR) == []
    rig.matcher.expire(rig.now)
    assert rig.open() == {}
    assert rig.matcher.gauges()["flows"] == 0


def test_a_dialog_that_ended_before_the_call_has_no_part_in_its_tail() -> None:
    """Two forks answered (RFC 3261 section 13.2.2.4); the tail is that of the last one."""
    rig = Rig().arm(content=True)
    d, other, there = up(rig), Dialog(callee_tag="fork"), ("203.0.113.5", 52000)
    rig.send(other.response(200, body=sdp(*there)), other.request("ACK"), source="203.0.113.1")
    assert len(rig.x3(RTP, NEAR, there)) == len(rig.x3(RTP, NEAR, FAR)) == 1
    rig.send(d.request("BYE", cseq=2))
    rig.send(other.request("BYE", cseq=2))
    assert rig.x3(RTP, NEAR, FAR) == []
    assert len(rig.x3(RTP, NEAR, there)) == 1
    assert FAR not in rig.open()


def test_the_next_call_at_the_addresses_of_one_that_ends() -> None:
    """Its packets are its own from its first, and stay so when the tail of the call before it is over."""
    rig = Rig().arm(content=True)
    before = up(rig)
    handle = rig.x3(RTP, NEAR, FAR)[0].correlation
    rig.send(before.request("BYE"))
    rig.now += TAIL_NS // 2
    d = up(rig, Dialog(call_id="next", caller_tag="n1", callee_tag="n2"))
    pairs = ((RTP, NEAR, FAR), (RTP, FAR, NEAR), (RTCP, NEAR_RTCP, FAR_RTCP), (RTCP, FAR_RTCP, NEAR_RTCP))
    addresses = {NEAR: None, NEAR_RTCP: CONTROL, FAR: None, FAR_RTCP: CONTROL}
    for _ in range(2):  # within the tail, and behind it
        for packet, source, destination in pairs:
            (pdu,) = rig.x3(packet, source, destination)
            assert pdu.correlation != handle
        assert rig.x3(RTP, ("203.0.113.77", 50000), NEAR) == rig.x3(RTP, ("192.0.2.77", 40000), FAR) == []
        assert rig.open() == addresses
        rig.now += TAIL_NS // 2
        rig.matcher.expire(rig.now)
    rig.send(d.request("BYE"))
    rig.now += TAIL_NS
    rig.matcher.expire(rig.now)
    assert rig.open() == {}


def test_the_next_call_is_found_whatever_the_order_of_the_table() -> None:
    """Of both calls at one address the flow that was made last is found first: here that is the ended call's."""
    rig = Rig().arm(content=True)
    before, d = Dialog(), Dialog(call_id="next", caller_tag="n1", callee_tag="n2")
    rig.send(before.invite(body=sdp()), d.invite(body=sdp()))
    for dialog in (d, before):
        rig.send(dialog.response(200, body=sdp(*FAR)), dialog.request("ACK"), source="203.0.113.1")
    handle = rig.send(d.request("INFO"))[0].correlation
    rig.send(before.request("BYE"))
    for packet, source, destination in ((RTP, NEAR, FAR), (RTP, FAR, NEAR), (RTCP, NEAR_RTCP, FAR_RTCP)):
        assert [pdu.correlation for pdu in rig.x3(packet, source, destination)] == [handle]


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
    """Each direction goes out once, though each packet passes twice: on the caller's side of the relay."""
    rig = Rig().arm(content=True)
    d = Dialog()
    relay = "192.0.2.200"
    inside, outside = (relay, 30000), (relay, 30100)
    rig.send(d.invite(body=sdp(*NEAR)), source=NEAR[0], destination=relay)
    rig.send(d.invite(body=sdp(*outside)), source=relay, destination=FAR[0])
    rig.send(d.response(200, body=sdp(*FAR)), source=FAR[0], destination=relay)
    rig.send(d.response(200, body=sdp(*inside)), source=relay, destination=NEAR[0])
    assert len(rig.x3(RTP, NEAR, inside)) == len(rig.x3(RTP, inside, NEAR)) == 1
    assert rig.x3(RTP, FAR, outside) == rig.x3(RTP, outside, FAR) == []


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
