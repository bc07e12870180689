"""What a reader must find in a message: names written by hand, apart from the encoder's tables."""

from __future__ import annotations

import datetime
import ipaddress
from typing import Any

import msgspec

from mediation.core.message import ccc, cdc

# Struct field -> the ASN.1 name a reader finds, T1.678v2. A tuple is a path; "=" marks the alternative of a CHOICE.
PREFIX = {"case_id": "caseId", "iap_system_id": "iAPSystemId", "timestamp_ns": "timestamp"}
SIP_HEADERS = ("protocolSpecificParameters", "=sip", "sipHeader")
CONTENT = PREFIX | {"call_id": ("contentIdentifier", "=callID"), "channel": "deliveryIdentifier"}
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
        "refer": ("refer", "=sip"),
    },
    cdc.DialedDigitExtraction: PREFIX | {"call_id": "callId", "digits": "digits", "sip_headers": SIP_HEADERS},
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
        "refer": ("signal", "refer", "=sip"),
    },
    cdc.Change: PREFIX | {"previous": ("previous", "call-identities"), "resulting": ("resulting", "call-identities")},
    cdc.ConfPartyChange: PREFIX
    | {
        "call_ids": "callId",
        "communicating_parties": "communicatingParties",
        "removed_parties": "removedParties",
        "joined_parties": "joinedParties",
    },
    cdc.AddressBinding: {"address": "address", "expiration_period": "expirationPeriod"},
    cdc.ServingSystem: PREFIX
    | {
        "system_identity": "systemIdentity",
        "network_address": "networkAddress",
        "request_id": "requestId",
        "registration_type": "registrationType",
        "registering": "registering",
        "requesting": "requesting",
        "registrar": "registrar",
        "request_address_info": ("requestAddressInfo", "=generic"),
        "response_address_info": ("responseAddressInfo", "=generic"),
        "failure_reason": "failureReason",
        "expiration_period": ("expirationPeriod", "=generic"),
    },
    cdc.ConnectionTest: PREFIX | {"memo": "memo"},
    cdc.SignalingMessage: {"protocol": "signalingProt", "octets": "sigMsg"},
    cdc.DirectSignalReporting: PREFIX | {"correlation_id": "correlationID", "signaling": "signalingMsg"},
    cdc.FeatureManagement: PREFIX
    | {
        "feature_id": "featureId",
        "management_type": "managementType",
        "subscriber_id": "subscriberId",
        "activation_info": "activationInfo",
        "failure_reason": "failureReason",
    },
    cdc.UuContent: PREFIX
    | {
        "call_id": "callId",
        "sip_headers": ("content", "=sip", "sipHeader"),
        "body_headers": ("content", "=sip", "sipBody", "sipBodyHeader"),
        "body": ("content", "=sip", "sipBody", "sipBodyContents"),
    },
    ccc.CCOpen: CONTENT
    | {"form": "ccDeliveryFormat", "subject_media": "subjectMedia", "associate_media": "associateMedia"},
    ccc.CCChange: CONTENT | {"subject_media": "subjectMedia", "associate_media": "associateMedia"},
    ccc.CCClose: CONTENT,
    ccc.CCUnavailable: PREFIX | {"call_id": "callId", "unavailability_reason": "unavailabilityReason"},
    cdc.SurveillanceStatus: {
        "case_id": "caseId",
        "iap_system_id": "reportingSystemId",
        "timestamp_ns": "timestamp",
        "status_event_type": "statusEventType",
        "current_status": "currentStatus",
    },
}
SETS = {
    *("uri", "sip_header", "sip", "sip_headers", "forked_calls", "associate_media", "refer"),
    *("body_headers", "signaling"),
}
"""Fields that are SET OF: a reader may find their elements in another order. MediaInformation alone is also a field."""

ENUMERATIONS: dict[type, tuple[Any, ...]] = {
    cdc.RegistrationType: ("unknown", "registration", "deregistration", "registrationAndDeregistration"),
    cdc.ManagementType: ("activation", "deactivation"),
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
    if isinstance(content, ccc.Form):
        return ("cc-APDU", "1.2.840.113737.2.1.0.1.1") if content is ccc.Form.CC_APDU else ("scte", "SCTE 24-13")
    if isinstance(content, ccc.Channel):
        pair = {"sepXmitCCC": content.transmit, "sepRecvCCC": content.receive}
        return ("cccId", ("combCCC", content.combined) if content.combined else ("sepCCCpair", pair))
    if isinstance(content, tuple):
        elements = [_leaf("", each) for each in content]
        return sorted(elements, key=repr) if attribute in SETS else elements
    return expected(content) if isinstance(content, msgspec.Struct) else content


def _place(tree: dict[str, Any], path: tuple[str, ...], leaf: Any) -> None:
    head, *rest = path
    for name in reversed(rest):
        leaf = (name[1:], leaf) if name.startswith("=") else {name: leaf}
    tree[head] = _merged(tree[head], leaf) if head in tree else leaf


def _merged(one: Any, other: Any) -> Any:
    if isinstance(one, tuple):
        return (one[0], _merged(one[1], other[1]))
    return {**one, **{key: _merged(one[key], each) if key in one else each for key, each in other.items()}}


def arranged(name: str, value: Any) -> Any:
    """A reader's tree with its SET OFs sorted like `expected`'s."""
    if isinstance(value, dict):
        return {key: arranged(key, each) for key, each in value.items()}
    if isinstance(value, tuple):
        alternative, content = value
        inner = name if name in ("cause", "refer") else alternative  # whose sip is a SET OF; that of others is a SET
        return (alternative, arranged(inner, content))
    if isinstance(value, list):
        elements = [arranged("", each) for each in value]
        sets = {"uri", "sipHeader", "cause", "forkedCalls", "associateMedia", "refer", "sipBodyHeader", "signalingMsg"}
        return sorted(elements, key=repr) if name in sets else elements
    return value
