"""Back-to-back agents that change the Call-ID: their legs are one call, and what showed it is counted."""

from __future__ import annotations

import msgspec
import pytest

from mediation.core.call import CallModel
from mediation.core.calls.dialog import MAX_ECHOES
from mediation.core.calls.memory import MAX_ALIASES
from mediation.core.interface.x2 import Pdu
from mediation.core.message import cdc
from tests.core.call_rig import A_URI, B_URI, S_CONTACT, S_URI, B, S, Wire, incoming, sdp, surveillance

RINGBACK = "networkSignal RINGBACK_TONE"
ALERT = "networkSignal ALERTING_PATTERN_0"
UUID = "ab30317f1a784dc48ff824d0d3715d86"
SESSION = (f"Session-ID: {UUID};remote=00000000000000000000000000000000",)
ICID = ("P-Charging-Vector: icid-value=1234bc9876e;icid-generated-at=192.0.2.1;orig-ioi=home1.net",)


class Sent(Wire):
    """A wire whose PDUs tell which host sent them, as a tap does."""

    host = ""

    def give(self, octets: bytes, **more: object) -> None:
        model, self.model = self.model, Stamped(self.model, self.host)  # type: ignore[assignment]
        super().give(octets, **more)  # type: ignore[arg-type]
        self.model = model


class Stamped:
    def __init__(self, model: CallModel, host: str) -> None:
        self.model, self.host = model, host

    def observe(self, pdu: Pdu) -> list[cdc.CallEvent]:
        return self.model.observe(msgspec.structs.replace(pdu, source=(self.host, 5060)))


def two_legs(*, inwards: bool = False, host: str = "", **more: object) -> tuple[Wire, Wire]:
    """The leg of the caller, and the leg that the agent makes; both tell their story in one place."""
    model = CallModel(surveillance())
    values = {"caller": A_URI, "called": S_URI} if inwards else {"caller": S_URI, "called": A_URI}
    near = (incoming if inwards else Sent)(model, call_id="near")
    far = (incoming if inwards else Sent)(
        model, call_id="far", caller_tag="agent", called_tag="end", cseq=7001, events=near.events, **more
    )
    if isinstance(near, Sent) and isinstance(far, Sent):
        near.host, far.host = "10.0.0.5" if host else "", host
    assert values["caller"] == near.caller
    return near, far


def connect(near: Wire, far: Wire, headers: tuple[str, ...] = (), body: str | None = None) -> None:
    near.invite(headers=headers)
    far.now_ns = near.now_ns
    far.invite(headers=headers, body=sdp(origin="agent", address="10.0.2.2", port=6000) if body is None else body)
    far.ring()
    near.ring()
    far.answer()
    near.answer()


@pytest.mark.parametrize(
    ("headers", "evidence"), [(SESSION, "session_id"), (ICID, "icid"), (SESSION + ICID, "session_id")]
)
@pytest.mark.parametrize("inwards", [False, True])
@pytest.mark.parametrize("first", ["near", "far"])
def test_two_legs_are_one_call(headers: tuple[str, ...], evidence: str, inwards: bool, first: str) -> None:
    near, far = two_legs(inwards=inwards)
    connect(near, far, headers)
    for wire in (near, far) if first == "near" else (far, near):
        wire.bye()
    began = ["termAttempt", ALERT] if inwards else ["origination", RINGBACK]
    assert near.story == [*began, "answer", "release"]
    assert {m.call_id.main for m in near.messages} == {"near"}  # type: ignore[attr-defined]
    counters = near.model.counters
    assert counters[f"legs_joined_{evidence}"] == 1
    assert sum(value for name, value in counters.items() if name.startswith("legs_joined")) == 1
    assert counters["calls"] == 1


def test_the_leg_that_told_it_is_named() -> None:
    """S's phone alerts and answers on the agent's leg: that leg stands in the messages."""
    near, far = two_legs(inwards=True)
    connect(near, far, SESSION)
    alert, answer = near.messages[1:3]
    assert isinstance(alert, cdc.NetworkSignal) and isinstance(answer, cdc.Answer)
    assert alert.call_id == answer.call_id == cdc.CallIdentity(main="near", leg="end")


