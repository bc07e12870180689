"""Forwarded or delivered: the evidence, piece by piece, and who is named in the messages of a redirected call."""

from __future__ import annotations

import pytest

from mediation.core.call import CallModel
from mediation.core.interface.x2 import Role
from mediation.core.message import cdc
from tests.core.call_rig import A_URI, B_URI, S_CONTACT, S_URI, A, B, S, Wire, incoming, sdp, surveillance

ALERT = "networkSignal ALERTING_PATTERN_0"
ALICE = "sip:alice@carrier.example"
BOB = "sip:bob@carrier.example"


def called(uri: str = S_URI, **more: object) -> Wire:
    return incoming(CallModel(surveillance(subjects=(f"tel:{S}", ALICE))), called=uri, **more)


def send_on(wire: Wire, uri: str, *, branch: str = "z9hG4bK-next", headers: tuple[str, ...] = ()) -> None:
    wire.request("INVITE", to_tag=None, uri=uri, branch=branch, headers=headers, body=sdp())


OWN = {
    "the subject by number, on another host": "sip:+12015550123@10.0.0.5:5060",
    "the subject, national form": "sip:2015550123@10.0.0.5;transport=udp",
    "the subject's other identity": ALICE,
    "a contact never seen before": "sip:x8f3-random@10.0.0.5:5062;ob",
    "the same on IPv6": "sip:x8f3@[2001:db8::5]:5060",
    "a contact with a host name": "sip:x8f3@phone5.access.example",
}
ELSEWHERE = {
    "another number": B_URI,
    "another number as tel:": f"tel:{B}",
    "another number at an address": f"sip:{B}@10.0.8.8:5060",
    "another address of record": BOB,
    "a redirected target by RFC 4458": "sip:mailbox@10.0.8.8;cause=408",
}


@pytest.mark.parametrize("uri", OWN.values(), ids=OWN.keys())
def test_delivered_to_the_subject(uri: str) -> None:
    wire = called()
    wire.invite()
    send_on(wire, uri)
    wire.response(180, branch="z9hG4bK-next")
    wire.answer()
    wire.bye()
    assert wire.story == ["termAttempt", ALERT, "answer", "release"]


@pytest.mark.parametrize("uri", ELSEWHERE.values(), ids=ELSEWHERE.keys())
def test_forwarded(uri: str) -> None:
    wire = called()
    wire.invite()
    send_on(wire, uri)
    wire.response(180, branch="z9hG4bK-next")
    wire.answer()
    wire.bye()
    assert wire.story == ["termAttempt", "redirection", "answer", "release"]


UNCLEAR = "sip:x9@10.0.8.8:5060"  # nothing in it says whose it is
ADMITTED = {
    "diversion": (f"Diversion: <{S_URI}>;reason=unconditional;counter=1",),
    "history": (f"History-Info: <{S_URI}>;index=1, <{UNCLEAR};cause=302>;index=1.1",),
    "mapped": (f"History-Info: <{S_URI}>;index=1, <{UNCLEAR}>;index=1.1;mp=1",),
}


@pytest.mark.parametrize("headers", ADMITTED.values(), ids=ADMITTED.keys())
def test_what_a_header_admits(headers: tuple[str, ...]) -> None:
    wire = called()
    wire.invite()
    send_on(wire, UNCLEAR, headers=headers)
    assert wire.story == ["termAttempt", "redirection"]


def test_a_registered_contact_in_history_is_no_redirection() -> None:
    wire = called()
    wire.invite()
    send_on(wire, UNCLEAR, headers=(f"History-Info: <{S_URI}>;index=1, <{UNCLEAR}>;index=1.1;rc=1",))
    assert wire.story == ["termAttempt"]


def test_a_diversion_from_before_is_no_redirection_by_the_subject() -> None:
    before = (f"Diversion: <{B_URI}>;reason=no-answer",)
    wire = called()
    wire.invite(headers=before)
    send_on(wire, UNCLEAR, headers=before)
    assert wire.story == ["termAttempt"]


def test_after_a_refusal_a_new_user_is_somebody_else() -> None:
    wire = called()
    wire.invite(hops=1)
    send_on(wire, S_CONTACT, branch="z9hG4bK-s")
    wire.response(486, branch="z9hG4bK-s")
    send_on(wire, UNCLEAR)
    assert wire.story == ["termAttempt", "redirection"]


