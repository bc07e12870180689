"""What is not one of the 38 scenarios, but happens: early media and dialogs of every kind, glare, calls to oneself."""

from __future__ import annotations

import pytest

from mediation.core.call import CallModel
from mediation.core.message import cdc
from tests.core.call_rig import A_URI, B_URI, S_CONTACT, S_URI, A, B, S, Wire, incoming, sdp, surveillance

RINGBACK = "networkSignal RINGBACK_TONE"
ALERT = "networkSignal ALERTING_PATTERN_0"
UP = ["origination", RINGBACK, "answer"]
MEDIA = "mediaAndAddressReporting"


@pytest.fixture
def wire() -> Wire:
    return Wire(CallModel(surveillance()))


@pytest.fixture
def inwards() -> Wire:
    return incoming(CallModel(surveillance()))


def test_reliable_provisional_responses(wire: Wire) -> None:
    """RFC 3262, 3264: the offer comes in the 183, its answer in the PRACK; PRACK and its 200 carry a second round."""
    wire.invite(body="")
    wire.response(183, headers=("Require: 100rel", "RSeq: 1"), body=sdp(origin="a", address="10.0.9.9"))
    wire.request("PRACK", cseq=2, headers=("RAck: 1 1 INVITE",), body=sdp())
    wire.response(200, method="PRACK", cseq=2)
    wire.ring()
    wire.request("UPDATE", cseq=3, body=sdp(2, codec="8 PCMA"))
    wire.response(200, method="UPDATE", cseq=3, body=sdp(2, codec="8 PCMA", origin="a", address="10.0.9.9"))
    wire.answer(body="")
    wire.bye()
    assert wire.story == ["origination", MEDIA, MEDIA, RINGBACK, MEDIA, "answer", "release"]
    answered = wire.messages[2]
    assert isinstance(answered, cdc.MediaAndAddressReporting)
    assert answered.subject_media is not None and answered.associate_media == ()


def test_a_delayed_offer(wire: Wire) -> None:
    """The answer of the subject comes in the ACK."""
    wire.invite(body="")
    wire.response(200, body=sdp(address="10.0.9.9", origin="a"))
    wire.request("ACK", branch="z9hG4bK-ack", body=sdp(address="10.0.0.77"))
    assert wire.story == ["origination", "answer", MEDIA]
    answer, report = wire.messages[1:]
    assert isinstance(answer, cdc.Answer) and answer.answering_media is not None
    assert isinstance(report, cdc.MediaAndAddressReporting) and report.subject_media is not None
    assert "10.0.0.77" in (report.subject_media.sdp or "")


def test_early_media_at_one_address_and_the_call_at_another(wire: Wire) -> None:
    wire.invite()
    wire.response(183, body=sdp(origin="announcement", address="10.0.7.7"))
    wire.answer(body=sdp(origin="a", address="10.0.9.9"))
    assert wire.story == ["origination", MEDIA, "answer"]
    early, answer = wire.messages[1:]
    assert isinstance(early, cdc.MediaAndAddressReporting) and isinstance(answer, cdc.Answer)
    assert "10.0.7.7" in (early.associate_media[0].sdp or "")
    assert answer.answering_media is not None and "10.0.9.9" in (answer.answering_media.sdp or "")


def test_several_early_dialogs_each_with_media(wire: Wire) -> None:
    wire.invite()
    for at, tag in enumerate(("one", "two", "three")):
        wire.response(183, tag=tag, body=sdp(origin=tag, address=f"10.0.7.{at}"))
    wire.response(180, tag="two")
    wire.response(200, tag="three", body=sdp(origin="three", address="10.0.7.2"))
    wire.called_tag = "three"
    wire.bye()
    assert wire.story == [
        "origination", MEDIA, MEDIA, MEDIA, RINGBACK, "answer", "release leg one", "release leg two", "release",
    ]  # fmt: skip
    legs = [m.call_id.leg for m in wire.messages[1:4] if isinstance(m, cdc.MediaAndAddressReporting)]
    assert legs == ["one", "two", "three"]


def test_glare(wire: Wire) -> None:
    """Both offer at once, both are refused (491), one offers again."""
    wire.connect()
    wire.request("INVITE", body=sdp(2, direction="sendonly"), cseq=10)
    wire.request("INVITE", body=sdp(2, direction="sendonly", origin="a"), cseq=50, from_caller=False)
    wire.response(491, cseq=10)
    wire.response(491, cseq=50, from_caller=True)
    wire.request("ACK", cseq=10)
    wire.request("ACK", cseq=50, from_caller=False)
    assert wire.story == UP
    wire.offer(sdp(2, direction="sendonly", origin="a"), sdp(2, direction="recvonly"), cseq=51, from_caller=False)
    assert wire.story == [*UP, "connectionBreak"]


def test_session_timers_are_silent(wire: Wire) -> None:
    """RFC 4028: with and without a body, by re-INVITE and UPDATE, from either side, for an hour."""
    wire.connect()
    for n in range(40):
        method, mine = ("INVITE", "UPDATE")[n % 2], n % 3 == 0
        bodies = (sdp(), sdp(origin="a", address="10.0.9.9"))
        offer, answer = bodies if mine else bodies[::-1]
        wire.offer(offer if n % 5 else "", answer if n % 5 else "", method=method, cseq=100 + n, from_caller=mine)
        wire.wait(90)
    wire.bye()
    assert wire.story == [*UP, "release"]


