"""T1.678v2 (ATIS-1000678.2006) `LaesMessage` as tables: field, tags, type, size, character set. Data only.

Each line reads like the standard's: `M` mandatory, `O` OPTIONAL; a path of tags where a CHOICE is tagged EXPLICIT.
Only the fields that core/cdc.py has are here; everything in the source module is extensible, so what we leave out is
legal. Another protocol (PCESP) has other numbers for the same messages and gets its own table, never a changed copy.
"""

from __future__ import annotations

from mediation.core import cdc
from mediation.core.syntax import (
    MAX_IDENTITY_OCTETS,
    Address,
    Choice,
    Enumerated,
    Group,
    Integer,
    Member,
    Message,
    Sequence,
    SequenceOf,
    SetOf,
    Text,
    Time,
    Type,
    Visible,
)


def M(name: str, tags: tuple[int, ...], type: Type, attribute: str = "") -> Member:
    return Member(name, tags, type, attribute, mandatory=True)


def O(name: str, tags: tuple[int, ...], type: Type, attribute: str) -> Member:  # noqa: E743 - the standard's own letter
    return Member(name, tags, type, attribute)


# Component types

TEXTS = SetOf(Text())
PHRASE = Visible(1, 128)  # one kind of SubjectSignal.signal
DISPLAY = Visible(1, 40)  # one number or name on a terminal's display

CALL_IDENTITY = Sequence(
    cdc.CallIdentity,
    (
        M("main", (0,), Text(MAX_IDENTITY_OCTETS, identity=True), "main"),
        O("leg", (1,), Text(MAX_IDENTITY_OCTETS, identity=True), "leg"),
    ),
)
PARTY = Sequence(
    cdc.Party,
    (
        O("dn", (6,), Visible(1, 15), "dn"),
        O("userProvided", (7,), Visible(1, 15), "user_provided"),
        O("ipAddress", (10,), Address(), "ip_address"),
        O("trunkId", (12,), Visible(1, 32), "trunk_id"),
        O("genericDigits", (15,), SequenceOf(Visible(1, 32)), "generic_digits"),
        O("genericName", (16,), SequenceOf(Text()), "generic_name"),
        O("port", (17,), Visible(1, 32), "port"),
        O("context", (18,), Visible(1, 64), "context"),
        O("uri", (21,), TEXTS, "uri"),
        O("sipHeader", (22,), TEXTS, "sip_header"),
    ),
)
MEDIA = Sequence(
    cdc.Media,
    (
        O("characteristics", (1, 0), Text(), "sdp"),  # [1]× CHOICE, sdp [0]
        O("status", (2,), Enumerated(max(cdc.MediaStatus)), "status"),
    ),
)
CAUSE = Sequence(
    cdc.Cause,
    (
        M("signalingType", (0,), Text(), "signaling_type"),
        O("cause", (1, 1), TEXTS, "sip"),  # [1]× ParameterFormat, sip [1]
    ),
)
REDIRECTED_FROM = Sequence(
    cdc.RedirectedFrom,
    (
        O("lastRedirecting", (0,), PARTY, "last_redirecting"),
        O("originalCalled", (1,), PARTY, "original_called"),
        O("numRedirections", (2,), Integer(1, 100), "num_redirections"),
    ),
)
TERMINAL_DISPLAY = Sequence(
    cdc.TerminalDisplay,
    (
        O("generalDisplay", (0,), Visible(1, 80), "general_display"),
        O("calledNumber", (1,), DISPLAY, "called_number"),
        O("callingNumber", (2,), DISPLAY, "calling_number"),
        O("callingName", (3,), DISPLAY, "calling_name"),
        O("originalCalledNumber", (4,), DISPLAY, "original_called_number"),
        O("lastRedirectingNumber", (5,), DISPLAY, "last_redirecting_number"),
        O("redirectingName", (6,), DISPLAY, "redirecting_name"),
        O("redirectingReason", (7,), DISPLAY, "redirecting_reason"),
        O("messageWaitingNotif", (8,), DISPLAY, "message_waiting_notif"),
    ),
)
FORKED_CALL = Sequence(
    cdc.ForkedCall,
    (
        M("forkedCallID", (0,), CALL_IDENTITY, "forked_call_id"),
        M("calledParty", (1,), PARTY, "called_party"),
    ),
)
CALL_IDENTITIES = SequenceOf(CALL_IDENTITY)
PARTIES = SequenceOf(PARTY)