def test_after_giving_up_a_new_user_is_somebody_else() -> None:
    """The proxy cancels the ringing phone and goes on before the phone's 487 is back."""
    wire = called()
    wire.invite(hops=1)
    send_on(wire, S_CONTACT, branch="z9hG4bK-s")
    wire.request("CANCEL", to_tag=None, branch="z9hG4bK-s")
    send_on(wire, UNCLEAR)
    assert wire.story == ["termAttempt", "redirection"]


def test_after_a_refusal_the_same_user_elsewhere_is_the_subjects_second_phone() -> None:
    wire = called()
    wire.invite(hops=1)
    send_on(wire, S_CONTACT, branch="z9hG4bK-s")
    wire.response(486, branch="z9hG4bK-s")
    send_on(wire, S_CONTACT.replace("10.0.0.5", "10.0.0.6"))
    assert wire.story == ["termAttempt"]


def test_what_the_registrar_lists_is_the_subjects_whatever_it_looks_like() -> None:
    contact = f"sip:{B}@10.0.0.5:5060"
    wire = called()
    registration = Wire(wire.model, role=Role.CALLING, caller=S_URI, called=S_URI, call_id="register")
    registration.response(200, method="REGISTER", contact=contact)
    wire.invite()
    send_on(wire, contact)
    assert wire.story == ["termAttempt"]


def test_a_refused_registration_teaches_nothing() -> None:
    contact = f"sip:{B}@10.0.0.5:5060"
    wire = called()
    registration = Wire(wire.model, role=Role.CALLING, caller=S_URI, called=S_URI, call_id="register")
    registration.request("REGISTER", to_tag=None, contact=contact)
    registration.response(403, method="REGISTER", contact=contact)
    other = Wire(wire.model, role=Role.CALLING, caller=A_URI, called=A_URI, call_id="register-of-another")
    other.response(200, method="REGISTER", contact=contact)
    wire.invite()
    send_on(wire, contact)
    assert wire.story == ["termAttempt", "redirection"]


def test_the_contact_of_an_earlier_call_is_known() -> None:
    contact = f"sip:{B}@10.0.0.5:5060"
    wire = called()
    first = Wire(wire.model, call_id="first", caller_contact=contact)
    first.connect()
    wire.invite()
    send_on(wire, contact)
    assert wire.story == ["termAttempt"]


def test_the_contact_of_a_phone_that_was_called_is_known_but_not_that_of_another() -> None:
    own, foreign = f"sip:{B}@10.0.0.5:5060", "sip:+12015550166@10.0.8.8:5060"
    wire = called()
    for call_id, uri, contact in (("one", S_URI, own), ("two", B_URI, foreign)):
        earlier = called(call_id=call_id)
        earlier.model = wire.model
        earlier.invite()
        send_on(earlier, uri)
        earlier.response(200, branch="z9hG4bK-next", contact=contact)
    wire.invite()
    send_on(wire, own, branch="z9hG4bK-own")
    assert wire.story == ["termAttempt"]
    send_on(wire, foreign, branch="z9hG4bK-foreign")
    assert wire.story == ["termAttempt", "redirection"]


def test_a_network_that_keeps_one_dialog_towards_the_caller() -> None:
    """S's phone rang in it, then the call was sent on, and in the same dialog B answers."""
    wire = called()
    wire.invite()
    wire.ring()
    send_on(wire, B_URI)
    wire.answer()
    answer = wire.messages[3]
    assert wire.story == ["termAttempt", ALERT, "redirection", "answer"]
    assert isinstance(answer, cdc.Answer) and answer.answering is not None and answer.answering.dn == B[1:]


# Announced, but not seen


def test_announced_but_the_subject_answered_after_all() -> None:
    wire = called()
    wire.invite()
    send_on(wire, S_CONTACT)
    wire.response(181, "Call Is Being Forwarded", tag="proxy")
    wire.response(200, branch="z9hG4bK-next", tag="s", body=sdp())
    assert wire.story == ["termAttempt", "answer"]


