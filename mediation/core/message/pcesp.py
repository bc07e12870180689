"""PCESP version 4 (PacketCable electronic surveillance) `CdcPdu` as structs and tables: what may stand on that wire.

Answers for: tags, types and sizes of the fourteen messages that we send, in DER (PKT-SP-ESP: "MUST conform to the
Distinguished Encoding Rules"). Data only: how a message of core/message/cdc.py becomes one of these is
`pcesp_mapping`. Message numbers 12, 18, 19 and 20 mean other messages than in T1.678, so nothing is shared with that
table.

Four `reserved` members of type NULL are mandatory by the letter of the module: they are always put out.
"""

from __future__ import annotations

import enum
from typing import ClassVar

import msgspec

from mediation.core.message import ccc, cdc
from mediation.core.message.syntax import (
    Choice,
    Enumerated,
    Group,
    Integer,
    Member,
    Message,
    Null,
    Sequence,
    SequenceOf,
    Text,
    Time,
    Type,
    Visible,
)


class FlowDirection(enum.IntEnum):
    DOWNSTREAM = 1
    UPSTREAM = 2
    BOTH = 3


class ResourceState(enum.IntEnum):
    RESERVED = 1
    COMMITTED = 2


class CallId(cdc.Record, frozen=True, kw_only=True):
    sequencenumber: str
    systemidentity: str


class PartyId(cdc.Record, frozen=True, kw_only=True):
    """The members that the module has not reserved."""

    dn: str | None = None
    user_provided: str | None = None
    ip_address: str | None = None
    trunk_id: str | None = None
    generic_address: str | None = None
    generic_digits: str | None = None
    generic_name: str | None = None
    port: str | None = None
    context: str | None = None


class RedirectedFrom(cdc.Record, frozen=True, kw_only=True):
    last_redirecting: PartyId | None = None
    original_called: PartyId | None = None
    num_redirections: int | None = None


class ConferenceParty(cdc.Record, frozen=True, kw_only=True):
    party_id: tuple[PartyId, ...]


class Pdu(cdc.Record, frozen=True, kw_only=True):
    """The common prefix of every message: caseId, accessingElementId, eventTime."""

    name: ClassVar[str]

    case_id: str
    accessing_element_id: str
    event_time_ns: int


class Answer(Pdu, frozen=True, kw_only=True):
    name: ClassVar[str] = "answer"

    call_id: CallId
    answering: PartyId | None = None


class CCClose(Pdu, frozen=True, kw_only=True):
    name: ClassVar[str] = "ccclose"

    channel: ccc.Channel
    flow_direction: FlowDirection


class CCOpen(Pdu, frozen=True, kw_only=True):
    name: ClassVar[str] = "ccopen"

    call_ids: tuple[CallId, ...]
    channel: ccc.Channel
    subject: str | None = None
    associate: str | None = None
    flow_direction: FlowDirection


class Origination(Pdu, frozen=True, kw_only=True):
    name: ClassVar[str] = "origination"

    call_id: CallId
    calling: PartyId
    called: PartyId | None = None
    user_input: str | None = None  # exactly one of the two
    translation_input: str | None = None


class Redirection(Pdu, frozen=True, kw_only=True):
    name: ClassVar[str] = "redirection"

    old: CallId
    redirected_to: PartyId
    new: CallId | None = None
    redirected_from: PartyId | None = None


class Release(Pdu, frozen=True, kw_only=True):
    name: ClassVar[str] = "release"

    call_id: CallId


class TerminationAttempt(Pdu, frozen=True, kw_only=True):
    name: ClassVar[str] = "terminationattempt"

    call_id: CallId
    calling: PartyId | None = None
    called: PartyId | None = None
    redirected_from_info: RedirectedFrom | None = None


class CCChange(Pdu, frozen=True, kw_only=True):
    name: ClassVar[str] = "ccchange"

    call_id: CallId
    channel: ccc.Channel
    subject: str | None = None
    associate: str | None = None
    flow_direction: FlowDirection
    resource_state: ResourceState | None = None


class DialedDigitExtraction(Pdu, frozen=True, kw_only=True):
    name: ClassVar[str] = "dialeddigitextraction"

    call_id: CallId
    digits: str


class NetworkSignal(Pdu, frozen=True, kw_only=True):
    name: ClassVar[str] = "networksignal"

    call_id: CallId
    alerting_signal: cdc.AlertingSignal | None = None  # at least one of these four is set
    subject_audible_signal: cdc.AudibleSignal | None = None
    terminal_display_info: cdc.TerminalDisplay | None = None
    other: str | None = None
    signaled_to_party_id: PartyId


class SubjectSignal(Pdu, frozen=True, kw_only=True):
    name: ClassVar[str] = "subjectsignal"

    call_id: CallId | None = None
    switchhook_flash: str | None = None  # at least one of these four is set
    dialed_digits: str | None = None
    feature_key: str | None = None
    other_signaling_information: str | None = None
    signaled_from_party_id: PartyId


