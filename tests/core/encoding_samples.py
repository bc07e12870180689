"""Messages to encode, and what a reader must find in them: names written by hand, apart from the encoder's tables."""

from __future__ import annotations

import datetime
import ipaddress
from typing import Any

import msgspec

from mediation.core import cdc

STAMP_NS = 1_795_278_005_123_000_000
"""2026-11-21T16:20:05.123Z, the time of the golden vectors."""

# Struct field -> the ASN.1 name a reader finds, T1.678v2. A tuple is a path; "=" marks the alternative of a CHOICE.
PREFIX = {"case_id": "caseId", "iap_system_id": "iAPSystemId", "timestamp_ns": "timestamp"}
SIP_HEADERS = ("protocolSpecificParameters", "=sip", "sipHeader")
NAMES: dict[type[msgspec.Struct], dict[str, str | tuple[str, ...]]] = {
    cdc.CallIdentity: {"main": "main", "leg": "leg"},
    cdc.Party: {
        "dn": "dn",
        "user_provided": "userProvided",
        "ip_address": "ipAddress",
        "port": "port",
        "trunk_id": "trunkId",
        "generic_digits": "genericDigits",
        "generic_name": "genericName",
        "context": "context",
        "uri": "uri",
        "sip_header": "sipHeader",
    },
    cdc.Media: {"sdp": ("characteristics", "=sdp"), "status": "status"},
    cdc.Cause: {"signaling_type": "signalingType", "sip": ("cause", "=sip")},
    cdc.RedirectedFrom: {
        "last_redirecting": "lastRedirecting",
        "original_called": "originalCalled",
        "num_redirections": "numRedirections",
    },
    cdc.TerminalDisplay: {
        "general_display": "generalDisplay",
        "called_number": "calledNumber",
        "calling_number": "callingNumber",
        "calling_name": "callingName",
        "original_called_number": "originalCalledNumber",
        "last_redirecting_number": "lastRedirectingNumber",
        "redirecting_name": "redirectingName",
        "redirecting_reason": "redirectingReason",
        "message_waiting_notif": "messageWaitingNotif",
    },
    cdc.ForkedCall: {"forked_call_id": "forkedCallID", "called_party": "calledParty"},
    cdc.Answer: PREFIX | {"call_id": "callId", "answering": "answering", "answering_media": "answeringMedia"},
    cdc.Origination: PREFIX
    | {
        "call_id": "callId",
        "calling": "calling",
        "called": "called",
        "user_input": ("input", "=userInput", "=generic"),
        "translation_input": ("input", "=translationInput", "=generic"),
        "subject_media": "subjectMedia",
        "origination_cause": "originationCause",
        "sip_headers": SIP_HEADERS,
        "forked_calls": "forkedCalls",
    },
    cdc.TerminationAttempt: PREFIX
    | {
        "call_id": "callId",
        "calling": "calling",
        "called": "called",
        "associate_media": "associateMedia",
        "redirected_from_info": "redirectedFromInfo",
        "sip_headers": SIP_HEADERS,
    },
    cdc.Release: PREFIX | {"call_id": "callId", "cause": "cause", "contact_addresses": "contactAddresses"},
    cdc.Redirection: PREFIX
    | {
        "call_id": "callId",
        "new_call_id": "newCallId",
        "redirected_from": "redirectedFrom",
        "redirected_to": "redirectedTo",
        "subject_media": "subjectMedia",
        "associate_media": "associateMedia",
    },
    cdc.NetworkSignal: PREFIX
    | {
        "call_id": "callId",
        "signaled_to_party_id": "signaledToPartyId",
        "alerting_signal": "alertingSignal",
        "subject_audible_signal": "subjectAudibleSignal",
        "terminal_display_info": "terminalDisplayInfo",
        "other": "other",
    },
    cdc.DialedDigitExtraction: PREFIX | {"call_id": "callId", "digits": "digits"},
    cdc.Connection: PREFIX
    | {
        "call_ids": "callId",
        "connected_parties": "connectedParties",
        "new_parties": "newParties",
        "connected_media": "connectedMedia",
    },
    cdc.ConnectionBreak: PREFIX
    | {
        "call_ids": "callId",
        "removed_parties": "removedParties",
        "remaining_parties": "remainingParties",
        "dropped_parties": "droppedParties",
        "suspended_media": "suspendedMedia",
    },
    cdc.MediaAndAddressReporting: PREFIX
    | {
        "call_id": "callId",
        "subject_media": "subjectMedia",
        "associate_media": "associateMedia",
        "subject_contact_addresses": "subjectContactAddresses",
        "associate_contact_addresses": "associateContactAddresses",
    },
    cdc.SubjectSignal: PREFIX
    | {
        "call_id": "callId",
        "signaling_party_id": "signalingPartyId",
        "signaled_party_id": "signaledPartyId",
        "user_input": ("input", "=userInput", "=generic"),
        "switchhook_flash": ("signal", "switchhookFlash"),
        "dialed_digits": ("signal", "dialedDigits"),
        "feature_key": ("signal", "featureKey"),
        "other_signaling_information": ("signal", "otherSignalingInformation"),
    },
    cdc.SurveillanceStatus: {
        "case_id": "caseId",
        "iap_system_id": "reportingSystemId",
        "timestamp_ns": "timestamp",
        "status_event_type": "statusEventType",
        "current_status": "currentStatus",
    },
}
SETS = {"uri", "sip_header", "sip", "sip_headers", "forked_calls", "associate_media"}
"""Fields that are SET OF: a reader may find their elements in another order. MediaInformation alone is also a field."""