def test_announced_and_answered_out_of_sight() -> None:
    """Only the caller's hop is tapped: 181, then 200 with the network's word on who answered."""
    wire = called()
    wire.invite()
    wire.response(181, "Call Is Being Forwarded")
    wire.ring()
    wire.answer(headers=(f"P-Asserted-Identity: <{B_URI}>",))
    wire.bye()
    assert wire.story == ["termAttempt", "redirection", "answer", "release"]
    _, redirection, answer, _ = wire.messages
    assert isinstance(redirection, cdc.Redirection) and redirection.redirected_to is not None
    assert redirection.redirected_to.dn == B[1:]
    assert isinstance(answer, cdc.Answer) and answer.answering is not None and answer.answering.dn == B[1:]


def test_announced_and_never_seen_again() -> None:
    wire = called()
    wire.invite()
    wire.response(181, "Call Is Being Forwarded")
    wire.wait(3)
    assert wire.story == ["termAttempt"]
    wire.wait(2)
    assert wire.story == ["termAttempt", "redirection"]
    send_on(wire, B_URI)
    assert wire.story == ["termAttempt", "redirection", "redirection"]
    told, known = wire.messages[1:]
    assert isinstance(told, cdc.Redirection) and isinstance(known, cdc.Redirection)
    assert told.redirected_to is None and told.redirected_from is not None and told.redirected_from.dn == S[1:]
    assert known.redirected_to is not None and known.redirected_to.dn == B[1:]


def test_announced_then_sent_to_a_target_that_says_nothing_of_itself() -> None:
    wire = called()
    wire.invite()
    wire.response(181, "Call Is Being Forwarded")
    send_on(wire, UNCLEAR)
    assert wire.story == ["termAttempt", "redirection"]
    told = wire.messages[-1]
    assert isinstance(told, cdc.Redirection) and told.redirected_to == cdc.Party(uri=(UNCLEAR,))


def test_announced_with_a_target() -> None:
    wire = called()
    wire.invite()
    wire.response(181, "Forwarded", headers=(f"History-Info: <{S_URI}>;index=1, <{B_URI};cause=302>;index=1.1",))
    assert wire.story == ["termAttempt", "redirection"]
    send_on(wire, B_URI)
    assert wire.story == ["termAttempt", "redirection"]


@pytest.mark.parametrize(("status", "end"), [(480, "release SIP/2.0 480 Status"), (0, "release time")])
def test_announced_and_failed(status: int, end: str) -> None:
    wire = called()
    wire.invite()
    wire.response(181, "Call Is Being Forwarded")
    if status:
        wire.response(status)
    else:
        wire.request("CANCEL", to_tag=None)
    wire.wait(10)
    assert wire.story == ["termAttempt", "redirection", end]


# Redirected by the phone


def test_a_302_that_the_caller_follows() -> None:
    """Nobody in the network recurses: the 302 reaches A, who sends a new INVITE with a higher CSeq."""
    wire = called()
    wire.invite()
    wire.response(302, contact=B_URI)
    wire.request("ACK")
    wire.cseq = 2
    wire.invite(uri=B_URI)
    wire.called_tag = "b"
    wire.ring()
    wire.answer()
    wire.bye()
    assert wire.story == ["termAttempt", "redirection", "answer", "release"]


def test_a_302_that_nobody_follows() -> None:
    wire = called()
    wire.invite()
    wire.response(302, contact=B_URI)
    wire.wait(5)
    assert wire.story == ["termAttempt", "redirection", "release SIP/2.0 302 Status"]


def test_a_302_names_the_best_contact() -> None:
    wire = called()
    wire.invite()
    wire.response(
        302, contact=f"{A_URI}>;q=0.1, <{B_URI}>;q=0.9, <sip:c@carrier.example>;q=0.2, <sip:d@carrier.example"
    )
    redirection = wire.messages[-1]
    assert isinstance(redirection, cdc.Redirection) and redirection.redirected_to is not None
    assert redirection.redirected_to.uri == ("sip:d@carrier.example",)  # without q it counts as 1


def test_a_chain_names_who_redirected_each_time() -> None:
    wire = called()
    wire.invite()
    send_on(wire, B_URI, branch="z9hG4bK-b")
    send_on(wire, "sip:+12015550166@carrier.example", branch="z9hG4bK-c")
    first, second = wire.messages[1:]
    assert isinstance(first, cdc.Redirection) and isinstance(second, cdc.Redirection)
    assert first.redirected_from is not None and first.redirected_from.dn == S[1:]
    assert second.redirected_from is not None and second.redirected_from.dn == B[1:]


