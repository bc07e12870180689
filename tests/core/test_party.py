"""Parties out of headers: the network's word, claims, withheld identities, displays, tones and ringing patterns."""

from __future__ import annotations

import pytest

from mediation.core.call import CallModel
from mediation.core.message import cdc
from mediation.core.message.cdc import AlertingSignal, AudibleSignal, Party
from mediation.core.network import signal
from mediation.core.network.sip import NameAddr
from tests.core.call_rig import A_URI, B_URI, S_URI, A, B, S, Wire, incoming, sdp, surveillance

HIDDEN = '"Anonymous" <sip:anonymous@anonymous.invalid>'


def attempt(from_: str = "", *headers: str, uri: str = "") -> tuple[cdc.TerminationAttempt, cdc.TerminalDisplay]:
    """What an incoming INVITE with these headers tells, and what the subject's phone is given to show."""
    wire = incoming(CallModel(surveillance()))
    wire.invite(from_=from_, headers=headers, uri=uri)
    wire.ring()
    first, second = wire.messages
    assert isinstance(first, cdc.TerminationAttempt) and isinstance(second, cdc.NetworkSignal)
    assert second.terminal_display_info is not None
    return first, second.terminal_display_info


def test_the_networks_word_is_the_number() -> None:
    told, display = attempt('"Mallory" <sip:+19995550100@evil.example>', f'P-Asserted-Identity: "Alice" <{A_URI}>')
    assert told.calling.dn == A[1:]
    assert told.calling.user_provided is None
    assert told.calling.generic_name == ("Alice",)
    assert told.calling.sip_header == ('From: "Mallory" <sip:+19995550100@evil.example>;tag=caller',)
    assert (display.calling_number, display.calling_name) == (A[1:], "Alice")


def test_a_claim_stays_a_claim() -> None:
    told, _ = attempt('"Mallory" <sip:+19995550100@evil.example>')
    assert told.calling.dn is None
    assert told.calling.user_provided == "19995550100"


def test_two_asserted_identities_are_one_party() -> None:
    told, _ = attempt("", f"P-Asserted-Identity: <sip:alice@carrier.example>, <tel:{A}>")
    assert told.calling.uri == ("sip:alice@carrier.example", f"tel:{A}")
    assert told.calling.dn == A[1:]


@pytest.mark.parametrize(
    "privacy", ["Privacy: id", "Privacy: header;id;critical", "privacy: USER", "X-Nothing: the From alone withholds"]
)
def test_withheld_and_asserted(privacy: str) -> None:
    told, display = attempt(HIDDEN, privacy, f'P-Asserted-Identity: "Alice" <{A_URI}>')
    assert told.calling.dn == A[1:]
    assert display.general_display == "private"
    assert (display.calling_number, display.calling_name) == (None, "Anonymous")


def test_withheld_without_the_networks_word_names_nobody() -> None:
    told, display = attempt(HIDDEN, "Privacy: id")
    assert told.calling == Party()
    assert display.general_display == "private"


def test_withheld_while_from_still_shows_it() -> None:
    told, display = attempt(f'"Alice" <{A_URI}>', "Privacy: id", f"P-Asserted-Identity: <{A_URI}>")
    assert told.calling.dn == A[1:]
    assert (display.general_display, display.calling_number, display.calling_name) == ("private", None, None)


def test_privacy_none_withholds_nothing() -> None:
    _, display = attempt(f'"Alice" <{A_URI}>', "Privacy: none")
    assert (display.general_display, display.calling_number, display.calling_name) == (None, A[1:], "Alice")


def test_the_older_remote_party_id() -> None:
    told, display = attempt("", f'Remote-Party-ID: "Alice" <{A_URI}>;privacy=full;party=calling')
    assert told.calling.dn == A[1:]
    assert display.general_display == "private"


