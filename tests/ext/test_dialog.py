"""The table of calls: when a call begins, goes on and ends, and that it is bounded."""

import pytest

from tests.ext.calls import XID, XID2, Dialog, Rig, sdp

SECOND = 1_000_000_000
LINGER = 32 * SECOND


def calls(rig: Rig, after: int = 0) -> int:
    """How many calls are held `after` nanoseconds from now."""
    rig.now += after
    rig.send(b"\r\n")
    return rig.matcher.gauges()["calls"]


def test_it_lingers_after_the_bye() -> None:
    rig = Rig().arm()
    d = Dialog()
    rig.send(d.invite(), d.response(200), d.request("ACK"), d.request("BYE", cseq=2))
    rig.now += LINGER - 1
    assert len(rig.send(d.response(200, method="BYE", cseq=2))) == 1
    assert calls(rig, 1) == 0
    assert rig.send(d.response(200, method="BYE", cseq=2)) == []


@pytest.mark.parametrize("status", [300, 404, 486, 487, 603])
def test_it_lingers_after_a_refusal(status: int) -> None:
    rig = Rig().arm()
    d = Dialog()
    rig.send(d.invite(), d.response(180), d.response(status))
    assert calls(rig, LINGER - 1) == 1
    assert calls(rig, 1) == 0


def test_an_hour_of_silence_is_not_the_end() -> None:
    rig = Rig().arm(end=2**63)
    d = Dialog()
    rig.send(d.invite(), d.response(200), d.request("ACK"))
    assert calls(rig, 23 * 3600 * SECOND) == 1
    assert len(rig.send(d.request("BYE", by_callee=True))) == 1


def test_a_day_of_silence_is() -> None:
    rig = Rig().arm(end=2**63)
    rig.send(Dialog().invite(), Dialog().response(200))
    assert calls(rig, 86400 * SECOND) == 0
    assert rig.count("calls_silent") == 1


def test_a_challenge_is_not_the_end() -> None:
    rig = Rig().arm()
    d = Dialog()
    rig.send(d.invite(), d.response(407))
    rig.now += 5 * SECOND
    again = Dialog(branch="z9hG4bKagain")
    rig.send(again.invite())
    assert calls(rig, 10 * LINGER) == 1
    assert len(rig.send(again.response(200))) == 1


def test_one_branch_of_a_fork_that_fails_is_not_the_end() -> None:
    """Both sides of a forking proxy on one tap: one branch is busy, the other rings long."""
    rig = Rig().arm()
    near = Dialog()
    one, two = Dialog(branch="z9hG4bK1", callee_tag="one"), Dialog(branch="z9hG4bK2", callee_tag="two")
    rig.send(near.invite(), one.invite(), two.invite(), one.response(486), two.response(180))
    assert calls(rig, 10 * LINGER) == 1
    assert len(rig.send(two.response(200))) == 1


def test_two_dialogs_of_one_call_end_one_by_one() -> None:
    rig = Rig().arm()
    one, two = Dialog(callee_tag="one"), Dialog(callee_tag="two")
    rig.send(one.invite(), one.response(200), two.response(200), two.request("BYE", cseq=2))
    assert calls(rig, 10 * LINGER) == 1
    rig.send(one.request("BYE", by_callee=True))
    assert calls(rig, LINGER) == 0


def test_a_bye_that_is_refused_ends_nothing() -> None:
    rig = Rig().arm()
    d = Dialog()
    rig.send(d.invite(), d.response(200), d.request("BYE", cseq=2), d.response(401, method="BYE", cseq=2))
    assert calls(rig, 10 * LINGER) == 1
    rig.send(d.request("BYE", cseq=3), d.response(481, method="BYE", cseq=3))
    assert calls(rig, LINGER) == 0


def test_a_failed_reinvite_ends_nothing() -> None:
    rig = Rig().arm()
    d = Dialog()
    rig.send(d.invite(), d.response(200), d.request("INVITE", cseq=2), d.response(488, cseq=2))
    assert calls(rig, 10 * LINGER) == 1


def test_a_late_copy_of_the_answer_revives_nothing() -> None:
    rig = Rig().arm()
    d = Dialog()
    rig.send(d.invite(), d.response(200), d.request("BYE", cseq=2), d.response(200))
    assert calls(rig, LINGER) == 0


def test_a_registration_is_one_transaction() -> None:
    rig = Rig().arm()
    d = Dialog(callee="sip:+12125550100@example.com")
    assert len(rig.send(d.request("REGISTER", uri="sip:example.com", to_tag=False))) == 1
    assert len(rig.send(d.response(200, method="REGISTER"))) == 1
    assert calls(rig, LINGER) == 0


