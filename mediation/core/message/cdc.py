"""Call-identifying messages of the call data channel (CDC), as the call model makes them and the encoder takes them.

One frozen struct for each message of T1.678's `LaesMessage`, named as there in Python's spelling. A struct holds facts
only: which of them an order may be given is decided in `entitlement`, how they go out in `encoding`.

`timestamp_ns` is UTC, ns since 1970-01-01, when the packet that made the event arrived (47 CFR 1.20007(a)(14)).
"""

from __future__ import annotations

import enum
from typing import ClassVar

import msgspec


class AlertingSignal(enum.IntEnum):
    NOT_USED = 0
    ALERTING_PATTERN_0 = 1
    ALERTING_PATTERN_1 = 2
    ALERTING_PATTERN_2 = 3
    ALERTING_PATTERN_3 = 4
    ALERTING_PATTERN_4 = 5
    CALL_WAITING_PATTERN_1 = 6
    CALL_WAITING_PATTERN_2 = 7
    CALL_WAITING_PATTERN_3 = 8
    CALL_WAITING_PATTERN_4 = 9
    BARGE_IN_TONE = 10


class AudibleSignal(enum.IntEnum):
    NOT_USED = 0
    DIAL_TONE = 1
    RECALL_DIAL_TONE = 2
    RINGBACK_TONE = 3
    REORDER_TONE = 4
    BUSY_TONE = 5
    CONFIRMATION_TONE = 6
    EXPENSIVE_ROUTE_TONE = 7
    MESSAGE_WAITING_TONE = 8
    RECEIVER_OFF_HOOK_TONE = 9
    SPECIAL_INFO_TONE = 10
    DENIAL_TONE = 11
    INTERCEPT_TONE = 12
    ANSWER_TONE = 13
    TONES_OFF = 14


class MediaStatus(enum.IntEnum):
    REQUESTED = 0
    GRANTED = 1
    REJECTED = 2
    RELAYED = 3


class StatusEvent(enum.IntEnum):
    """SurveillanceStatus.statusEventType."""

    ACTIVATION = 0
    DEACTIVATION = 1
    CHANGE = 2
    SCHEDULED_REPORT = 3


