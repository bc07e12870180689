"""Service codes (scenarios 26 and 27), emergency calls (28), tones that the network plays (24)."""

from __future__ import annotations

import pytest

from mediation.core.call import CallModel
from mediation.core.calls.feature import code_of
from mediation.core.message import cdc
from tests.core.call_rig import Wire, incoming, sdp, surveillance

RINGBACK = "networkSignal RINGBACK_TONE"


def dial(uri: str, **more: object) -> Wire:
    wire = Wire(CallModel(surveillance(**more)), called=uri)
    wire.invite()
    return wire


@pytest.mark.parametrize("code", ["*69", "*66"])
def test_27_return_and_repeat_call(code: str) -> None:
    wire = dial(f"sip:{code}@carrier.example")
    wire.ring()
    wire.answer(headers=("P-Asserted-Identity: <tel:+12015550188>",))
    wire.bye()
    assert wire.story == [f"subjectSignal {code}", "origination", RINGBACK, "answer", "release"]
    answer = wire.messages[3]
    assert isinstance(answer, cdc.Answer) and answer.answering is not None and answer.answering.dn == "12015550188"


@pytest.mark.parametrize(("code", "service"), [("*69", "Return_Call"), ("*66", "Repeat_Call")])
def test_27_names_the_service_in_pcesp(code: str, service: str) -> None:
    wire = dial(f"sip:{code}@carrier.example", profile="pcesp")
    assert wire.story == [f"subjectSignal {code}", "serviceinstance", "origination"]
    named = wire.messages[1]
    assert isinstance(named, cdc.ServiceInstance) and named.service_name == service


@pytest.mark.parametrize(
    ("dialed", "feature", "management", "number"),
    [
        ("*7212015550177", "Call_Forwarding_Variable", cdc.ManagementType.ACTIVATION, "12015550177"),
        ("*73", "Call_Forwarding_Variable", cdc.ManagementType.DEACTIVATION, None),
        ("%2A78", "Do_Not_Disturb", cdc.ManagementType.ACTIVATION, None),
        ("*70", "Call_Waiting", cdc.ManagementType.DEACTIVATION, None),
    ],
)
def test_26_a_feature_is_no_call(dialed: str, feature: str, management: cdc.ManagementType, number: str | None) -> None:
    wire = dial(f"sip:{dialed}@carrier.example")
    wire.response(183, body=sdp(origin="announcement"))
    wire.answer()
    wire.bye()
    digits = dialed.replace("%2A", "*")
    assert wire.story == [f"subjectSignal {digits}", "featureManagement"]
    managed, signal = wire.messages[1], wire.messages[0]
    assert isinstance(managed, cdc.FeatureManagement) and isinstance(signal, cdc.SubjectSignal)
    assert (managed.feature_id, managed.management_type, managed.activation_info) == (feature, management, number)
    assert (managed.failure_reason, signal.call_id) == (None, None)
    assert managed.subscriber_id is not None and managed.subscriber_id.dn == "12015550123"


def test_a_feature_that_is_refused_says_why() -> None:
    wire = dial("sip:*72@carrier.example")
    wire.response(407)
    wire.cseq = 2
    wire.invite()
    wire.response(403, "Forbidden")
    assert wire.story == ["subjectSignal *72", "featureManagement"]
    managed = wire.messages[1]
    assert isinstance(managed, cdc.FeatureManagement) and managed.failure_reason == "SIP/2.0 403 Forbidden"


@pytest.mark.parametrize("end", ["bye", "cancel", "time"])
def test_a_feature_leaves_nothing_behind(end: str) -> None:
    wire = dial("sip:*57@carrier.example" if end == "bye" else "sip:*72@carrier.example")
    if end == "bye":
        wire.answer()
        wire.bye()
    elif end == "cancel":
        wire.request("CANCEL", to_tag=None)
    wire.wait(1000)
    wire.wait(1000)
    assert wire.model.calls == 0


def test_the_number_dialed_after_the_second_dial_tone() -> None:
    """*72, then the number to forward to as digits: they name the call, so it has an end."""
    wire = dial("sip:*72@carrier.example")
    wire.answer()
    wire.dial("5551#")
    wire.bye()
    assert wire.story == ["subjectSignal *72", "featureManagement", "dialedDgtExtrn 5551#", "release"]


@pytest.mark.parametrize("dialed", ["*6712015550199", "*8212015550199", "*7012015550199", "*2340"])
def test_a_code_in_front_of_a_number_is_a_call(dialed: str) -> None:
    wire = dial(f"sip:{dialed}@carrier.example")
    wire.ring()
    wire.answer()
    wire.bye()
    assert wire.story == [f"subjectSignal {dialed}", "origination", RINGBACK, "answer", "release"]


@pytest.mark.parametrize("uri", ["sip:12015550199@h", "sip:*7@h", "sip:*@h", "sip:a*72@h", "tel:*7x", "sip:%2", ""])
def test_what_is_no_code(uri: str) -> None:
    assert code_of(uri) is None


def test_a_code_in_a_call_to_the_subject_is_nobodys_signal() -> None:
    wire = incoming(CallModel(surveillance()), caller="sip:*72@carrier.example")
    wire.invite()
    assert wire.story == ["termAttempt"]


@pytest.mark.parametrize("number", ["911", "988"])
def test_28_emergency(number: str) -> None:
    wire = Wire(CallModel(surveillance()), called=f"sip:{number}@carrier.example")
    wire.connect()
    wire.bye()
    assert wire.story == ["origination", RINGBACK, "answer", "release"]
    (origination, *_) = wire.messages
    assert isinstance(origination, cdc.Origination) and origination.user_input == number


@pytest.mark.parametrize(
    ("info", "tone"),
    [
        ("<https://tones.carrier.example/dial-tone>", "DIAL_TONE"),
        ("<urn:alert:tone:stutter>;x=y", "RECALL_DIAL_TONE"),
        ("<file://congestion.wav>", "REORDER_TONE"),
    ],
)
def test_24_a_tone_that_the_network_names(info: str, tone: str) -> None:
    """A line that is switched to a dial tone: the network plays it as early media and says so."""
    wire = dial("sip:hotline@carrier.example")
    wire.response(183, headers=(f"Alert-Info: {info}",), body=sdp(origin="tones", address="10.0.7.7"))
    assert wire.story == ["origination", f"networkSignal {tone}", "mediaAndAddressReporting"]


def test_24_the_phones_own_dial_tone_is_not_reported() -> None:
    wire = dial("sip:+12015550199@carrier.example")
    wire.response(183, body=sdp(origin="tones", address="10.0.7.7"))
    wire.response(180, headers=("Alert-Info: <urn:alert:service:normal>",))
    wire.answer()
    assert wire.story == ["origination", "mediaAndAddressReporting", RINGBACK, "answer"]


def test_25_a_tone_in_an_alert_to_a_called_subject_is_its_ringing_pattern() -> None:
    wire = incoming(CallModel(surveillance()))
    wire.invite(headers=("Alert-Info: <http://127.0.0.1/bellcore-dr3>",))
    wire.ring()
    assert wire.story == ["termAttempt", "networkSignal ALERTING_PATTERN_2"]