CASE_IDENTITY = Visible(1, 25, exact=True)
SYSTEM_IDENTITY = Visible(1, 15, exact=True)
DIGITS = Visible(1, 32, exact=True)  # the call model makes them, and cuts longer strings into several messages

PREFIX = (
    M("caseId", (0,), CASE_IDENTITY, "case_id"),
    O("iAPSystemId", (1,), SYSTEM_IDENTITY, "iap_system_id"),
    M("timestamp", (2,), Time(), "timestamp_ns"),
)

# Messages

ANSWER = (
    *PREFIX,
    M("callId", (3,), CALL_IDENTITY, "call_id"),
    O("answering", (4,), PARTY, "answering"),
    O("answeringMedia", (6,), MEDIA, "answering_media"),
)
ORIGINATION = (
    *PREFIX,
    M("callId", (3,), CALL_IDENTITY, "call_id"),
    O("calling", (4,), PARTY, "calling"),
    O("called", (5,), PARTY, "called"),
    M("input", (), Choice((
        O("userInput", (6, 0), Visible(uri=True), "user_input"),  # [6]× CHOICE, generic [0]
        O("translationInput", (7, 0), Visible(uri=True), "translation_input"),
    ))),
    O("subjectMedia", (10,), MEDIA, "subject_media"),
    M("originationCause", (11,), Visible(), "origination_cause"),
    O("protocolSpecificParameters", (12, 0, 0), TEXTS, "sip_headers"),  # [12]× CHOICE, sip [0] SET, sipHeader [0]
    O("forkedCalls", (14,), SetOf(FORKED_CALL), "forked_calls"),
)  # fmt: skip
REDIRECTION = (
    *PREFIX,
    M("callId", (3,), CALL_IDENTITY, "call_id"),
    O("newCallId", (4,), CALL_IDENTITY, "new_call_id"),
    O("redirectedFrom", (5,), PARTY, "redirected_from"),
    O("redirectedTo", (6,), PARTY, "redirected_to"),
    O("subjectMedia", (8,), MEDIA, "subject_media"),
    O("associateMedia", (9,), MEDIA, "associate_media"),
)
RELEASE = (
    *PREFIX,
    M("callId", (3,), CALL_IDENTITY, "call_id"),
    O("cause", (5,), CAUSE, "cause"),
    O("contactAddresses", (6,), PARTY, "contact_addresses"),
)
TERMINATION_ATTEMPT = (
    *PREFIX,
    M("callId", (3,), CALL_IDENTITY, "call_id"),
    M("calling", (4,), PARTY, "calling"),
    O("called", (5,), PARTY, "called"),
    O("associateMedia", (7,), MEDIA, "associate_media"),
    O("redirectedFromInfo", (8,), REDIRECTED_FROM, "redirected_from_info"),
    O("protocolSpecificParameters", (9, 0, 0), TEXTS, "sip_headers"),
)
CONNECTION = (
    *PREFIX,
    M("callId", (3,), CALL_IDENTITIES, "call_ids"),
    O("connectedParties", (4,), PARTIES, "connected_parties"),
    O("newParties", (5,), PARTIES, "new_parties"),
    O("connectedMedia", (6,), MEDIA, "connected_media"),
)
CONNECTION_BREAK = (
    *PREFIX,
    M("callId", (3,), CALL_IDENTITIES, "call_ids"),
    O("removedParties", (4,), PARTIES, "removed_parties"),
    O("remainingParties", (5,), PARTIES, "remaining_parties"),
    O("droppedParties", (6,), PARTIES, "dropped_parties"),
    O("suspendedMedia", (7,), MEDIA, "suspended_media"),
)
DIALED_DIGIT_EXTRACTION = (
    *PREFIX,
    M("callId", (3,), CALL_IDENTITY, "call_id"),
    M("digits", (4,), DIGITS, "digits"),
)
NETWORK_SIGNAL = (
    *PREFIX,
    O("callId", (3,), CALL_IDENTITY, "call_id"),
    O("signaledToPartyId", (4,), PARTY, "signaled_to_party_id"),
    O("alertingSignal", (8,), Enumerated(max(cdc.AlertingSignal)), "alerting_signal"),
    O("subjectAudibleSignal", (9,), Enumerated(max(cdc.AudibleSignal)), "subject_audible_signal"),
    O("terminalDisplayInfo", (10,), TERMINAL_DISPLAY, "terminal_display_info"),
    O("other", (11,), Text(), "other"),
)
SUBJECT_SIGNAL = (
    *PREFIX,
    O("callId", (3,), CALL_IDENTITY, "call_id"),
    O("signalingPartyId", (4,), PARTY, "signaling_party_id"),
    O("signaledPartyId", (5,), PARTY, "signaled_party_id"),
    M("userInput", (6, 0), Visible(uri=True), "user_input"),
    M("signal", (9,), Group((
        O("switchhookFlash", (0,), PHRASE, "switchhook_flash"),
        O("dialedDigits", (1,), PHRASE, "dialed_digits"),
        O("featureKey", (2,), PHRASE, "feature_key"),
        O("otherSignalingInformation", (3,), PHRASE, "other_signaling_information"),
    ))),
)  # fmt: skip
MEDIA_AND_ADDRESS_REPORTING = (
    *PREFIX,
    M("callId", (3,), CALL_IDENTITY, "call_id"),
    O("subjectMedia", (4,), MEDIA, "subject_media"),
    O("associateMedia", (5,), SetOf(MEDIA), "associate_media"),
    O("subjectContactAddresses", (7,), PARTY, "subject_contact_addresses"),
    O("associateContactAddresses", (8,), PARTY, "associate_contact_addresses"),
)
SURVEILLANCE_STATUS = (
    M("caseId", (0,), CASE_IDENTITY, "case_id"),
    O("reportingSystemId", (1,), SYSTEM_IDENTITY, "iap_system_id"),  # in place of iAPSystemId
    M("timestamp", (2,), Time(), "timestamp_ns"),
    M("statusEventType", (3,), Enumerated(max(cdc.StatusEvent)), "status_event_type"),
    M("currentStatus", (4,), Enumerated(max(cdc.CurrentStatus)), "current_status"),
)