def test_called_is_who_was_asked_for_not_the_contact() -> None:
    told, _ = attempt(uri="sip:x8@10.0.0.5")
    assert told.called is not None and told.called.dn == S[1:]
    told, _ = attempt("", "P-Called-Party-ID: <sip:+12015550123@ims.example>", uri="sip:x8@10.0.0.5")
    assert told.called is not None and told.called.uri == ("sip:+12015550123@ims.example",)


def test_evidence_goes_along_and_nothing_else_does() -> None:
    told, _ = attempt(
        "", "Subject: secret words", "Privacy: none", "P-Access-Network-Info: 3GPP-UTRAN; cell=1", "X-Y: z"
    )
    names = [line.partition(":")[0] for line in told.sip_headers]
    assert names == ["From", "To", "Privacy", "P-Access-Network-Info"]


def test_octets_that_are_not_utf8_go_through() -> None:
    wire = incoming(CallModel(surveillance()))
    wire.invite()
    octets = wire.sent[0].payload.replace(b"Call-ID: a84b", b"Call-ID: b84b")
    octets = octets.replace(f"<{A_URI}>".encode(), b'"Z\xfcrich" <sip:\xff@h>', 1)
    before = len(wire.events)
    wire.call_id = "b84b4c76e66710"
    wire.give(octets, from_caller=True)
    assert len(wire.events) == before + 1


# What the subject dials


def origination(uri: str, *, to: str = "") -> cdc.Origination:
    wire = Wire(CallModel(surveillance()), called=to or uri)
    wire.invite(uri=uri)
    message = wire.messages[-1]
    assert isinstance(message, cdc.Origination)
    return message


@pytest.mark.parametrize(
    ("uri", "dialed"),
    [
        (A_URI, A),
        ("sip:2015550199@carrier.example;user=phone", "2015550199"),
        ("sip:*99@carrier.example", "*99"),
        ("sip:911@carrier.example", "911"),
        ("tel:+1-201-555-0199", "+1-201-555-0199"),
        ("sip:+12015550199;npdi;rn=+12015551000@carrier.example", A),
        ("sip:bob@carrier.example", "sip:bob@carrier.example"),
    ],
)
def test_the_digits_as_dialed(uri: str, dialed: str) -> None:
    message = origination(uri)
    assert (message.user_input, message.translation_input) == (dialed, None)


def test_a_number_that_the_network_translated() -> None:
    message = origination("sip:+12015550166@carrier.example", to="sip:+18005550100@carrier.example")
    assert (message.user_input, message.translation_input) == (None, "+12015550166")


def test_the_subject_is_a_number_although_only_claimed() -> None:
    """The access point matched it: for this order it is more than a claim."""
    message = origination(A_URI)
    assert message.calling is not None and message.calling.dn == S[1:]
    assert message.called is not None and message.called.dn == A[1:]
    assert message.subject_media == cdc.Media(sdp=sdp(), status=cdc.MediaStatus.REQUESTED)


def test_a_subject_that_withholds_is_named_all_the_same() -> None:
    wire = Wire(CallModel(surveillance()))
    wire.invite(headers=("Privacy: id",))
    (message,) = wire.messages
    assert isinstance(message, cdc.Origination) and message.calling is not None
    assert message.calling.dn == S[1:]


def test_who_answered_by_the_networks_word() -> None:
    wire = Wire(CallModel(surveillance()))
    wire.invite()
    wire.answer(headers=(f"P-Asserted-Identity: <{B_URI}>",))
    wire.offer(sdp(2, direction="sendonly"), sdp(2, direction="recvonly", origin="a"))
    answer, broken = wire.messages[1], wire.messages[3]
    assert isinstance(answer, cdc.Answer) and answer.answering is not None and answer.answering.dn == B[1:]
    assert isinstance(broken, cdc.ConnectionBreak)
    assert [party.dn for party in broken.removed_parties] == [B[1:]]


def test_bye_gives_its_reasons() -> None:
    wire = Wire(CallModel(surveillance()))
    wire.connect()
    wire.bye(headers=("Reason: Q.850;cause=16", 'Reason: SIP;cause=200;text="Call completed"'))
    release = wire.messages[-1]
    assert isinstance(release, cdc.Release) and release.cause is not None
    assert release.cause == cdc.Cause(sip=("Reason: Q.850;cause=16", 'Reason: SIP;cause=200;text="Call completed"'))