ENUMERATIONS: dict[type, tuple[str, ...]] = {
    cdc.MediaStatus: ("requested", "granted", "rejected", "relayed"),
    cdc.StatusEvent: ("activation", "deactivation", "change", "scheduledReport"),
    cdc.CurrentStatus: ("fullyActive", "partiallyActive", "inactive"),
    cdc.AlertingSignal: (
        *("notUsed", "alertingPattern0", "alertingPattern1", "alertingPattern2", "alertingPattern3"),
        *("alertingPattern4", "callWaitingPattern1", "callWaitingPattern2", "callWaitingPattern3"),
        *("callWaitingPattern4", "bargeInTone"),
    ),
    cdc.AudibleSignal: (
        *("notUsed", "dialTone", "recallDialTone", "ringbackTone", "reorderTone", "busyTone", "confirmationTone"),
        *("expensiveRouteTone", "messageWaitingTone", "receiverOffHookTone", "specialInfoTone", "denialTone"),
        *("interceptTone", "answerTone", "tonesOff"),
    ),
}


def expected(value: Any) -> Any:
    """The tree that a reader must find in `value`, SET OFs sorted by their text."""
    tree: dict[str, Any] = {}
    for attribute, path in NAMES[type(value)].items():
        content = getattr(value, attribute)
        if content is None or content == ():
            continue
        leaf = _leaf(attribute, content)
        names = (path,) if isinstance(path, str) else path
        _place(tree, names, leaf)
    if isinstance(value, cdc.SubjectSignal):
        tree.setdefault("signal", {})
    return tree


