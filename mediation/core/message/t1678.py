"""T1.678v2 (ATIS-1000678.2006) `LaesMessage` as tables: field, tags, type, size, character set. Data only.

Each line reads like the standard's: `M` mandatory, `O` OPTIONAL; a path of tags where a CHOICE is tagged EXPLICIT.
Only the fields that core/message/cdc.py and core/message/ccc.py have are here; everything in the source module is
extensible, so what we leave out is legal. Another protocol (PCESP) has other numbers for the same messages and gets
its own table, never a changed copy.
"""

from __future__ import annotations

import msgspec

from mediation.core.message import ccc, cdc
from mediation.core.message.syntax import (
    MAX_IDENTITY_OCTETS,
    Address,
    Choice,
    Constants,
    Enumerated,
    Group,
    Integer,
    Member,
    Message,
    Octets,
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
MAX_EXPIRES = (1 << 32) - 1  # delta-seconds, RFC 3261 20.19
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
ADDRESS_BINDING = Sequence(
    cdc.AddressBinding,
    (
        M("address", (0,), PARTY, "address"),
        M("expirationPeriod", (1,), Integer(0, MAX_EXPIRES), "expiration_period"),
    ),
)
SIGNALING_MESSAGE = Sequence(
    cdc.SignalingMessage,
    (
        M("signalingProt", (0,), Text(), "protocol"),
        M("sigMsg", (1,), Octets(), "octets"),
    ),
)
CCC = Visible(1, 20, exact=True)
CHANNEL = Sequence(  # cccId [0]× of DeliveryIdentifier: a CHOICE under an EXPLICIT tag has a SEQUENCE's form
    ccc.Channel,
    (
        M("cccId", (), Choice((
            O("combCCC", (0,), CCC, "combined"),
            O("sepCCCpair", (1,), Group((
                M("sepXmitCCC", (0,), CCC, "transmit"),
                M("sepRecvCCC", (1,), CCC, "receive"),
            )), "transmit"),
        ), may_be_empty=False)),
    ),
)  # fmt: skip
FORM = Constants({
    ccc.Form.CC_APDU: bytes.fromhex("800b2a864886f8490201000101"),  # cc-APDU [0] 1.2.840.113737.2.1.0.1.1
    ccc.Form.PACKETCABLE: b"\x81\x0aSCTE 24-13",  # scte [1]
})  # fmt: skip
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
    O("protocolSpecificParameters", (5, 0, 0), TEXTS, "sip_headers"),
)
NETWORK_SIGNAL = (
    *PREFIX,
    O("callId", (3,), CALL_IDENTITY, "call_id"),
    O("signaledToPartyId", (4,), PARTY, "signaled_to_party_id"),
    O("alertingSignal", (8,), Enumerated(max(cdc.AlertingSignal)), "alerting_signal"),
    O("subjectAudibleSignal", (9,), Enumerated(max(cdc.AudibleSignal)), "subject_audible_signal"),
    O("terminalDisplayInfo", (10,), TERMINAL_DISPLAY, "terminal_display_info"),
    O("other", (11,), Text(), "other"),
    O("refer", (12, 0), TEXTS, "refer"),  # [12]× CHOICE, sip [0]
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
        O("refer", (4, 0), TEXTS, "refer"),
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
CHANGE = (
    *PREFIX,
    M("previous", (3, 0), CALL_IDENTITIES, "previous"),  # call-identities [0]
    M("resulting", (4, 0), CALL_IDENTITIES, "resulting"),
)
CONF_PARTY_CHANGE = (
    *PREFIX,
    M("callId", (3,), CALL_IDENTITIES, "call_ids"),
    O("communicatingParties", (4,), PARTIES, "communicating_parties"),
    O("removedParties", (5,), PARTIES, "removed_parties"),
    O("joinedParties", (6,), PARTIES, "joined_parties"),
)
SERVING_SYSTEM = (
    *PREFIX,
    O("systemIdentity", (3,), Visible(1, 15), "system_identity"),
    O("networkAddress", (4,), Visible(1, 15), "network_address"),
    O("requestId", (5,), CALL_IDENTITY, "request_id"),
    O("registrationType", (6,), Enumerated(max(cdc.RegistrationType)), "registration_type"),
    O("registering", (7,), PARTY, "registering"),
    O("requesting", (8,), PARTY, "requesting"),
    O("registrar", (9,), PARTY, "registrar"),
    O("requestAddressInfo", (10, 0), SequenceOf(ADDRESS_BINDING), "request_address_info"),  # [10]×, generic [0]
    O("responseAddressInfo", (11, 0), SequenceOf(ADDRESS_BINDING), "response_address_info"),
    O("failureReason", (12,), CAUSE, "failure_reason"),
    O("expirationPeriod", (13, 0), Integer(0, MAX_EXPIRES), "expiration_period"),  # [13]×, generic [0]
)
CONNECTION_TEST = (
    O("caseId", (0,), CASE_IDENTITY, "case_id"),
    O("iAPSystemId", (1,), SYSTEM_IDENTITY, "iap_system_id"),
    M("timestamp", (2,), Time(), "timestamp_ns"),
    O("memo", (3,), Visible(1, 255), "memo"),
)
DIRECT_SIGNAL_REPORTING = (
    *PREFIX,
    M("correlationID", (3,), Octets(), "correlation_id"),
    M("signalingMsg", (5,), SetOf(SIGNALING_MESSAGE), "signaling"),
)
FEATURE_MANAGEMENT = (
    *PREFIX,
    O("subscriberId", (3,), PARTY, "subscriber_id"),
    M("featureId", (4,), Text(), "feature_id"),
    M("managementType", (5,), Enumerated(max(cdc.ManagementType)), "management_type"),
    O("activationInfo", (6,), Text(), "activation_info"),
    O("failureReason", (7,), Text(), "failure_reason"),
)
UU_CONTENT = (
    *PREFIX,
    M("callId", (3,), CALL_IDENTITY, "call_id"),
    O("content", (4, 0), Group((  # [4]× ProtocolSpecificParameters, sip [0] SET
        O("sipHeader", (0,), TEXTS, "sip_headers"),
        O("sipBody", (1,), Group((
            M("sipBodyHeader", (0,), TEXTS, "body_headers"),
            M("sipBodyContents", (1,), Octets(), "body"),
        )), "body"),
    )), ""),
)  # fmt: skip

# Of call content. contentIdentifier [3]× CHOICE, callID [1]; deliveryIdentifier [4]× CHOICE, cccId [0]×

CONTENT_AND_CHANNEL = (
    M("contentIdentifier", (3, 1), CALL_IDENTITY, "call_id"),
    M("deliveryIdentifier", (4, 0), CHANNEL, "channel"),
)
CC_OPEN = (
    *PREFIX,
    *CONTENT_AND_CHANNEL,
    M("ccDeliveryFormat", (5,), FORM, "form"),
    O("subjectMedia", (6,), MEDIA, "subject_media"),
    O("associateMedia", (7,), MEDIA, "associate_media"),
)
CC_CLOSE = (*PREFIX, *CONTENT_AND_CHANNEL)
CC_CHANGE = (
    *PREFIX,
    *CONTENT_AND_CHANNEL,
    O("subjectMedia", (5,), MEDIA, "subject_media"),
    O("associateMedia", (6,), MEDIA, "associate_media"),
)
CC_UNAVAILABLE = (
    *PREFIX,
    M("callId", (3,), CALL_IDENTITY, "call_id"),
    O("unavailabilityReason", (4,), Visible(), "unavailability_reason"),
)
SURVEILLANCE_STATUS = (
    M("caseId", (0,), CASE_IDENTITY, "case_id"),
    O("reportingSystemId", (1,), SYSTEM_IDENTITY, "iap_system_id"),  # in place of iAPSystemId
    M("timestamp", (2,), Time(), "timestamp_ns"),
    M("statusEventType", (3,), Enumerated(max(cdc.StatusEvent)), "status_event_type"),
    M("currentStatus", (4,), Enumerated(max(cdc.CurrentStatus)), "current_status"),
)

MESSAGES: dict[type[msgspec.Struct], Message] = {
    struct: Message(struct.name, tag, Sequence(struct, members))
    for struct, tag, members in (
        (cdc.Answer, 1, ANSWER),
        (ccc.CCClose, 2, CC_CLOSE),
        (ccc.CCOpen, 3, CC_OPEN),
        (cdc.Change, 4, CHANGE),
        (cdc.Origination, 5, ORIGINATION),
        (cdc.Redirection, 7, REDIRECTION),
        (cdc.Release, 8, RELEASE),
        (cdc.ServingSystem, 9, SERVING_SYSTEM),
        (cdc.TerminationAttempt, 10, TERMINATION_ATTEMPT),
        (cdc.ConnectionTest, 11, CONNECTION_TEST),
        (cdc.ConfPartyChange, 12, CONF_PARTY_CHANGE),
        (cdc.Connection, 13, CONNECTION),
        (cdc.ConnectionBreak, 14, CONNECTION_BREAK),
        (cdc.DialedDigitExtraction, 15, DIALED_DIGIT_EXTRACTION),
        (cdc.NetworkSignal, 16, NETWORK_SIGNAL),
        (cdc.SubjectSignal, 17, SUBJECT_SIGNAL),
        (cdc.DirectSignalReporting, 18, DIRECT_SIGNAL_REPORTING),
        (cdc.MediaAndAddressReporting, 19, MEDIA_AND_ADDRESS_REPORTING),
        (ccc.CCChange, 20, CC_CHANGE),
        (ccc.CCUnavailable, 21, CC_UNAVAILABLE),
        (cdc.SurveillanceStatus, 22, SURVEILLANCE_STATUS),
        (cdc.FeatureManagement, 23, FEATURE_MANAGEMENT),
        (cdc.UuContent, 24, UU_CONTENT),
    )
}
"""Struct to its alternative of `LaesMessage`."""

DEFAULT_OID = "1.2.840.113737.2.1.0.0.0.1"
"""protocolIdentifier of v2's call-identifying information; its last arc is a version, so a site can configure it."""

PROTOCOL_IDENTIFIER_TAG = 0
MESSAGE_TAG = 1
ENVELOPE = 0xA0  # enhancedProtocol [0]
"""LAESProtocol ::= CHOICE { enhancedProtocol [0] { protocolIdentifier [0] OID, laesMessage [1]× },
laesMessage [1]× }."""
