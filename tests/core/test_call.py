"""The call model where the wire is not as in the book: loss, copies, challenges, calls already up."""

from __future__ import annotations

import pytest

from mediation.core.call import CallModel
from mediation.core.message import cdc
from tests.core.call_rig import Wire, incoming, press, sdp, surveillance

RINGBACK = "networkSignal RINGBACK_TONE"
ALERT = "networkSignal ALERTING_PATTERN_0"
UP = ["origination", RINGBACK, "answer"]


@pytest.fixture
def wire() -> Wire:
    return Wire(CallModel(surveillance()))


@pytest.fixture
def inwards() -> Wire:
    return incoming(CallModel(surveillance()))


# Stamps


def test_every_event_has_the_stamp_of_its_packet(wire: Wire) -> None:
    wire.connect()
    stamps = [pdu.stamp_ns for pdu in wire.sent]
    assert [event.message.timestamp_ns for event in wire.events] == [stamps[0], stamps[2], stamps[3]]
    assert all(event.received_ns == event.message.timestamp_ns for event in wire.events)
    assert all((event.error_ns, event.disciplined) == (20_000, True) for event in wire.events)


def test_digits_are_stamped_with_the_last_and_counted_from_the_first(wire: Wire) -> None:
    wire.connect()
    wire.play(press("1", 0))
    first = wire.sent[-6].stamp_ns
    wire.play(press("2", 9000))
    last = wire.sent[-6].stamp_ns
    wire.wait(2)
    assert wire.story[3:] == ["dialedDgtExtrn 12"]
    assert (wire.events[-1].received_ns, wire.messages[-1].timestamp_ns) == (first, last)


# Copies


@pytest.mark.parametrize("times", [2, 4])
def test_retransmissions_say_nothing(times: int) -> None:
    """Every message several times in a row (RFC 3261 section 17), as one tap would see it."""
    once = Wire(CallModel(surveillance()))
    once.connect()
    once.bye()
    model = CallModel(surveillance())
    events = [event for pdu in once.sent for _ in range(times) for event in model.observe(pdu)]
    assert events == once.events


def test_a_back_to_back_agent_that_keeps_the_call_id(wire: Wire) -> None:
    """Its other side has tags, CSeq and branches of its own; it is still one call with one answer and one end."""
    other = Wire(wire.model, caller_tag="agent", called_tag="far", cseq=7001, events=wire.events)
    wire.invite()
    other.invite()
    other.ring()
    wire.ring()
    other.answer()
    wire.answer()
    other.bye(from_caller=False)
    wire.bye(from_caller=False)
    assert wire.story == [*UP, "release"]


def test_a_back_to_back_agent_that_relays_a_change(wire: Wire) -> None:
    """The other side tells it once more, with its own tags and origin."""
    other = Wire(wire.model, caller_tag="agent", called_tag="far", cseq=7001, events=wire.events)
    for each in (wire, other):
        each.connect()
    wire.offer(sdp(2, codec="8 PCMA"), sdp(2, codec="8 PCMA", origin="a"))
    other.offer(sdp(2, codec="8 PCMA", origin="agent"), sdp(2, codec="8 PCMA", origin="b"))
    assert wire.story == [*UP, "mediaAndAddressReporting"]


def test_a_back_to_back_agent_that_tries_a_second_gateway(wire: Wire) -> None:
    """What fails on its far side is not the caller's affair; nor is it known which of two forks answered there."""
    other = Wire(wire.model, caller_tag="agent", called_tag="far", cseq=7001, events=wire.events)
    wire.invite()
    other.invite()
    other.response(503)
    wire.ring(tag="one")
    wire.ring(tag="two")
    other.answer()
    wire.called_tag = "two"
    wire.answer()
    wire.bye()
    assert wire.story == [*UP, "release"]


def test_a_late_copy_of_a_hold_that_is_over(wire: Wire) -> None:
    wire.connect()
    start = len(wire.sent)
    wire.offer(sdp(2, direction="sendonly"), sdp(2, direction="recvonly", origin="a"), cseq=10)
    held = wire.sent[start:]
    wire.offer(sdp(3), sdp(3, origin="a"), cseq=11)
    assert [event for pdu in held for event in wire.model.observe(pdu)] == []
    assert wire.story[-1] == "connection"