def test_the_gateways_for_one_target_are_one_redirection() -> None:
    wire = called()
    wire.invite()
    send_on(wire, f"sip:{B}@10.0.8.8", branch="z9hG4bK-1")
    send_on(wire, f"sip:{B}@10.0.8.9", branch="z9hG4bK-2")
    assert wire.story == ["termAttempt", "redirection"]


def test_ringing_at_both_places() -> None:
    """S's phone and B ring at once; S answers. Only S's own phone alerts S."""
    wire = called()
    wire.invite()
    send_on(wire, S_CONTACT, branch="z9hG4bK-s")
    send_on(wire, B_URI, branch="z9hG4bK-b")
    wire.response(180, branch="z9hG4bK-b", tag="b")
    wire.response(180, branch="z9hG4bK-s", tag="s")
    wire.response(200, branch="z9hG4bK-s", tag="s", body=sdp())
    wire.called_tag = "s"
    wire.offer(sdp(2, direction="sendonly"), sdp(2, direction="recvonly"), from_caller=False)
    wire.bye()
    assert wire.story == ["termAttempt", "redirection", ALERT, "answer", "subjectSignal hold", "connectionBreak",
                          "release"]  # fmt: skip
    answer = wire.messages[3]
    assert isinstance(answer, cdc.Answer) and answer.answering is not None and answer.answering.dn == S[1:]


def test_nobody_holds_as_the_subject_in_a_forwarded_call() -> None:
    wire = called()
    wire.invite()
    send_on(wire, B_URI)
    wire.called_tag = "b"
    wire.answer()
    wire.offer(sdp(2, direction="sendonly"), sdp(2, direction="recvonly"), from_caller=False)
    assert wire.story == ["termAttempt", "redirection", "answer", "connectionBreak"]
    broken = wire.messages[-1]
    assert isinstance(broken, cdc.ConnectionBreak)
    assert [party.user_provided for party in broken.removed_parties] == [A[1:]]
    assert [party.dn for party in broken.remaining_parties] == [B[1:]]


# First seen behind the forwarding


def test_forwarded_before_it_reached_this_tap() -> None:
    wire = called(B_URI)
    wire.invite(headers=(f"Diversion: <{S_URI}>;reason=user-busy;counter=1, <{A_URI}>;counter=1",))
    wire.ring()
    wire.answer()
    wire.bye()
    assert wire.story == ["termAttempt", "redirection", "answer", "release"]
    attempt, redirection = wire.messages[:2]
    assert isinstance(attempt, cdc.TerminationAttempt) and attempt.called is not None
    assert attempt.called.dn == S[1:]
    assert attempt.redirected_from_info is not None and attempt.redirected_from_info.num_redirections == 1
    assert isinstance(redirection, cdc.Redirection) and redirection.redirected_to is not None
    assert redirection.redirected_to.dn == B[1:]


def test_a_first_request_to_another_number_is_no_forwarding_without_a_word_of_it() -> None:
    """A number translated for the subject (here from its toll-free one) looks the same."""
    wire = called()
    wire.invite(uri="sip:+12015550166@carrier.example")
    assert wire.story == ["termAttempt"]
    (attempt,) = wire.messages
    assert isinstance(attempt, cdc.TerminationAttempt) and attempt.called is not None
    assert attempt.called.dn == S[1:]


def test_forwarded_to_the_subject() -> None:
    """The subject is the last target: no redirection of its own, but the display and the attempt tell the history."""
    wire = called()
    wire.invite(headers=(f"Diversion: <{B_URI}>;reason=no-answer;counter=2, <sip:+12015550166@carrier.example>",))
    wire.ring()
    attempt, alert = wire.messages
    assert isinstance(attempt, cdc.TerminationAttempt) and isinstance(alert, cdc.NetworkSignal)
    told = attempt.redirected_from_info
    assert told is not None and told.last_redirecting is not None and told.original_called is not None
    assert (told.last_redirecting.dn, told.original_called.dn, told.num_redirections) == (B[1:], "12015550166", 3)
    display = alert.terminal_display_info
    assert display is not None
    assert (display.last_redirecting_number, display.redirecting_reason) == (B[1:], "no-answer")