class CurrentStatus(enum.IntEnum):
    FULLY_ACTIVE = 0
    PARTIALLY_ACTIVE = 1
    INACTIVE = 2


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all structs here: immutable, keywords only, compared by value."""


class CallIdentity(Record, frozen=True, kw_only=True):
    """T1.678 CallIdentity. `main` names the call; `leg` one dialog of it."""

    main: str
    leg: str | None = None


class Party(Record, frozen=True, kw_only=True):
    """T1.678 PartyIdentity: what the network knew of one party. All empty is the empty SEQUENCE."""

    dn: str | None = None
    user_provided: str | None = None
    ip_address: str | None = None  # text form, v4 or v6
    port: str | None = None
    trunk_id: str | None = None
    generic_digits: tuple[str, ...] = ()
    generic_name: tuple[str, ...] = ()
    context: str | None = None
    uri: tuple[str, ...] = ()
    sip_header: tuple[str, ...] = ()


class Media(Record, frozen=True, kw_only=True):
    """T1.678 MediaInformation, SIP form: the session description and what became of it."""

    sdp: str | None = None
    status: MediaStatus | None = None


class Cause(Record, frozen=True, kw_only=True):
    """Release.cause: `signaling_type` is "SIP"; `sip` the status line or Reason header values."""

    signaling_type: str = "SIP"
    sip: tuple[str, ...] = ()


class RedirectedFrom(Record, frozen=True, kw_only=True):
    last_redirecting: Party | None = None
    original_called: Party | None = None
    num_redirections: int | None = None


class TerminalDisplay(Record, frozen=True, kw_only=True):
    general_display: str | None = None
    called_number: str | None = None
    calling_number: str | None = None
    calling_name: str | None = None
    original_called_number: str | None = None
    last_redirecting_number: str | None = None
    redirecting_name: str | None = None
    redirecting_reason: str | None = None
    message_waiting_notif: str | None = None


class ForkedCall(Record, frozen=True, kw_only=True):
    """Origination.forkedCalls: a further early dialog of the same call, and who is called there."""

    forked_call_id: CallIdentity
    called_party: Party


class Message(Record, frozen=True, kw_only=True):
    """The common prefix of every message: caseId, iAPSystemId, timestamp."""

    name: ClassVar[str]  # the ASN.1 name, as `collect` and `replay` print it

    case_id: str
    iap_system_id: str | None  # OPTIONAL in T1.678
    timestamp_ns: int


class Origination(Message, frozen=True, kw_only=True):
    name: ClassVar[str] = "origination"

    call_id: CallIdentity
    calling: Party | None = None
    called: Party | None = None
    user_input: str | None = None  # exactly one of the two inputs is set
    translation_input: str | None = None
    subject_media: Media | None = None
    origination_cause: str = ""
    sip_headers: tuple[str, ...] = ()  # protocolSpecificParameters.sip.sipHeader
    forked_calls: tuple[ForkedCall, ...] = ()


class TerminationAttempt(Message, frozen=True, kw_only=True):
    name: ClassVar[str] = "termAttempt"

    call_id: CallIdentity
    calling: Party  # mandatory in T1.678; empty when the network knew nothing
    called: Party | None = None
    associate_media: Media | None = None
    redirected_from_info: RedirectedFrom | None = None
    sip_headers: tuple[str, ...] = ()


class Answer(Message, frozen=True, kw_only=True):
    name: ClassVar[str] = "answer"

    call_id: CallIdentity
    answering: Party | None = None
    answering_media: Media | None = None


class Release(Message, frozen=True, kw_only=True):
    name: ClassVar[str] = "release"

    call_id: CallIdentity
    cause: Cause | None = None
    contact_addresses: Party | None = None


class Redirection(Message, frozen=True, kw_only=True):
    name: ClassVar[str] = "redirection"

    call_id: CallIdentity
    new_call_id: CallIdentity | None = None
    redirected_from: Party | None = None
    redirected_to: Party | None = None
    subject_media: Media | None = None
    associate_media: Media | None = None


class NetworkSignal(Message, frozen=True, kw_only=True):
    name: ClassVar[str] = "networkSignal"

    call_id: CallIdentity | None = None
    signaled_to_party_id: Party | None = None
    alerting_signal: AlertingSignal | None = None
    subject_audible_signal: AudibleSignal | None = None
    terminal_display_info: TerminalDisplay | None = None
    other: str | None = None
    refer: tuple[str, ...] = ()  # header lines of a REFER that the network sent to the subject


class DialedDigitExtraction(Message, frozen=True, kw_only=True):
    """`sip_headers` labels the source by its media type, as in "Content-Type: audio/telephone-event"."""

    name: ClassVar[str] = "dialedDgtExtrn"

    call_id: CallIdentity
    digits: str  # 1 to 32 of 0-9 * # A-D
    sip_headers: tuple[str, ...] = ()


class Connection(Message, frozen=True, kw_only=True):
    name: ClassVar[str] = "connection"

    call_ids: tuple[CallIdentity, ...]
    connected_parties: tuple[Party, ...] = ()
    new_parties: tuple[Party, ...] = ()
    connected_media: Media | None = None
    media_of_subject: bool | None = None  # whose description that is; T1.678 cannot say it, PCESP's MediaReport must


class ConnectionBreak(Message, frozen=True, kw_only=True):
    name: ClassVar[str] = "connectionBreak"

    call_ids: tuple[CallIdentity, ...]
    removed_parties: tuple[Party, ...] = ()
    remaining_parties: tuple[Party, ...] = ()
    dropped_parties: tuple[Party, ...] = ()
    suspended_media: Media | None = None
    media_of_subject: bool | None = None  # as in Connection


class MediaAndAddressReporting(Message, frozen=True, kw_only=True):
    name: ClassVar[str] = "mediaAndAddressReporting"

    call_id: CallIdentity
    subject_media: Media | None = None
    associate_media: tuple[Media, ...] = ()
    subject_contact_addresses: Party | None = None
    associate_contact_addresses: Party | None = None


class SubjectSignal(Message, frozen=True, kw_only=True):
    """Subject-initiated signalling that the network acts on (1.20007(a)(12))."""

    name: ClassVar[str] = "subjectSignal"

    call_id: CallIdentity | None = None
    signaling_party_id: Party | None = None
    signaled_party_id: Party | None = None
    user_input: str = ""  # `input` is mandatory in the source module; empty is legal there
    switchhook_flash: str | None = None
    dialed_digits: str | None = None
    feature_key: str | None = None
    other_signaling_information: str | None = None
    refer: tuple[str, ...] = ()  # header lines of the subject's REFER (Refer-To, Referred-By, Replaces)


class Change(Message, frozen=True, kw_only=True):
    """Call identities merge or split: conference, transfer, Replaces, Join."""

    name: ClassVar[str] = "change"

    previous: tuple[CallIdentity, ...]
    resulting: tuple[CallIdentity, ...]


class ConfPartyChange(Message, frozen=True, kw_only=True):
    """Membership of a conference of the subject (1.20007(b)(2))."""

    name: ClassVar[str] = "confPartyChange"

    call_ids: tuple[CallIdentity, ...]
    communicating_parties: tuple[Party, ...] = ()
    removed_parties: tuple[Party, ...] = ()
    joined_parties: tuple[Party, ...] = ()


class RegistrationType(enum.IntEnum):
    UNKNOWN = 0
    REGISTRATION = 1
    DEREGISTRATION = 2
    REGISTRATION_AND_DEREGISTRATION = 3


class AddressBinding(Record, frozen=True, kw_only=True):
    """A contact of a registration and how long it holds, seconds."""

    address: Party
    expiration_period: int


class ServingSystem(Message, frozen=True, kw_only=True):
    """The subject registered, moved or left (REGISTER)."""

    name: ClassVar[str] = "servingSystem"

    system_identity: str | None = None  # 1 to 15 characters
    network_address: str | None = None  # 1 to 15 characters
    request_id: CallIdentity | None = None
    registration_type: RegistrationType | None = None
    registering: Party | None = None
    requesting: Party | None = None
    registrar: Party | None = None
    request_address_info: tuple[AddressBinding, ...] = ()
    response_address_info: tuple[AddressBinding, ...] = ()
    failure_reason: Cause | None = None
    expiration_period: int | None = None  # seconds


class ConnectionTest(Message, frozen=True, kw_only=True):
    name: ClassVar[str] = "connTest"

    memo: str | None = None


class SignalingMessage(Record, frozen=True, kw_only=True):
    """T1.678 EncapsulatedSignalingMessage. `octets` is what the authority leaves of it (`minimisation`)."""

    protocol: str = "SIP"
    octets: bytes


class DirectSignalReporting(Message, frozen=True, kw_only=True):
    """A signalling message of the subject that no other message tells of, as it was but for what the authority bars."""

    name: ClassVar[str] = "directSignalReporting"

    correlation_id: bytes  # octets of the Call-ID
    signaling: tuple[SignalingMessage, ...]


class ManagementType(enum.IntEnum):
    ACTIVATION = 0
    DEACTIVATION = 1


class FeatureManagement(Message, frozen=True, kw_only=True):
    name: ClassVar[str] = "featureManagement"

    feature_id: str
    management_type: ManagementType
    subscriber_id: Party | None = None
    activation_info: str | None = None
    failure_reason: str | None = None


class UuContent(Message, frozen=True, kw_only=True):
    """Words of a SIP MESSAGE, to content orders only: `body_headers` as "Content-Type: text/plain"."""

    name: ClassVar[str] = "uuContent"

    call_id: CallIdentity
    sip_headers: tuple[str, ...] = ()
    body_headers: tuple[str, ...] = ()
    body: bytes | None = None


class ServiceInstance(Message, frozen=True, kw_only=True):
    """A named service acted. PCESP has this message; T1.678 has none and sends nothing for it."""

    name: ClassVar[str] = "serviceinstance"

    call_id: CallIdentity
    service_name: str  # "Call_Waiting", "Call_Forwarding", "Call_Transfer", "Three_Way_Call", ...
    related_call_id: CallIdentity | None = None
    first_call_calling: Party | None = None
    second_call_calling: Party | None = None
    called: Party | None = None
    calling: Party | None = None


class SurveillanceStatus(Message, frozen=True, kw_only=True):
    """`iap_system_id` is encoded as reportingSystemId."""

    name: ClassVar[str] = "surveillanceStatus"

    status_event_type: StatusEvent
    current_status: CurrentStatus


class CallEvent(Record, frozen=True, kw_only=True):
    """A message on its way out, with the proof of its time stamp.

    `received_ns`: the IAP received the packet that made it (the 8 s of 1.20007(a)(14) begin); `error_ns`: the proven
    bound of that stamp's error; `disciplined`: whether the clock was.
    """

    message: Message
    received_ns: int
    error_ns: int
    disciplined: bool