def test_a_late_copy_of_an_invite(wire: Wire) -> None:
    """After a challenge was met, and after a CANCEL: it neither takes the attempt back nor revives it."""
    wire.invite()
    first = wire.sent[0]
    wire.response(407)
    wire.cseq = 2
    wire.invite()
    assert wire.model.observe(first) == []
    wire.ring()
    assert wire.story == ["origination", RINGBACK]
    second = wire.sent[2]
    wire.request("CANCEL", to_tag=None)
    assert wire.model.observe(second) == []
    wire.wait(5)
    assert wire.story == ["origination", RINGBACK, "release time"]


def test_an_invite_outside_of_the_dialog_of_a_call_that_is_up(wire: Wire) -> None:
    wire.connect()
    wire.request("INVITE", to_tag=None, cseq=7, body=sdp(9, codec="8 PCMA"))
    wire.offer(sdp(), sdp(origin="a", address="10.0.9.9"))
    wire.bye()
    assert wire.story == [*UP, "release"]


# Challenges and retries


def test_a_challenge_is_no_end(wire: Wire) -> None:
    wire.invite()
    wire.response(407, tag="proxy")
    wire.request("ACK", to_tag="proxy")
    wire.cseq = 2
    wire.connect()
    wire.bye()
    assert wire.story == [*UP, "release"]


def test_a_challenge_that_is_never_met_ends_without_a_tone(wire: Wire) -> None:
    wire.invite()
    wire.response(401, "Unauthorized")
    assert wire.model.next_deadline_ns() is not None
    wire.wait(3.9)
    assert wire.story == ["origination"]
    wire.wait(0.2)
    assert wire.story == ["origination", "release SIP/2.0 401 Unauthorized"]
    assert wire.messages[-1].timestamp_ns == wire.now_ns


def test_a_longer_session_interval_is_the_same_attempt(wire: Wire) -> None:
    wire.invite()
    wire.response(422)
    wire.cseq = 2
    wire.connect()
    assert wire.story == UP


def test_the_caller_follows_a_redirection(wire: Wire) -> None:
    wire.invite()
    wire.response(302, contact="sip:+12015550177@carrier.example")
    wire.cseq = 2
    wire.invite(uri="sip:+12015550177@carrier.example", hops=2)
    wire.ring()
    wire.answer()
    wire.bye()
    assert wire.story == ["origination", "redirection", RINGBACK, "answer", "release"]
    redirection = wire.messages[1]
    assert isinstance(redirection, cdc.Redirection)
    assert redirection.redirected_from is not None and redirection.redirected_from.dn == "12015550199"
    assert redirection.redirected_to is not None and redirection.redirected_to.dn == "12015550177"


def test_a_new_target_rings_anew(wire: Wire) -> None:
    wire.invite()
    wire.ring()
    wire.response(302, contact="sip:+12015550177@carrier.example")
    wire.cseq = 2
    wire.invite(uri="sip:+12015550177@carrier.example")
    wire.ring()
    assert wire.story == ["origination", RINGBACK, "redirection", RINGBACK]


def test_a_challenge_then_an_answer_that_was_lost(wire: Wire) -> None:
    wire.invite()
    wire.response(407)
    wire.cseq = 2
    wire.invite()
    wire.request("ACK", branch="z9hG4bK-new")
    assert wire.story == ["origination", "answer"]


def test_a_failure_inside_the_network_is_not_the_end(wire: Wire) -> None:
    """The proxy tries a second gateway, whose hop this tap does not see, for half a minute."""
    wire.invite(hops=2)
    wire.response(503, branch="z9hG4bK-INVITE-1-caller-hop1", hops=1)
    wire.request("ACK", branch="z9hG4bK-INVITE-1-caller-hop1", hops=1)
    wire.wait(30)
    wire.answer(hops=1)
    assert wire.story == ["origination", "answer"]


# Loss


def test_an_answer_without_ringing(wire: Wire, inwards: Wire) -> None:
    for each in (wire, inwards):
        each.invite()
        each.answer()
        each.bye()
    assert wire.story == ["origination", "answer", "release"]
    assert inwards.story == ["termAttempt", ALERT, "answer", "release"]


