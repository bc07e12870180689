"""A tap on both sides of a controller that relays media: offer a1 -> r1, answer b1 -> r2, and each packet once."""

from __future__ import annotations

import pytest

from tests.ext.calls import Dialog, Rig, event_packet, sdp
from tests.ext.content import RTCP, RTP

A, S, B, MOVED = "192.0.2.10", "198.51.100.1", "203.0.113.5", "192.0.2.66"  # signalling
RELAY = "198.51.100.200"
A1, R1, B1, R2 = (A, 40000), (RELAY, 30000), (B, 50000), (RELAY, 30100)
A2, R3, B2, R4 = (A, 42000), (RELAY, 30200), (B, 52000), (RELAY, 30300)
NEAR, FAR = (A, S), (S, B)  # hops, in the caller's direction
At = tuple[str, int]


def beside(at: At) -> At:
    return at[0], at[1] + 1


class Sides(Rig):
    """Messages on one hop or the other, and the media of both."""

    def there(self, message: bytes, hop: tuple[str, str]) -> None:
        self.send(message, source=hop[0], destination=hop[1])

    def back(self, message: bytes, hop: tuple[str, str]) -> None:
        self.send(message, source=hop[1], destination=hop[0])

    def invited(self, d: Dialog, near: At | None = A1, far: At | None = R1) -> None:
        self.there(d.invite(body=sdp(*near) if near else ""), NEAR)
        self.there(d.invite(body=sdp(*far) if far else ""), FAR)

    def answered(self, d: Dialog, far: At = B1, near: At = R2, *, status: int = 200, cseq: int = 1) -> None:
        self.back(d.response(status, body=sdp(*far), cseq=cseq), FAR)
        self.back(d.response(status, body=sdp(*near), cseq=cseq), NEAR)

    def acknowledged(self, d: Dialog, cseq: int = 1) -> None:
        self.there(d.request("ACK", cseq=cseq), NEAR)
        self.there(d.request("ACK", cseq=cseq), FAR)

    def passes(self, *path: At, packet: bytes = RTP) -> list[tuple[At, At]]:
        """A packet on its way over all these addresses; which copies of it became content."""
        return [ends for ends in zip(path[::2], path[1::2], strict=True) if self.x3(packet, *ends)]


def up(rig: Sides) -> Dialog:
    d = Dialog()
    rig.invited(d)
    rig.answered(d)
    rig.acknowledged(d)
    return d


def near_side_alone(rig: Sides, a: At = A1, relayed: At = R2, far: At = R1, b: At = B1) -> None:
    assert rig.passes(a, relayed, far, b) == [(a, relayed)]
    assert rig.passes(b, far, relayed, a) == [(relayed, a)]
    control = (beside(a), beside(relayed), beside(far), beside(b))
    assert rig.passes(*control, packet=RTCP) == [control[:2]]
    assert rig.passes(*reversed(control), packet=RTCP) == [(control[1], control[0])]
    assert set(rig.open()) == {a, beside(a), relayed, beside(relayed)}


@pytest.mark.parametrize("subject", ["caller", "callee"])
def test_each_packet_once_in_each_direction(subject: str) -> None:
    rig = Sides()
    rig.arm(bytes(16), "tel:+12125550100" if subject == "caller" else "tel:+13125550123", content=True)
    up(rig)
    near_side_alone(rig)


def test_a_source_of_the_other_hop_is_nobody_s() -> None:
    """The peer of r2 is a1, of r1 it is b1; across, nothing passes."""
    rig = Sides().arm(content=True)
    up(rig)
    near_side_alone(rig)
    for source in (B1, R1, ("203.0.113.77", 50000)):
        assert rig.passes(source, R2) == rig.passes(source, A1) == []
    for source in (A1, R2, B1):
        assert rig.passes(source, R1) == []


def test_before_the_answer_has_come_by_on_the_caller_s_hop() -> None:
    rig = Sides().arm(content=True)
    d = Dialog()
    rig.invited(d)
    rig.back(d.response(200, body=sdp(*B1)), FAR)
    assert rig.passes(B1, R1) == rig.passes(R1, B1) == []
    rig.back(d.response(200, body=sdp(*R2)), NEAR)
    near_side_alone(rig)
    rig.back(d.response(200, body=sdp(*B1)), FAR)  # once more: it was not acknowledged yet
    near_side_alone(rig)


def test_early_media_then_an_answer_of_the_same() -> None:
    rig = Sides().arm(content=True)
    d = Dialog()
    rig.invited(d)
    rig.answered(d, status=183)
    near_side_alone(rig)
    rig.answered(d)
    rig.acknowledged(d)
    near_side_alone(rig)


