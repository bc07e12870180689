"""The acceptance scenarios on the call model: the expected order of messages for each that this release promises.

Every scenario is played on a tap that sees one hop, and again on a SPAN port that sees two and three: what the agency
gets must be the same. T3-only messages (CC*) belong to a later release and are never sent.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mediation.core.call import CallModel
from mediation.core.calls.surveillance import Surveillance
from mediation.core.case import Authority, Capability
from mediation.core.message import cdc
from tests.core.call_rig import A_URI, B_CONTACT, B_URI, S_CONTACT, A, B, S, Wire, incoming, press, sdp, surveillance

RINGBACK = "networkSignal RINGBACK_TONE"
ALERT = "networkSignal ALERTING_PATTERN_0"

Play = Callable[[Wire], None]
OUT: dict[str, tuple[Play, list[str]]] = {}
IN: dict[str, tuple[Play, list[str]]] = {}


def out(name: str, *story: str) -> Callable[[Play], Play]:
    def keep(play: Play) -> Play:
        OUT[name] = (play, list(story))
        return play

    return keep


def into(name: str, *story: str) -> Callable[[Play], Play]:
    def keep(play: Play) -> Play:
        IN[name] = (play, list(story))
        return play

    return keep


@out("1 answered, S hangs up", "origination", RINGBACK, "answer", "release")
def _(wire: Wire) -> None:
    wire.connect()
    wire.bye()


@out("1 with early media", "origination", RINGBACK, "mediaAndAddressReporting", "answer", "release")
def _(wire: Wire) -> None:
    wire.invite()
    wire.ring()
    wire.response(183, body=sdp(address="10.0.7.7", origin="announcement"))
    wire.answer()
    wire.bye(from_caller=False)


@out("2 busy", "origination", "networkSignal BUSY_TONE", "release SIP/2.0 486 Busy Here")
def _(wire: Wire) -> None:
    wire.invite()
    wire.response(486)
    wire.request("ACK")


@out("3 no answer, S gives up", "origination", RINGBACK, "release SIP/2.0 487 Request Terminated")
def _(wire: Wire) -> None:
    wire.invite()
    wire.ring()
    wire.request("CANCEL", to_tag=None)
    wire.response(200, method="CANCEL")
    wire.response(487)
    wire.request("ACK")


@out("4 no such number", "origination", "networkSignal SPECIAL_INFO_TONE", "release SIP/2.0 404 Not Found")
def _(wire: Wire) -> None:
    wire.invite()
    wire.response(404)


@into("5 answered", "termAttempt", ALERT, "answer", "release")
def _(wire: Wire) -> None:
    wire.connect()
    wire.bye()


@into("6 nobody answers", "termAttempt", ALERT, "release SIP/2.0 487 Request Terminated")
def _(wire: Wire) -> None:
    wire.invite()
    wire.ring()
    wire.request("CANCEL", to_tag=None)
    wire.response(487)


@into("6 declined", "termAttempt", ALERT, "release SIP/2.0 603 Decline")
def _(wire: Wire) -> None:
    wire.invite()
    wire.ring()
    wire.response(603, "Decline")


@into("7 withheld", "termAttempt", ALERT, "answer", "release")
def _(wire: Wire) -> None:
    wire.invite(
        from_='"Anonymous" <sip:anonymous@anonymous.invalid>',
        headers=("Privacy: id", f"P-Asserted-Identity: <{A_URI}>"),
    )
    wire.ring()
    wire.answer()
    wire.bye()


@into("8 unconditional", "termAttempt", "redirection", "answer", "release")
def _(wire: Wire) -> None:
    wire.invite(hops=1)
    wire.response(181, "Call Is Being Forwarded", hops=1)
    forward(wire)


@into("9 busy", "termAttempt", "redirection", "answer", "release")
def _(wire: Wire) -> None:
    wire.invite(hops=1)
    wire.request("INVITE", to_tag=None, uri=S_CONTACT, branch="z9hG4bK-to-s", body=sdp(), hops=1)
    wire.response(486, branch="z9hG4bK-to-s", hops=1)
    forward(wire)


@into("9 no answer", "termAttempt", ALERT, "redirection", "answer", "release")
def _(wire: Wire) -> None:
    wire.invite(hops=1)
    wire.request("INVITE", to_tag=None, uri=S_CONTACT, branch="z9hG4bK-to-s", body=sdp(), hops=1)
    wire.response(180, branch="z9hG4bK-to-s", hops=1)
    wire.ring(hops=1)
    wire.request("CANCEL", to_tag=None, uri=S_CONTACT, branch="z9hG4bK-to-s", hops=1)
    wire.response(487, branch="z9hG4bK-to-s", hops=1)
    forward(wire)


@into("11 302 by S's phone", "termAttempt", "redirection", "answer", "release")
def _(wire: Wire) -> None:
    wire.invite(hops=1)
    wire.request("INVITE", to_tag=None, uri=S_CONTACT, branch="z9hG4bK-to-s", body=sdp(), hops=1)
    wire.response(302, "Moved Temporarily", branch="z9hG4bK-to-s", contact=B_URI, hops=1)
    forward(wire)


def forward(wire: Wire) -> None:
    """The proxy sends the INVITE on to B, who answers; A hangs up."""
    wire.request("INVITE", to_tag=None, uri=B_URI, branch="z9hG4bK-to-b", body=sdp(), hops=1)
    wire.called_tag = "b"
    wire.response(180, branch="z9hG4bK-to-b", hops=1)
    wire.ring(hops=1)
    wire.response(200, branch="z9hG4bK-to-b", contact=B_CONTACT, body=sdp(address="10.0.8.8", origin="b"), hops=1)
    wire.answer(hops=1, contact=B_CONTACT, body=sdp(address="10.0.8.8", origin="b"))
    wire.bye()


def hold(wire: Wire) -> None:
    """The caller holds, then retrieves."""
    wire.connect()
    wire.offer(sdp(2, direction="sendonly"), sdp(2, direction="recvonly", origin="a", address="10.0.9.9"))
    wire.offer(sdp(3), sdp(3, origin="a", address="10.0.9.9"), cseq=11)
    wire.bye()


HOLD = ("subjectSignal hold", "connectionBreak", "subjectSignal retrieve", "connection")
out("12 S holds A", "origination", RINGBACK, "answer", *HOLD, "release")(hold)
into("13 A holds S", "termAttempt", ALERT, "answer", "connectionBreak", "connection", "release")(hold)


@into("12 S, called, holds A by UPDATE", "termAttempt", ALERT, "answer", *HOLD, "release")
def _(wire: Wire) -> None:
    wire.connect()
    for version, direction, cseq in ((2, "inactive", 20), (3, "sendrecv", 21)):
        wire.offer(
            sdp(version, direction=direction, origin="a", address="10.0.9.9"),
            sdp(version, direction=direction),
            from_caller=False,
            cseq=cseq,
            method="UPDATE",
        )
    wire.bye()


@out("20 digits", "origination", RINGBACK, "answer", "dialedDgtExtrn 1123#", "release")
def _(wire: Wire) -> None:
    wire.connect()
    wire.dial("1123#")
    wire.bye()


@out("20 33 digits", "origination", RINGBACK, "answer", "dialedDgtExtrn " + "1234" * 8, "dialedDgtExtrn 5", "release")
def _(wire: Wire) -> None:
    wire.connect()
    for at, key in enumerate("1234" * 8 + "5"):
        wire.play(press(key, 1000 * at, updates=0, ends=1))
    wire.bye()


@out("22 two end packets lost", "origination", RINGBACK, "answer", "dialedDgtExtrn 9", "release")
def _(wire: Wire) -> None:
    wire.connect()
    wire.play(press("9", 160, ends=1))
    wire.wait(2)
    wire.bye()


@into("23 digits of A", "termAttempt", ALERT, "answer", "release")
def _(wire: Wire) -> None:
    wire.connect()
    wire.play(press("9", 160), from_subject=False)
    wire.wait(2)
    wire.bye()


@out("29 codec change", "origination", RINGBACK, "answer", "mediaAndAddressReporting", "release")
def _(wire: Wire) -> None:
    wire.connect()
    wire.offer(sdp(2, codec="8 PCMA"), sdp(2, codec="8 PCMA", origin="a", address="10.0.9.9"))
    wire.bye()


@out("30 forked", "origination", RINGBACK, "answer", "release leg one", "release")
def _(wire: Wire) -> None:
    wire.invite()
    wire.ring(tag="one")
    wire.ring(tag="two")
    wire.called_tag = "two"
    wire.answer()
    wire.bye()


@pytest.mark.parametrize("hops", [1, 2, 3])
@pytest.mark.parametrize("name", OUT)
def test_outgoing(name: str, hops: int) -> None:
    play, story = OUT[name]
    wire = Wire(CallModel(surveillance()), span=hops)
    play(wire)
    wire.wait(60)
    assert wire.story == story
    assert wire.model.calls == 0


@pytest.mark.parametrize("hops", [1, 2, 3])
@pytest.mark.parametrize("name", IN)
def test_incoming(name: str, hops: int) -> None:
    play, story = IN[name]
    wire = incoming(CallModel(surveillance()), span=hops)
    play(wire)
    wire.wait(60)
    assert wire.story == story
    assert wire.model.calls == 0


def test_20_digits_off() -> None:
    wire = Wire(CallModel(surveillance(dde=False)))
    wire.connect()
    wire.dial("1123#")
    wire.bye()
    assert wire.story == ["origination", RINGBACK, "answer", "release"]
    assert wire.model.counters["digits_off"] == 5 * 6


def test_20_toggle_in_mid_call() -> None:
    wire = Wire(CallModel(surveillance(dde=False)))
    wire.connect()
    wire.dial("11#")
    wire.events += wire.model.set_dde(True, wire.now_ns)
    wire.dial("22#4", first=100_000)
    wire.events += wire.model.set_dde(False, wire.now_ns)
    wire.dial("33#", first=200_000)
    wire.bye()
    assert wire.story[3:] == ["dialedDgtExtrn 22#", "dialedDgtExtrn 4", "release"]


def test_33_two_agencies() -> None:
    """One subject, a Title III order and a pen register: the same calls, each under its own case, SDP to one only."""
    orders: list[Surveillance] = [
        surveillance(case_id="CASE-T3"),
        surveillance(
            case_id="CASE-PEN", authority=Authority.PEN_REGISTER, capabilities=frozenset({Capability.CALL_DATA})
        ),
    ]
    full, pen = (Wire(CallModel(order)) for order in orders)
    for wire in (full, pen):
        wire.connect()
        wire.bye()
    assert full.story == pen.story
    for wire, own in ((full, "CASE-T3"), (pen, "CASE-PEN")):
        assert {message.case_id for message in wire.messages} == {own}
    assert "m=audio" in repr(full.messages)
    assert "m=audio" not in repr(pen.messages)


def test_34_the_order_ends_in_mid_call() -> None:
    wire = Wire(CallModel(surveillance()))
    wire.events += wire.model.start(wire.now_ns)
    wire.connect()
    wire.dial("12")
    wire.events += wire.model.stop(wire.now_ns)
    wire.dial("3#")
    wire.bye()
    wire.wait(3600)
    assert wire.events[-1].message.timestamp_ns <= wire.now_ns
    assert wire.story == [
        "surveillanceStatus ACTIVATION", "origination", RINGBACK, "answer", "dialedDgtExtrn 12",
        "surveillanceStatus DEACTIVATION",
    ]  # fmt: skip
    assert wire.model.counters["after_stop"] == 12 + 2
    assert wire.model.calls == 0


def test_parties_of_a_forwarded_call() -> None:
    wire = incoming(CallModel(surveillance()))
    IN["8 unconditional"][0](wire)
    attempt, redirection, answer, _ = wire.messages
    assert isinstance(attempt, cdc.TerminationAttempt)
    assert isinstance(redirection, cdc.Redirection)
    assert isinstance(answer, cdc.Answer)
    assert (attempt.calling.user_provided, attempt.called and attempt.called.dn) == (A[1:], S[1:])
    assert redirection.redirected_from is not None and redirection.redirected_from.dn == S[1:]
    assert redirection.redirected_to is not None and redirection.redirected_to.dn == B[1:]
    assert answer.answering is not None and answer.answering.dn == B[1:]