# Tones and patterns


@pytest.mark.parametrize(
    ("status", "tone"),
    [
        (404, AudibleSignal.SPECIAL_INFO_TONE), (604, AudibleSignal.SPECIAL_INFO_TONE),
        (484, AudibleSignal.SPECIAL_INFO_TONE), (410, AudibleSignal.SPECIAL_INFO_TONE),
        (486, AudibleSignal.BUSY_TONE), (600, AudibleSignal.BUSY_TONE),
        (480, AudibleSignal.REORDER_TONE), (408, AudibleSignal.REORDER_TONE), (403, AudibleSignal.REORDER_TONE),
        (500, AudibleSignal.REORDER_TONE), (503, AudibleSignal.REORDER_TONE), (603, AudibleSignal.REORDER_TONE),
        (487, None), (401, None), (407, None), (422, None),
    ],
)  # fmt: skip
def test_the_tone_of_a_status(status: int, tone: AudibleSignal | None) -> None:
    assert signal.tone(status) is tone
    wire = Wire(CallModel(surveillance()))
    wire.invite()
    wire.response(status)
    wire.wait(5)
    tones = [m.subject_audible_signal for m in wire.messages if isinstance(m, cdc.NetworkSignal)]
    assert tones == ([tone] if tone else [])
    assert wire.story[-1] == f"release SIP/2.0 {status} " + {
        404: "Not Found",
        486: "Busy Here",
        487: "Request Terminated",
    }.get(status, "Status")


def test_every_final_status_has_a_tone_or_is_silent_on_purpose() -> None:
    for status in range(400, 700):
        assert (signal.tone(status) is None) == (status in signal.SILENT)


@pytest.mark.parametrize(
    ("where", "alert_info", "pattern"),
    [
        ("INVITE", "", AlertingSignal.ALERTING_PATTERN_0),
        ("INVITE", "<http://www.example.com/sounds/moo.wav>", AlertingSignal.ALERTING_PATTERN_0),
        ("INVITE", "<http://127.0.0.1/Bellcore-dr3>", AlertingSignal.ALERTING_PATTERN_2),
        ("INVITE", "<urn:alert:service:call-waiting>", AlertingSignal.CALL_WAITING_PATTERN_1),
        ("180", "<urn:alert:service:call-waiting>", AlertingSignal.CALL_WAITING_PATTERN_1),
    ],
)
def test_how_the_phone_rings(where: str, alert_info: str, pattern: AlertingSignal) -> None:
    wire = incoming(CallModel(surveillance()))
    headers = (f"Alert-Info: {alert_info}",) if alert_info else ()
    wire.invite(headers=headers if where == "INVITE" else ())
    wire.ring(headers=headers if where == "180" else ())
    alert = wire.messages[-1]
    assert isinstance(alert, cdc.NetworkSignal) and alert.alerting_signal is pattern
    assert alert.signaled_to_party_id is not None and alert.signaled_to_party_id.dn == S[1:]


@pytest.mark.parametrize(("status", "reason"), [(181, "Call Is Being Forwarded"), (182, "Queued")])
def test_what_a_calling_subject_is_told_besides_tones(status: int, reason: str) -> None:
    wire = Wire(CallModel(surveillance()))
    wire.invite()
    wire.response(status, reason)
    wire.response(status, reason)
    assert wire.story == ["origination", f"networkSignal {status} {reason}"]


@pytest.mark.parametrize(
    "uri", ["sip:anonymous@anonymous.invalid", "sip:Anonymous@carrier.example", "sip:x@anonymous.invalid:5060"]
)
def test_an_anonymous_from(uri: str) -> None:
    from mediation.core.network.party import anonymous

    assert anonymous(NameAddr(uri=uri))
    assert not anonymous(NameAddr(uri=S_URI))