class MediaReport(Pdu, frozen=True, kw_only=True):
    name: ClassVar[str] = "mediareport"

    call_id: CallId
    subject: str | None = None
    associate: str | None = None


class ServiceInstance(Pdu, frozen=True, kw_only=True):
    name: ClassVar[str] = "serviceinstance"

    call_id: CallId
    related_call_id: CallId | None = None
    service_name: str
    first_call_calling: PartyId | None = None
    second_call_calling: PartyId | None = None
    called: PartyId | None = None
    calling: PartyId | None = None


class ConferencePartyChange(Pdu, frozen=True, kw_only=True):
    name: ClassVar[str] = "confpartychange"

    call_id: CallId
    communicating: tuple[ConferenceParty, ...] = ()
    removed: tuple[ConferenceParty, ...] = ()
    joined: tuple[ConferenceParty, ...] = ()


def M(name: str, tag: int, type: Type, attribute: str = "") -> Member:
    return Member(name, (tag,), type, attribute, mandatory=True)


def O(name: str, tag: int, type: Type, attribute: str) -> Member:  # noqa: E743 - the standard's own letter
    return Member(name, (tag,), type, attribute)


# Component types

CALL_ID = Sequence(
    CallId,
    (
        M("sequencenumber", 0, Visible(1, 25, exact=True), "sequencenumber"),
        M("systemidentity", 1, Visible(1, 15, exact=True), "systemidentity"),
    ),
)
PARTY_ID = Sequence(
    PartyId,
    (
        O("dn", 6, Visible(1, 15), "dn"),
        O("userProvided", 7, Visible(1, 15), "user_provided"),
        O("ipAddress", 10, Visible(1, 32), "ip_address"),
        O("trunkId", 12, Visible(1, 32), "trunk_id"),
        O("genericAddress", 14, Visible(1, 32), "generic_address"),
        O("genericDigits", 15, Visible(1, 32), "generic_digits"),
        O("genericName", 16, Visible(1, 48), "generic_name"),
        O("port", 17, Visible(1, 32), "port"),
        O("context", 18, Visible(1, 32), "context"),
    ),
)
REDIRECTED_FROM = Sequence(
    RedirectedFrom,
    (
        O("lastRedirecting", 0, PARTY_ID, "last_redirecting"),
        O("originalCalled", 1, PARTY_ID, "original_called"),
        O("numRedirections", 2, Integer(1, 100), "num_redirections"),
    ),
)
DISPLAY = Visible(1, 40)
TERMINAL_DISPLAY = Sequence(
    cdc.TerminalDisplay,
    (
        O("generalDisplay", 0, Visible(1, 80), "general_display"),
        O("calledNumber", 1, DISPLAY, "called_number"),
        O("callingNumber", 2, DISPLAY, "calling_number"),
        O("callingName", 3, DISPLAY, "calling_name"),
        O("originalCalledNumber", 4, DISPLAY, "original_called_number"),
        O("lastRedirectingNumber", 5, DISPLAY, "last_redirecting_number"),
        O("redirectingName", 6, DISPLAY, "redirecting_name"),
        O("redirectingReason", 7, DISPLAY, "redirecting_reason"),
        O("messageWaitingNotif", 8, DISPLAY, "message_waiting_notif"),
    ),
)
CCC = Visible(1, 20, exact=True)
CHANNEL = Sequence(  # CCCId, a CHOICE under an EXPLICIT tag
    ccc.Channel,
    (
        Member("cCCId", (), Choice((
            O("combCCC", 0, CCC, "combined"),
            O("sepCCCpair", 1, Group((
                M("sepXmitCCC", 0, CCC, "transmit"),
                M("sepRecvCCC", 1, CCC, "receive"),
            )), "transmit"),
        ), may_be_empty=False), mandatory=True),
    ),
)  # fmt: skip
SDP = Text()
FLOW = Enumerated(max(FlowDirection))
SIGNAL = Visible(1, 128)
CONFERENCE_PARTIES = SequenceOf(Sequence(ConferenceParty, (O("partyId", 0, SequenceOf(PARTY_ID), "party_id"),)))
CASE_ID = Visible(1, 25, exact=True)
ACCESSING_ELEMENT_ID = Visible(1, 15, exact=True)
PREFIX = (
    M("caseId", 0, CASE_ID, "case_id"),
    M("accessingElementId", 1, ACCESSING_ELEMENT_ID, "accessing_element_id"),
    M("eventTime", 2, Time(), "event_time_ns"),
)
CALL = (*PREFIX, M("callId", 3, CALL_ID, "call_id"))

# Messages