def test_early_media_then_an_answer_elsewhere() -> None:
    rig = Sides().arm(content=True)
    d = Dialog()
    rig.invited(d)
    rig.answered(d, status=183)
    rig.answered(d, B2, R4)
    rig.acknowledged(d)
    near_side_alone(rig, relayed=R4, b=B2)


def test_a_delayed_offer() -> None:
    rig = Sides().arm(content=True)
    d = Dialog()
    rig.invited(d, None, None)
    rig.answered(d)
    rig.there(d.request("ACK", body=sdp(*A1)), NEAR)
    rig.there(d.request("ACK", body=sdp(*R1)), FAR)
    near_side_alone(rig)


def test_a_reliable_offer_and_its_answer_in_prack() -> None:
    rig = Sides().arm(content=True)
    d = Dialog()
    rig.invited(d, None, None)
    rig.answered(d, status=183)
    rig.there(d.request("PRACK", cseq=2, body=sdp(*A1)), NEAR)
    rig.there(d.request("PRACK", cseq=2, body=sdp(*R1)), FAR)
    for hop in (FAR, NEAR):
        rig.back(d.response(200, method="PRACK", cseq=2), hop)
    for hop in (FAR, NEAR):
        rig.back(d.response(200), hop)
    near_side_alone(rig)


def test_a_refresh_of_the_session_interrupts_nothing() -> None:
    """RFC 4028: the same descriptions again. Between any two of its messages both directions pass, each packet once."""
    rig = Sides().arm(content=True)
    d = up(rig)
    for message, hop, on in (
        (d.request("INVITE", cseq=2, body=sdp(*A1)), NEAR, rig.there),
        (d.request("INVITE", cseq=2, body=sdp(*R1)), FAR, rig.there),
        (d.response(200, cseq=2, body=sdp(*B1)), FAR, rig.back),
        (d.response(200, cseq=2, body=sdp(*R2)), NEAR, rig.back),
        (d.request("ACK", cseq=2), NEAR, rig.there),
    ):
        on(message, hop)
        assert rig.passes(A1, R2, R1, B1) == [(A1, R2)]
        assert rig.passes(B1, R1, R2, A1) == [(R2, A1)]
        assert not [flow for flow in rig.flows() if not flow[0] and flow[1:3] in (A1, R2)]


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_the_called_party_moves_its_media_and_the_call_stays_on_its_hop(method: str) -> None:
    """Its request is seen on the far hop first."""
    rig = Sides().arm(content=True)
    d = up(rig)
    rig.back(d.request(method, by_callee=True, cseq=7, body=sdp(*B2)), FAR)
    assert rig.passes(B1, R1, R2, A1) == [(R2, A1)]
    rig.back(d.request(method, by_callee=True, cseq=7, body=sdp(*R4)), NEAR)
    rig.there(d.response(200, method=method, by_caller=True, cseq=7, body=sdp(*A1)), NEAR)
    rig.there(d.response(200, method=method, by_caller=True, cseq=7, body=sdp(*R3)), FAR)
    near_side_alone(rig, relayed=R4, far=R3, b=B2)


def test_a_controller_that_answers_the_called_party_itself() -> None:
    """The whole transaction passes on the far hop: the pair there is the call's from now on."""
    rig = Sides().arm(content=True)
    d = up(rig)
    rig.back(d.request("INVITE", by_callee=True, cseq=7, body=sdp(*B2)), FAR)
    rig.there(d.response(200, by_caller=True, cseq=7, body=sdp(*R3)), FAR)
    rig.back(d.request("ACK", by_callee=True, cseq=7), FAR)
    assert rig.passes(A1, R2, R3, B2) == [(R3, B2)]
    assert rig.passes(B2, R3, R2, A1) == [(B2, R3)]


def test_the_caller_moves_to_another_address() -> None:
    rig = Sides().arm(content=True)
    d = up(rig)
    moved, at = (MOVED, S), (MOVED, 42000)
    rig.there(d.request("INVITE", cseq=2, body=sdp(*at)), moved)
    rig.there(d.request("INVITE", cseq=2, body=sdp(*R3)), FAR)
    rig.back(d.response(200, cseq=2, body=sdp(*B1)), FAR)
    rig.back(d.response(200, cseq=2, body=sdp(*R4)), moved)
    rig.there(d.request("ACK", cseq=2), moved)
    near_side_alone(rig, at, R4, R3)
    rig.back(d.request("INVITE", by_callee=True, cseq=7, body=sdp(*B2)), FAR)  # and the call's hop moved with it
    rig.back(d.request("INVITE", by_callee=True, cseq=7, body=sdp(*R2)), moved)
    rig.there(d.response(200, by_caller=True, cseq=7, body=sdp(*at)), moved)
    near_side_alone(rig, at, R2, R3, B2)