MESSAGES: dict[type[cdc.Message], Message] = {
    struct: Message(struct.name, tag, Sequence(struct, members))
    for struct, tag, members in (
        (cdc.Answer, 1, ANSWER),
        (cdc.Origination, 5, ORIGINATION),
        (cdc.Redirection, 7, REDIRECTION),
        (cdc.Release, 8, RELEASE),
        (cdc.TerminationAttempt, 10, TERMINATION_ATTEMPT),
        (cdc.Connection, 13, CONNECTION),
        (cdc.ConnectionBreak, 14, CONNECTION_BREAK),
        (cdc.DialedDigitExtraction, 15, DIALED_DIGIT_EXTRACTION),
        (cdc.NetworkSignal, 16, NETWORK_SIGNAL),
        (cdc.SubjectSignal, 17, SUBJECT_SIGNAL),
        (cdc.MediaAndAddressReporting, 19, MEDIA_AND_ADDRESS_REPORTING),
        (cdc.SurveillanceStatus, 22, SURVEILLANCE_STATUS),
    )
}
"""Struct to its alternative of `LaesMessage`."""

DEFAULT_OID = "1.2.840.113737.2.1.0.0.0.1"
"""protocolIdentifier of v2's call-identifying information; its last arc is a version, so a site can configure it."""

PROTOCOL_IDENTIFIER_TAG = 0
MESSAGE_TAG = 1
ENHANCED_TAG = 0
"""LAESProtocol ::= CHOICE { enhancedProtocol [0] { protocolIdentifier [0] OID, laesMessage [1]× },
laesMessage [1]× }."""