def _leaf(attribute: str, content: Any) -> Any:
    if attribute == "timestamp_ns":
        epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
        return epoch + datetime.timedelta(microseconds=content // 1000)
    if attribute == "ip_address":
        address = ipaddress.ip_address(content)
        return (f"ipV{address.version}", address.packed)
    if type(content) in ENUMERATIONS:
        return ENUMERATIONS[type(content)][content]
    if isinstance(content, tuple):
        elements = [_leaf("", each) for each in content]
        return sorted(elements, key=repr) if attribute in SETS else elements
    return expected(content) if isinstance(content, msgspec.Struct) else content


def _place(tree: dict[str, Any], path: tuple[str, ...], leaf: Any) -> None:
    head, *rest = path
    for name in reversed(rest):
        leaf = (name[1:], leaf) if name.startswith("=") else {name: leaf}
    if isinstance(leaf, dict) and isinstance(tree.get(head), dict):
        tree[head] |= leaf
    else:
        tree[head] = leaf


def arranged(name: str, value: Any) -> Any:
    """A reader's tree with its SET OFs sorted like `expected`'s."""
    if isinstance(value, dict):
        return {key: arranged(key, each) for key, each in value.items()}
    if isinstance(value, tuple):
        alternative, content = value
        inner = name if name == "cause" else alternative  # Release.cause.sip is a SET OF, the sip of others a SET
        return (alternative, arranged(inner, content))
    if isinstance(value, list):
        elements = [arranged("", each) for each in value]
        sets = {"uri", "sipHeader", "cause", "forkedCalls", "associateMedia"}
        return sorted(elements, key=repr) if name in sets else elements
    return value


# Full messages -------------------------------------------------------------------------------------------------------

CALL = cdc.CallIdentity(main="a84b4c76e66710@pc33.example.com", leg="1928301774.a6c85cf")
OTHER_CALL = cdc.CallIdentity(main="f81d4fae-7dec-11d0@192.0.2.4")
PARTY = cdc.Party(
    dn="12025550100",
    user_provided="5550100",
    ip_address="192.0.2.1",
    port="5060",
    trunk_id="trunk-7",
    generic_digits=("2025550100", "0100"),
    generic_name=("Zoë Sample", "Alice"),
    context="example.com;phone-context=+1",
    uri=("tel:+12025550100", "sip:+12025550100@example.com;user=phone", "sip:a@b"),
    sip_header=("P-Asserted-Identity: <tel:+12025550100>", "Contact: <sip:a@192.0.2.1>"),
)
IPV6_PARTY = cdc.Party(dn="2", ip_address="2001:db8::1", generic_name=("名前",))
SDP = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 49170 RTP/AVP 0 101\r\n"
MEDIA = cdc.Media(sdp=SDP, status=cdc.MediaStatus.REQUESTED)
OTHER_MEDIA = cdc.Media(sdp="v=0\r\n", status=cdc.MediaStatus.RELAYED)
_prefix = {"case_id": "CASE-0001", "iap_system_id": "SBC1", "timestamp_ns": STAMP_NS}

FULL: tuple[cdc.Message, ...] = (
    cdc.Origination(
        **_prefix,
        call_id=CALL,
        calling=PARTY,
        called=IPV6_PARTY,
        user_input="sip:+12025550199@example.com",
        subject_media=MEDIA,
        origination_cause="dialed",
        sip_headers=("Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1", "CSeq: 1 INVITE", "Max-Forwards: 70"),
        forked_calls=(
            cdc.ForkedCall(forked_call_id=CALL, called_party=PARTY),
            cdc.ForkedCall(forked_call_id=OTHER_CALL, called_party=IPV6_PARTY),
        ),
    ),
    cdc.Origination(**_prefix, call_id=CALL, translation_input="tel:+12025550199", origination_cause=""),
    cdc.TerminationAttempt(
        **_prefix,
        call_id=CALL,
        calling=PARTY,
        called=IPV6_PARTY,
        associate_media=MEDIA,
        redirected_from_info=cdc.RedirectedFrom(
            last_redirecting=PARTY, original_called=IPV6_PARTY, num_redirections=100
        ),
        sip_headers=("Diversion: <tel:+12025550111>;reason=no-answer", "History-Info: <sip:b@c>;index=1"),
    ),
    cdc.Answer(**_prefix, call_id=CALL, answering=PARTY, answering_media=MEDIA),
    cdc.Release(
        **_prefix,
        call_id=CALL,
        cause=cdc.Cause(signaling_type="SIP", sip=("Reason: Q.850;cause=17", "SIP/2.0 486 Busy Here")),
        contact_addresses=IPV6_PARTY,
    ),
    cdc.Redirection(
        **_prefix,
        call_id=CALL,
        new_call_id=OTHER_CALL,
        redirected_from=PARTY,
        redirected_to=IPV6_PARTY,
        subject_media=MEDIA,
        associate_media=OTHER_MEDIA,
    ),
    cdc.NetworkSignal(
        **_prefix,
        call_id=CALL,
        signaled_to_party_id=PARTY,
        alerting_signal=cdc.AlertingSignal.CALL_WAITING_PATTERN_1,
        subject_audible_signal=cdc.AudibleSignal.RINGBACK_TONE,
        terminal_display_info=cdc.TerminalDisplay(
            general_display="general",
            called_number="called",
            calling_number="calling",
            calling_name="name",
            original_called_number="original",
            last_redirecting_number="last",
            redirecting_name="redirecting",
            redirecting_reason="busy",
            message_waiting_notif="2 new",
        ),
        other="182 Queued",
    ),
    cdc.DialedDigitExtraction(**_prefix, call_id=CALL, digits="0123456789*#ABCD"),
    cdc.Connection(
        **_prefix,
        call_ids=(OTHER_CALL, CALL),
        connected_parties=(PARTY, IPV6_PARTY),
        new_parties=(IPV6_PARTY, cdc.Party()),
        connected_media=MEDIA,
    ),
    cdc.ConnectionBreak(
        **_prefix,
        call_ids=(CALL,),
        removed_parties=(PARTY,),
        remaining_parties=(IPV6_PARTY, PARTY),
        dropped_parties=(cdc.Party(dn="3"),),
        suspended_media=MEDIA,
    ),
    cdc.MediaAndAddressReporting(
        **_prefix,
        call_id=CALL,
        subject_media=MEDIA,
        associate_media=(OTHER_MEDIA, MEDIA, cdc.Media()),
        subject_contact_addresses=PARTY,
        associate_contact_addresses=IPV6_PARTY,
    ),
    cdc.SubjectSignal(
        **_prefix,
        call_id=CALL,
        signaling_party_id=PARTY,
        signaled_party_id=IPV6_PARTY,
        user_input="*72",
        switchhook_flash="flash",
        dialed_digits="*72",
        feature_key="hold",
        other_signaling_information="sendonly",
    ),
    cdc.SurveillanceStatus(
        **_prefix, status_event_type=cdc.StatusEvent.SCHEDULED_REPORT, current_status=cdc.CurrentStatus.INACTIVE
    ),
)