TABLE: tuple[tuple[type[Pdu], int, tuple[Member, ...]], ...] = (
    (Answer, 1, (*CALL, O("answering", 4, PARTY_ID, "answering"))),
    (CCClose, 2, (*PREFIX, M("cCCId", 3, CHANNEL, "channel"), M("flowDirection", 4, FLOW, "flow_direction"))),
    (CCOpen, 3, (
        *PREFIX,
        M("ccOpenTime", 3, SequenceOf(CALL_ID), "call_ids"),
        M("cCCId", 5, CHANNEL, "channel"),
        O("subject", 6, SDP, "subject"),
        O("associate", 7, SDP, "associate"),
        M("flowDirection", 8, FLOW, "flow_direction"),
    )),
    (Origination, 5, (
        *CALL,
        M("calling", 4, PARTY_ID, "calling"),
        O("called", 5, PARTY_ID, "called"),
        Member("input", (), Choice((
            O("userinput", 6, Visible(1, 32), "user_input"),
            O("translationinput", 7, Visible(1, 32), "translation_input"),
        ), may_be_empty=False), mandatory=True),
        M("reserved0", 8, Null()),
    )),
    (Redirection, 7, (
        *PREFIX,
        M("old", 3, CALL_ID, "old"),
        M("redirectedto", 4, PARTY_ID, "redirected_to"),
        M("reserved0", 6, Null()),
        M("reserved1", 7, Null()),
        O("new", 8, CALL_ID, "new"),
        O("redirectedfrom", 9, PARTY_ID, "redirected_from"),
    )),
    (Release, 8, CALL),
    (TerminationAttempt, 10, (
        *CALL,
        O("calling", 4, PARTY_ID, "calling"),
        O("called", 5, PARTY_ID, "called"),
        M("reserved0", 6, Null()),
        O("redirectedFromInfo", 7, REDIRECTED_FROM, "redirected_from_info"),
    )),
    (CCChange, 12, (
        *CALL,
        M("cCCId", 4, CHANNEL, "channel"),
        O("subject", 5, SDP, "subject"),
        O("associate", 6, SDP, "associate"),
        M("flowDirection", 7, FLOW, "flow_direction"),
        O("resourceState", 8, Enumerated(max(ResourceState)), "resource_state"),
    )),
    (DialedDigitExtraction, 15, (*CALL, M("digits", 4, Visible(1, 32, exact=True), "digits"))),
    (NetworkSignal, 16, (
        *CALL,
        O("alertingSignal", 4, Enumerated(max(cdc.AlertingSignal)), "alerting_signal"),
        O("subjectAudibleSignal", 5, Enumerated(max(cdc.AudibleSignal)), "subject_audible_signal"),
        O("terminalDisplayInfo", 6, TERMINAL_DISPLAY, "terminal_display_info"),
        O("other", 7, SIGNAL, "other"),
        M("signaledToPartyId", 8, PARTY_ID, "signaled_to_party_id"),
    )),
    (SubjectSignal, 17, (
        *PREFIX,
        O("callId", 3, CALL_ID, "call_id"),
        M("signal", 4, Group((
            O("switchhookFlash", 0, SIGNAL, "switchhook_flash"),
            O("dialedDigits", 1, SIGNAL, "dialed_digits"),
            O("featureKey", 2, SIGNAL, "feature_key"),
            O("otherSignalingInformation", 3, SIGNAL, "other_signaling_information"),
        ))),
        M("signaledFromPartyId", 5, PARTY_ID, "signaled_from_party_id"),
    )),
    (MediaReport, 18, (*CALL, O("subject", 4, SDP, "subject"), O("associate", 5, SDP, "associate"))),
    (ServiceInstance, 19, (
        *CALL,
        O("relatedCallId", 4, CALL_ID, "related_call_id"),
        M("serviceName", 5, SIGNAL, "service_name"),
        O("firstCallCalling", 6, PARTY_ID, "first_call_calling"),
        O("secondCallCalling", 7, PARTY_ID, "second_call_calling"),
        O("called", 8, PARTY_ID, "called"),
        O("calling", 9, PARTY_ID, "calling"),
    )),
    (ConferencePartyChange, 20, (
        *CALL,
        O("communicating", 4, CONFERENCE_PARTIES, "communicating"),
        O("removed", 5, CONFERENCE_PARTIES, "removed"),
        O("joined", 6, CONFERENCE_PARTIES, "joined"),
    )),
)  # fmt: skip
MESSAGES: dict[type[msgspec.Struct], Message] = {
    struct: Message(struct.name, tag, Sequence(struct, members)) for struct, tag, members in TABLE
}
"""Struct to its alternative of `Message`."""

VERSION = b"\x80\x01\x04"
"""protocolVersion [0] v4(4), the whole TLV."""
MESSAGE_TAG = 1
ENVELOPE = 0x30
"""CdcPdu ::= SEQUENCE { protocolVersion [0], message [1]× }."""