@pytest.mark.parametrize("tags", [True, False])
def test_no_evidence_makes_two_calls(tags: bool) -> None:
    near, far = two_legs()
    other = (f"Session-ID: {UUID[::-1]};remote={'0' * 32}",) if tags else ("Session-ID: " + "0" * 32,)
    near.invite(headers=SESSION if tags else other)
    far.invite(headers=other)
    assert near.story == ["origination", "origination"]


def test_a_new_call_in_the_same_session_is_a_call_of_its_own() -> None:
    """The first one was answered: what comes now is no leg of its set-up."""
    near, far = two_legs()
    near.invite(headers=SESSION)
    near.answer()
    far.invite(headers=SESSION)
    assert near.story == ["origination", "answer", "origination"]


def test_the_same_evidence_in_the_other_direction_is_another_call() -> None:
    model = CallModel(surveillance())
    out, back = Wire(model, call_id="out"), incoming(model, call_id="back")
    out.invite(headers=ICID)
    back.invite(headers=ICID)
    assert (out.story, back.story) == (["origination"], ["termAttempt"])


# Media and timing


@pytest.mark.parametrize("anchored", [False, True])
def test_the_same_media_from_another_host_at_once(anchored: bool) -> None:
    near, far = two_legs(host="10.0.2.2")
    offer = sdp(7, address="10.0.2.2", port=6000).replace("o=s 1 7 IN IP4 10.0.2.2", "o=s 1 7 IN IP4 10.0.0.5")
    connect(near, far, body=offer if anchored else sdp(origin="agent"))
    far.bye()
    near.bye()
    assert near.story == ["origination", RINGBACK, "answer", "release"]
    assert near.model.counters["legs_joined_media"] == 1


@pytest.mark.parametrize("change", ["host", "unknown host", "late", "caller", "media"])
def test_media_alone_are_no_evidence(change: str) -> None:
    host = {"host": "10.0.0.5", "unknown host": ""}.get(change, "10.0.2.2")
    near, far = two_legs(host=host, **({"caller": "sip:+12015550111@h"} if change == "caller" else {}))
    near.invite()
    far.now_ns = near.now_ns + (3_000_000_000 if change == "late" else 0)
    far.invite(body=sdp(origin="other", address="10.9.9.9", port=9000) if change == "media" else sdp(2))
    assert near.story == ["origination", "origination"]


# What the agent does further


def test_an_agent_that_forwards() -> None:
    """Its second leg goes to B: the call is one, and it is redirected."""
    near, far = two_legs(inwards=True)
    near.invite(headers=ICID)
    far.request("INVITE", to_tag=None, uri=B_URI, body=sdp(), headers=(*ICID, f"Diversion: <{S_URI}>;reason=no-answer"))
    far.ring()
    near.ring()
    far.answer()
    near.answer()
    far.bye()
    near.bye()
    assert near.story == ["termAttempt", "redirection", "answer", "release"]
    _, redirection, answer, _ = near.messages
    assert isinstance(redirection, cdc.Redirection) and isinstance(answer, cdc.Answer)
    assert redirection.redirected_from is not None and redirection.redirected_from.dn == S[1:]
    assert redirection.redirected_to is not None and redirection.redirected_to.dn == B[1:]
    assert answer.answering is not None and answer.answering.dn == B[1:]


def test_an_agent_that_tries_the_subject_then_forwards() -> None:
    near, far = two_legs(inwards=True)
    third = incoming(near.model, call_id="third", caller_tag="agent2", called_tag="b", events=near.events)
    near.invite(headers=SESSION)
    far.request("INVITE", to_tag=None, uri=S_CONTACT, body=sdp(), headers=SESSION)
    far.ring()
    near.ring()
    far.request("CANCEL", to_tag=None)
    far.response(487)
    third.request("INVITE", to_tag=None, uri=B_URI, body=sdp(), headers=SESSION)
    third.answer()
    near.answer()
    near.bye()
    assert near.story == ["termAttempt", ALERT, "redirection", "answer", "release"]