def test_a_reinvite_without_a_body_is_answered_with_an_offer(wire: Wire) -> None:
    wire.connect()
    wire.request("INVITE", cseq=10, from_caller=False)
    wire.response(200, cseq=10, from_caller=True, body=sdp(2, address="10.0.0.66"))
    wire.request("ACK", cseq=10, from_caller=False, body=sdp(2, origin="a", address="10.0.9.66"), branch="z9hG4bK-n")
    assert wire.story == [*UP, MEDIA, MEDIA]


def test_the_subject_calls_itself(wire: Wire) -> None:
    """One call with the subject at both ends: one beginning, one end."""
    own = Wire(wire.model, called=S_URI, events=wire.events)
    own.connect()
    own.bye()
    assert wire.story == [*UP, "release"]
    origination, _, answer, _ = wire.messages
    assert isinstance(origination, cdc.Origination) and isinstance(answer, cdc.Answer)
    assert origination.calling is not None and origination.called is not None
    assert origination.calling.dn == origination.called.dn == S[1:]


def test_32_a_subject_calls_a_subject_of_another_case() -> None:
    """Two models, two streams: neither names the other's case."""
    caller, called = CallModel(surveillance()), CallModel(surveillance(case_id="CASE-2", subjects=(f"tel:{A}",)))
    one, two = Wire(caller), incoming(called, caller=S_URI, called=A_URI)
    for each in (one, two):
        each.connect()
        each.bye()
    assert one.story == [*UP, "release"]
    assert two.story == ["termAttempt", ALERT, "answer", "release"]
    assert {m.case_id for m in one.messages} == {"CASE-1"} and {m.case_id for m in two.messages} == {"CASE-2"}


def test_one_subject_under_several_cases_has_equal_streams() -> None:
    stories = []
    for case in ("CASE-1", "CASE-2"):
        each = Wire(CallModel(surveillance(case_id=case)))
        each.connect()
        each.bye()
        stories.append(each.story)
    assert stories[0] == stories[1] == [*UP, "release"]


def test_35_the_order_starts_in_mid_call(wire: Wire) -> None:
    wire.events += wire.model.start(wire.now_ns)
    wire.request("INFO", cseq=7)
    wire.dial("1#")
    wire.offer(sdp(2, direction="sendonly"), sdp(2, direction="recvonly", origin="a"), cseq=10)
    wire.bye()
    assert wire.story == ["surveillanceStatus ACTIVATION", "dialedDgtExtrn 1#", "subjectSignal hold", "connectionBreak",
                          "release"]  # fmt: skip


def test_the_subject_stands_in_p_called_party_id_alone(inwards: Wire) -> None:
    """The Request-URI is a contact, To what the caller dialed: a number that the network translated."""
    wire = incoming(inwards.model, called="sip:+18005550000@carrier.example")
    wire.request("INVITE", to_tag=None, uri=S_CONTACT, headers=(f"P-Called-Party-ID: <{S_URI}>",), body=sdp())
    wire.ring()
    wire.answer()
    wire.bye()
    assert wire.story == ["termAttempt", ALERT, "answer", "release"]
    attempt = wire.messages[0]
    assert isinstance(attempt, cdc.TerminationAttempt) and attempt.called is not None
    assert attempt.called.dn == S[1:]


@pytest.mark.parametrize(
    "header",
    [
        f"Diversion: <{S_URI}>;reason=unconditional",
        f"History-Info: <{S_URI}>;index=1, <{B_URI};cause=302>;index=1.1",
    ],
)
def test_the_subject_stands_only_where_the_call_was_forwarded(header: str) -> None:
    wire = incoming(CallModel(surveillance()), called=B_URI)
    wire.invite(headers=(header,))
    wire.ring()
    wire.answer()
    wire.bye()
    assert wire.story == ["termAttempt", "redirection", "answer", "release"]


def test_10_forwarded_to_another_carrier(inwards: Wire) -> None:
    """What becomes of it there is not seen here but for its end."""
    inwards.invite()
    history = f"History-Info: <{S_URI}>;index=1, <{B_URI};cause=302>;index=1.1"
    inwards.response(181, "Call Is Being Forwarded", headers=(history,))
    inwards.answer()
    inwards.bye()
    assert inwards.story == ["termAttempt", "redirection", "answer", "release"]
    redirection = inwards.messages[1]
    assert isinstance(redirection, cdc.Redirection) and redirection.redirected_to is not None
    assert redirection.redirected_to.dn == B[1:]


def test_10_and_nothing_more_is_seen(inwards: Wire) -> None:
    inwards.invite()
    inwards.response(302, contact=B_URI)
    inwards.wait(10)
    assert inwards.story == ["termAttempt", "redirection", "release SIP/2.0 302 Status"]


def test_forwarding_names_the_service_in_pcesp() -> None:
    wire = incoming(CallModel(surveillance(profile="pcesp")))
    wire.invite()
    wire.response(302, contact=B_URI)
    assert wire.story == ["termAttempt", "redirection", "serviceinstance"]
    named = wire.messages[-1]
    assert isinstance(named, cdc.ServiceInstance) and named.service_name == "Call_Forwarding"


@pytest.mark.parametrize("hidden", ["sip:anonymous@anonymous.invalid", "sip:Anonymous@carrier.example"])
def test_an_anonymous_caller_without_the_networks_word_is_nobody(inwards: Wire, hidden: str) -> None:
    inwards.invite(from_=f'"Anonymous" <{hidden}>', headers=("Privacy: id",))
    attempt = inwards.messages[0]
    assert isinstance(attempt, cdc.TerminationAttempt) and attempt.calling == cdc.Party()