def test_a_bye_without_an_answer_invents_none(wire: Wire) -> None:
    wire.invite()
    wire.ring()
    wire.bye()
    assert wire.story == ["origination", RINGBACK, "release"]


def test_an_ack_of_its_own_branch_proves_the_answer(wire: Wire) -> None:
    wire.invite()
    wire.ring()
    wire.request("ACK", branch="z9hG4bK-new")
    wire.dial("5#")
    assert wire.story == [*UP, "dialedDgtExtrn 5#"]


def test_an_ack_of_the_invites_branch_proves_a_failure(wire: Wire) -> None:
    wire.invite(hops=2)
    wire.response(486, branch="z9hG4bK-INVITE-1-caller-hop1", hops=1)
    assert wire.story == ["origination"]
    wire.request("ACK", branch="z9hG4bK-INVITE-1-caller")
    assert wire.story == ["origination", "networkSignal BUSY_TONE", "release SIP/2.0 486 Busy Here"]


def test_a_cancel_whose_487_is_lost(wire: Wire) -> None:
    wire.invite()
    wire.request("CANCEL", to_tag=None)
    wire.wait(5)
    assert wire.story == ["origination", "release time"]


def test_a_cancel_that_came_too_late(wire: Wire) -> None:
    wire.invite()
    wire.ring()
    wire.request("CANCEL", to_tag=None)
    wire.answer()
    wire.wait(60)
    assert wire.story == UP
    wire.bye()
    assert wire.story == [*UP, "release"]


# A call that was up before


def test_a_call_already_up_has_no_invented_beginning(wire: Wire) -> None:
    wire.offer(sdp(2, codec="8 PCMA"), sdp(2, codec="8 PCMA", origin="a"))
    wire.dial("7#")
    wire.bye()
    assert wire.story == ["mediaAndAddressReporting", "dialedDgtExtrn 7#", "release"]
    assert wire.model.counters["calls_joined"] == 1


def test_a_call_already_up_of_which_nothing_was_said(wire: Wire) -> None:
    """Its end is told all the same, once; what only belongs to a set-up joins nothing."""
    wire.answer()
    wire.bye()
    wire.bye()
    assert wire.story == ["release"]
    other = Wire(wire.model, call_id="other")
    other.ring()
    other.bye(from_caller=False)
    assert other.story == ["release"]
    assert wire.model.counters["unknown_call"] == 1


@pytest.mark.parametrize("method", ["INVITE", "UPDATE", "INFO", "REFER", "OPTIONS", "MESSAGE", "BYE"])
@pytest.mark.parametrize("from_caller", [True, False])
def test_any_request_inside_shows_a_call_that_was_up(wire: Wire, method: str, from_caller: bool) -> None:
    wire.request(method, from_caller=from_caller, cseq=10)
    wire.response(200, method=method, from_caller=not from_caller, cseq=10)
    assert wire.model.counters["calls_joined"] == 1
    if method != "BYE":
        wire.bye()
    assert [line for line in wire.story if line != "directSignalReporting"] == ["release"]  # which MESSAGE makes


@pytest.mark.parametrize("method", ["ACK", "PRACK", "NOTIFY", "SUBSCRIBE", "CANCEL"])
def test_what_proves_no_call_that_is_up_joins_none(wire: Wire, method: str) -> None:
    wire.request(method, cseq=10)
    assert (wire.story, wire.model.calls) == ([], 0)


def test_who_is_who_in_a_call_that_was_joined(inwards: Wire) -> None:
    """The first message seen is S's own re-INVITE, although A made the call."""
    inwards.offer(sdp(2, direction="sendonly"), sdp(2, direction="recvonly", origin="a"), from_caller=False)
    assert inwards.story == ["subjectSignal hold", "connectionBreak"]
    broken = inwards.messages[1]
    assert isinstance(broken, cdc.ConnectionBreak)
    assert [party.dn or party.user_provided for party in broken.removed_parties] == ["12015550199"]


def test_a_call_that_is_joined_by_its_answer(inwards: Wire) -> None:
    """The first message seen is the 200 of S's phone: S is the called party, and nothing is said of the answer."""
    inwards.answer()
    inwards.offer(sdp(2, direction="sendonly"), sdp(2, direction="recvonly", origin="a"), from_caller=False)
    assert inwards.story == ["subjectSignal hold", "connectionBreak"]