def test_a_leg_that_fails_is_the_agents_affair() -> None:
    near, far = two_legs()
    third = Wire(near.model, call_id="third", caller_tag="agent2", called_tag="b", events=near.events)
    near.invite(headers=SESSION)
    far.invite(headers=SESSION)
    far.response(503)
    third.invite(headers=SESSION)
    third.answer()
    near.answer()
    near.bye()
    assert near.story == ["origination", "answer", "release"]
    assert near.model.counters["legs_joined_session_id"] == 2


def test_an_agent_that_keeps_the_from_tag() -> None:
    near, far = two_legs()
    far.caller_tag = near.caller_tag
    connect(near, far, SESSION)
    near.bye()
    far.bye()
    assert near.story == ["origination", RINGBACK, "answer", "release"]


def test_a_hold_is_told_once_and_a_refresh_never() -> None:
    near, far = two_legs()
    connect(near, far, SESSION)
    for wire in (near, far):
        wire.offer(sdp(2, direction="sendonly"), sdp(2, direction="recvonly", origin="a"), cseq=10)
    for wire in (near, far):
        wire.offer(sdp(2, direction="sendonly"), sdp(2, direction="recvonly", origin="a"), cseq=11)
    assert near.story[3:] == ["subjectSignal hold", "connectionBreak"]


def test_a_transfer_that_the_agent_carries_out_itself() -> None:
    """S, called, sends its REFER on the leg that goes to it; the agent relays it, or does not."""
    for relayed in (False, True):
        near, far = two_legs(inwards=True)
        connect(near, far, SESSION)
        for wire in (far, near)[: 1 + relayed]:
            wire.request("REFER", from_caller=False, cseq=20, headers=(f"Refer-To: <{B_URI}>",))
            wire.response(202, method="REFER", from_caller=True, cseq=20)
        far.bye(from_caller=False)
        assert near.story[3:] == ["subjectSignal refer", "redirection", "release"]


@pytest.mark.parametrize("methods", [("UPDATE", "UPDATE"), ("INFO", "OPTIONS"), ("INVITE", "BYE")])
def test_two_legs_of_a_call_that_was_up_have_one_end(methods: tuple[str, str]) -> None:
    """The pair of UUIDs is the same on both, whoever sends; one UUID alone says nothing."""
    other = UUID[::-1]
    near, far = two_legs()
    near.request(methods[0], cseq=10, headers=(f"Session-ID: {UUID};remote={other}",))
    far.request(methods[1], cseq=10, from_caller=False, headers=(f"Session-ID: {other};remote={UUID}",))
    third = Wire(near.model, call_id="third", events=near.events)
    third.request("UPDATE", cseq=10, headers=(f"Session-ID: {UUID};remote={UUID[1:]}a",))
    near.bye()
    far.bye()
    counters = near.model.counters
    assert (counters["calls_joined"], counters["legs_joined_session_id"]) == (2, 1)
    assert near.story == ["release"]
    third.bye()
    assert near.story == ["release", "release"]


def test_legs_without_end_are_bounded() -> None:
    near, _ = two_legs()
    near.invite(headers=SESSION)
    for n in range(100):
        leg = Wire(near.model, call_id=f"leg{n}", caller_tag=f"agent{n}", events=near.events)
        leg.invite(headers=SESSION)
    counters = near.model.counters
    assert counters["legs_refused"] == near.story.count("origination") - 1 == 100 - counters["legs_joined_session_id"]
    assert all(len(call.names) <= MAX_ALIASES and len(call.echoes) <= MAX_ECHOES for call in near.model._calls.values())
    near.wait(100_000)
    near.wait(100_000)
    assert near.model.calls == 0
    correlator = near.model._calls.correlator
    assert not (correlator._marked or correlator._named or correlator._newest or near.model._calls._aliases)
    assert near.story.count("origination") == sum(line.startswith("release") for line in near.story)