def test_the_table_is_bounded_and_the_longest_silent_goes() -> None:
    rig = Rig(call_capacity=4).arm()
    for i in range(4):
        rig.now += 1
        rig.send(Dialog(call_id=f"call-{i}").invite())
    rig.send(Dialog(call_id="call-0").response(180))  # now call-1 is the one that was silent longest
    rig.send(Dialog(call_id="call-4").invite())
    assert rig.count("calls_evicted") == 1
    assert rig.matcher.gauges()["calls"] == 4
    alive = [i for i in range(5) if rig.send(Dialog(call_id=f"call-{i}").response(180))]
    assert alive == [0, 2, 3, 4]


def test_what_is_over_makes_room_first() -> None:
    rig = Rig(call_capacity=2).arm()
    over = Dialog(call_id="over")
    rig.send(Dialog(call_id="old").invite(), over.invite(), over.response(486))
    rig.send(Dialog(call_id="new").invite())
    assert rig.send(over.response(486)) == []
    assert len(rig.send(Dialog(call_id="old").response(200))) == 1


def test_ten_thousand_calls_come_and_go() -> None:
    """The hash table of Call-IDs stays right through growth and removal."""
    rig = Rig(call_capacity=20_000).arm()
    for i in range(10_000):
        rig.send(Dialog(call_id=f"c{i}").invite())
    for i in range(0, 10_000, 2):
        rig.send(Dialog(call_id=f"c{i}").response(486))
    rig.now += LINGER
    assert calls(rig) == 5000
    for i in range(10_000):
        assert len(rig.send(Dialog(call_id=f"c{i}").response(180))) == i % 2


def test_more_dialogs_than_are_remembered_are_never_ended_too_early() -> None:
    rig = Rig().arm()
    rig.send(Dialog().invite())
    legs = [Dialog(callee_tag=f"t{i}") for i in range(12)]
    for leg in legs:
        rig.send(leg.response(200))
    for leg in legs[:11]:
        rig.send(leg.request("BYE", cseq=2))
    assert calls(rig, 10 * LINGER) == 1
    assert len(rig.send(legs[11].request("BYE", cseq=2))) == 1


def test_a_handle_outlives_eviction() -> None:
    rig = Rig(call_capacity=1).arm()
    (first,) = rig.send(Dialog(call_id="a").invite())
    (other,) = rig.send(Dialog(call_id="b").invite())
    (again,) = rig.send(Dialog(call_id="a").invite())
    assert first.correlation == again.correlation != other.correlation


def test_handles_are_secret_of_the_process() -> None:
    pdus = [Rig().arm().send(Dialog().invite())[0] for _ in range(2)]
    assert pdus[0].correlation != pdus[1].correlation


def test_without_tags() -> None:
    """RFC 2543: the parties are told apart by their URIs."""
    rig = Rig().arm()
    invite = Dialog().invite().replace(b";tag=1928301774", b"")
    bye = Dialog().request("BYE", by_callee=True).replace(b";tag=1928301774", b"").replace(b";tag=a6c85cf", b"")
    a, b = rig.send(invite, bye)
    assert (a.direction, b.direction) == (3, 2)


def test_a_very_long_call_id() -> None:
    rig = Rig().arm(XID).arm(XID2)
    d = Dialog(call_id="x" * 30_000)
    assert len(rig.send(d.invite())) == 2
    assert len(rig.send(d.response(200))) == 2
    assert rig.send(Dialog(call_id="x" * 29_999).response(200)) == []


@pytest.mark.parametrize("branches", [1, 9, 40])
def test_a_bye_ends_a_call_however_many_branches_it_had(branches: int) -> None:
    """Else its media filter would hold for a day, and pass what the next call on the same two ports says."""
    rig = Rig().arm(content=True)
    d = Dialog()
    rig.send(*(Dialog(branch=f"z9hG4bK{i}").invite(body=sdp()) for i in range(branches)))
    answer = Dialog(branch="z9hG4bK0").response(200, body=sdp("203.0.113.9", 30000))
    rig.send(answer, source="203.0.113.9")
    rig.send(d.request("ACK"), d.request("BYE", cseq=2))
    assert calls(rig, SECOND) == 1
    assert rig.matcher.gauges()["flows"] == 0
    assert calls(rig, LINGER) == 0


def test_a_late_answer_revives_a_call_that_had_many_branches() -> None:
    rig = Rig().arm()
    one, two = Dialog(callee_tag="one"), Dialog(callee_tag="two", branch="z9hG4bK20")
    rig.send(*(Dialog(branch=f"z9hG4bK{i}").invite() for i in range(30)), one.response(200), one.request("BYE", cseq=2))
    assert len(rig.send(two.response(200))) == 1
    assert calls(rig, 10 * LINGER) == 1


def test_a_refusal_ends_no_call_that_had_more_branches_than_are_known() -> None:
    rig = Rig().arm()
    made = [Dialog(branch=f"z9hG4bK{i}") for i in range(9)]
    rig.send(*(each.invite() for each in made), *(each.response(486) for each in made[:8]))
    assert calls(rig, 10 * LINGER) == 1
    assert len(rig.send(made[8].response(200))) == 1