def test_an_end_that_another_access_point_tells_first() -> None:
    """A feed's copy of the BYE is walked before packets that were captured ahead of it: they are the call's."""
    rig = Sides().arm(content=True)
    d = up(rig)
    rig.there(d.request("BYE", cseq=2), NEAR)
    near_side_alone(rig)
    rig.there(d.request("BYE", cseq=2), FAR)
    for hop in (FAR, NEAR):
        rig.back(d.response(200, method="BYE", cseq=2), hop)
    near_side_alone(rig)
    rig.now += 100_000_000
    rig.matcher.expire(rig.now)
    assert rig.passes(A1, R2, R1, B1) == rig.passes(B1, R1, R2, A1) == []
    assert rig.open() == {}


def test_an_answer_that_was_lost_on_the_caller_s_hop() -> None:
    rig = Sides().arm(content=True)
    d = Dialog()
    rig.invited(d)
    rig.back(d.response(200, body=sdp(*B1)), FAR)
    rig.acknowledged(d)
    assert rig.passes(A1, R2, R1, B1) == [(R1, B1)]
    assert rig.passes(B1, R1, R2, A1) == [(B1, R1)]
    rig.back(d.response(200, body=sdp(*R2)), NEAR)  # too late to change the side again
    assert rig.passes(A1, R2, R1, B1) == [(R1, B1)]


def test_a_refused_move_leaves_everything_as_it_was() -> None:
    rig = Sides().arm(content=True)
    d = up(rig)
    rig.there(d.request("INVITE", cseq=2, body=sdp(*A2)), NEAR)
    rig.there(d.request("INVITE", cseq=2, body=sdp(*R3)), FAR)
    for hop in (FAR, NEAR):
        rig.back(d.response(488, cseq=2), hop)
    near_side_alone(rig)


def test_the_same_descriptions_on_both_hops() -> None:
    """A proxy that leaves media alone."""
    rig = Sides().arm(content=True)
    d = Dialog()
    rig.invited(d, A1, A1)
    rig.back(d.response(200, body=sdp(*B1)), FAR)
    assert rig.passes(B1, A1) == [(B1, A1)]
    rig.back(d.response(200, body=sdp(*B1)), NEAR)
    rig.acknowledged(d)
    assert rig.passes(A1, B1) == [(A1, B1)]
    assert rig.passes(B1, A1) == [(B1, A1)]
    assert set(rig.open()) == {A1, beside(A1), B1, beside(B1)}


def test_forks_of_which_one_is_seen_on_the_far_hop_alone() -> None:
    rig = Sides().arm(content=True)
    d = Dialog()
    rig.invited(d, A1, A1)
    ends = [(f"203.0.113.{40 + i}", 6000) for i in range(3)]
    forks = [Dialog(callee_tag=f"fork{i}") for i in range(3)]
    for end, fork in zip(ends, forks, strict=True):
        rig.back(fork.response(183, body=sdp(*end)), (S, end[0]))
    for end, fork in zip(ends[1:], forks[1:], strict=True):
        rig.back(fork.response(183, body=sdp(*end)), NEAR)
    for end in ends:
        assert rig.passes(end, A1) == [(end, A1)]
        assert rig.passes(A1, end) == [(A1, end)]
    rig.back(forks[0].response(200), (S, ends[0][0]))
    assert rig.passes(ends[0], A1) == [(ends[0], A1)]
    assert rig.passes(A1, ends[1]) == []


def test_a_back_to_back_agent_with_tags_and_numbers_of_its_own() -> None:
    """The Call-ID alone is the same on both sides."""
    rig = Sides().arm(content=True)
    near, far = Dialog(), Dialog(caller_tag="agent", callee_tag="other", branch="z9hG4bKagent")
    rig.there(near.invite(body=sdp(*A1)), NEAR)
    rig.there(far.request("INVITE", to_tag=False, cseq=900, body=sdp(*R1)), FAR)
    rig.back(far.response(200, cseq=900, body=sdp(*B1)), FAR)
    rig.back(near.response(200, body=sdp(*R2)), NEAR)
    rig.there(near.request("ACK"), NEAR)
    assert rig.passes(A1, R2, R1, B1) == [(A1, R2)]
    assert rig.passes(B1, R1, R2, A1) == [(R2, A1)]


def test_digits_once_as_well() -> None:
    rig = Sides().arm(dde=True)
    up(rig)
    assert [len(rig.rtp(event_packet(), to, source=at)) for at, to in ((A1, R2), (R1, B1))] == [1, 0]
    assert rig.open() == {R2: tuple(sorted({0, 101}))}
