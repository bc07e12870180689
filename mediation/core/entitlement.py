"""What an order may be given: one table, authority × message × field.

Answers for 47 USC 1002(a)(4)(A), 18 USC 3121(c) and 47 USC 1002(a)(2)(B): nothing that the authority does not cover is
encoded, stored or sent. A pen register or a trap and trace gets no message about content channels, no session
description, no location and no text; digits dialed after cut-through go only to an order that names them. It decides
nothing about whose call it is: that was the match. `minimisation` takes away what the table does not give.

The table has two halves, so that it can be read: FIELDS says of what kind each field of each message is (WHOLE, of what
kind a message is as such), VERDICTS says for each authority which kinds it is given. `table()` multiplies them out; the
tests walk every field of `cdc` and `ccc`. What is not listed is not given.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from typing import Final, NamedTuple
from urllib.parse import unquote

from mediation.core.case import Authority, Capability
from mediation.core.message import ccc, cdc
from mediation.core.network.sip import long_name, uri_headers


class Kind(enum.Enum):
    """What a field tells."""

    CALL = "call-identifying"  # origin, direction, destination, termination (47 USC 1001(2)), and the prefix
    CONTENT = "call content channels"  # that content is delivered, where, or why it is not
    SESSION = "session description"  # the body of the signalling: addresses, codecs and keys of the media
    HEADERS = "header lines"  # judged line by line, by HEADER_LINES
    SIGNALING = "a signalling message"  # its header lines by HEADER_LINES, its body by BODIES
    URI = "a URI"  # call-identifying, but for the headers and body that it may carry, which are TEXT
    LOCATION = "location"
    TEXT = "text"  # words of a person
    DIGITS = "digits after cut-through"
    PARTS = "parts"  # a struct, or a tuple of them, whose own fields are judged


# Verdicts: yes, no, or only with this capability in the order.
_DIALED: Final[dict[Kind, bool | Capability]] = {
    Kind.CALL: True,
    Kind.CONTENT: False,
    Kind.SESSION: False,
    Kind.LOCATION: False,
    Kind.TEXT: False,
    Kind.DIGITS: Capability.DIGITS,
}
VERDICTS: Final[dict[Authority, dict[Kind, bool | Capability]]] = {
    Authority.PEN_REGISTER: _DIALED,
    Authority.TRAP_AND_TRACE: _DIALED,
    Authority.TITLE_III: {
        Kind.CALL: True,
        Kind.CONTENT: Capability.CONTENT,
        Kind.SESSION: True,
        Kind.LOCATION: Capability.LOCATION,
        Kind.TEXT: Capability.CONTENT,
        Kind.DIGITS: Capability.DIGITS,
    },
    # Under FISA for content (50 USC 1805) or a pen register (50 USC 1842): the capabilities say which.
    Authority.FISA: {
        Kind.CALL: True,
        Kind.CONTENT: Capability.CONTENT,
        Kind.SESSION: Capability.CONTENT,
        Kind.LOCATION: Capability.LOCATION,
        Kind.TEXT: Capability.CONTENT,
        Kind.DIGITS: Capability.DIGITS,
    },
}
VERDICTS.update({authority: VERDICTS[authority.ordinary] for authority in Authority})  # an emergency gives no more

# Header lines by lower-case long name: dialing, routing, addressing and signaling (18 USC 3127(3)), or location. A name
# that is not here counts as TEXT: Subject, Organization, User-Agent, Call-Info, credentials and whatever is new.
HEADER_LINES: Final[dict[str, Kind]] = {
    **dict.fromkeys(
        (
            "from", "to", "contact", "p-asserted-identity", "p-preferred-identity", "remote-party-id", "privacy",
            "diversion", "history-info", "p-called-party-id", "reply-to", "refer-to", "referred-by", "replaces", "join",
            "target-dialog", "call-id", "session-id", "cseq", "via", "max-forwards", "route", "record-route", "path",
            "service-route", "reason", "event", "allow-events", "subscription-state", "expires", "min-expires",
            "session-expires", "min-se", "rseq", "rack", "retry-after", "refer-sub", "request-disposition",
            "supported", "require", "proxy-require", "unsupported", "allow", "alert-info", "date", "timestamp",
            "p-charging-vector", "content-type", "content-length",
        ),
        Kind.CALL,
    ),
    **dict.fromkeys(
        (
            "p-access-network-info", "cellular-network-info", "p-visited-network-id", "geolocation",
            "geolocation-routing", "geolocation-error", "location",
        ),
        Kind.LOCATION,
    ),
}  # fmt: skip
# A URI may carry headers and a body (RFC 3261 19.1.1): with one that is not given as a line, the line is words.
HIDDEN_BODY: Final = re.compile(r"[?&]\s*(body|geolocation|subject)\s*=", re.IGNORECASE)

# Keys of the media in a session description (RFC 4568, RFC 4567, RFC 8866 5.12, RFC 8839 5.4): for content orders only.
KEYS: Final = re.compile(
    r"(?:^|(?<=\r))(?:a=(?:crypto|key-mgmt|ice-pwd):|k=)[^\r\n]*(?:\r?\n)?", re.IGNORECASE | re.MULTILINE
)

# Bodies by media type, and which kinds must all be given for it. A type that is not here may hold any of them.
BODIES: Final[dict[str, tuple[Kind, ...]]] = {
    "application/sdp": (Kind.SESSION, Kind.CONTENT),  # as it is, with its keys
    "text/plain": (Kind.TEXT,),
    "text/html": (Kind.TEXT,),
    "message/cpim": (Kind.TEXT,),
    "application/im-iscomposing+xml": (Kind.TEXT,),
    "application/dtmf": (Kind.DIGITS,),
    "application/dtmf-relay": (Kind.DIGITS,),
    "application/kpml-response+xml": (Kind.DIGITS,),
    "application/pidf+xml": (Kind.LOCATION, Kind.TEXT),
    "application/simple-message-summary": (Kind.TEXT,),
}
ANY_BODY: Final = (Kind.SESSION, Kind.CONTENT, Kind.TEXT, Kind.LOCATION, Kind.DIGITS)

_PREFIX: Final = {"case_id": Kind.CALL, "iap_system_id": Kind.CALL, "timestamp_ns": Kind.CALL}


def _all(kind: Kind, *names: str) -> dict[str, Kind]:
    return dict.fromkeys(names, kind)


FIELDS: Final[dict[type[cdc.Record], dict[str, Kind]]] = {
    cdc.Origination: {
        **_PREFIX,
        **_all(Kind.PARTS, "call_id", "calling", "called", "subject_media", "forked_calls"),
        **_all(Kind.URI, "user_input", "translation_input"),
        "origination_cause": Kind.CALL,
        "sip_headers": Kind.HEADERS,
    },
    cdc.TerminationAttempt: {
        **_PREFIX,
        **_all(Kind.PARTS, "call_id", "calling", "called", "associate_media", "redirected_from_info"),
        "sip_headers": Kind.HEADERS,
    },
    cdc.Answer: {**_PREFIX, **_all(Kind.PARTS, "call_id", "answering", "answering_media")},
    cdc.Release: {**_PREFIX, **_all(Kind.PARTS, "call_id", "cause", "contact_addresses")},
    cdc.Redirection: {
        **_PREFIX,
        **_all(Kind.PARTS, "call_id", "new_call_id", "redirected_from", "redirected_to"),
        **_all(Kind.PARTS, "subject_media", "associate_media"),
    },
    cdc.NetworkSignal: {
        **_PREFIX,
        **_all(Kind.PARTS, "call_id", "signaled_to_party_id", "terminal_display_info"),
        **_all(Kind.CALL, "alerting_signal", "subject_audible_signal", "other"),
        "refer": Kind.HEADERS,
    },
    cdc.DialedDigitExtraction: {
        **_PREFIX, "call_id": Kind.PARTS, "digits": Kind.DIGITS, "sip_headers": Kind.HEADERS,
    },
    cdc.Connection: {
        **_PREFIX,
        **_all(Kind.PARTS, "call_ids", "connected_parties", "new_parties", "connected_media"),
        "media_of_subject": Kind.CALL,
    },
    cdc.ConnectionBreak: {
        **_PREFIX,
        **_all(Kind.PARTS, "call_ids", "removed_parties", "remaining_parties", "dropped_parties", "suspended_media"),
        "media_of_subject": Kind.CALL,
    },
    cdc.MediaAndAddressReporting: {
        **_PREFIX,
        **_all(Kind.PARTS, "call_id", "subject_media", "associate_media"),
        **_all(Kind.PARTS, "subject_contact_addresses", "associate_contact_addresses"),
    },
    cdc.SubjectSignal: {
        **_PREFIX,
        **_all(Kind.PARTS, "call_id", "signaling_party_id", "signaled_party_id"),
        "user_input": Kind.URI,
        **_all(Kind.CALL, "switchhook_flash", "feature_key", "other_signaling_information"),
        "dialed_digits": Kind.CALL,  # a feature code that the network acts on, not digits after cut-through
        "refer": Kind.HEADERS,
    },
    cdc.Change: {**_PREFIX, **_all(Kind.PARTS, "previous", "resulting")},
    cdc.ConfPartyChange: {
        **_PREFIX,
        **_all(Kind.PARTS, "call_ids", "communicating_parties", "removed_parties", "joined_parties"),
    },
    cdc.ServingSystem: {
        **_PREFIX,
        **_all(Kind.CALL, "system_identity", "network_address", "registration_type", "expiration_period"),
        **_all(Kind.PARTS, "request_id", "registering", "requesting", "registrar", "failure_reason"),
        **_all(Kind.PARTS, "request_address_info", "response_address_info"),
    },
    cdc.ConnectionTest: {**_PREFIX, "memo": Kind.CALL},
    cdc.DirectSignalReporting: {**_PREFIX, "correlation_id": Kind.CALL, "signaling": Kind.PARTS},
    cdc.FeatureManagement: {
        **_PREFIX,
        "subscriber_id": Kind.PARTS,
        **_all(Kind.CALL, "feature_id", "management_type", "activation_info", "failure_reason"),
    },
    cdc.UuContent: {
        **_PREFIX, "call_id": Kind.PARTS, "sip_headers": Kind.HEADERS, **_all(Kind.TEXT, "body_headers", "body"),
    },
    cdc.ServiceInstance: {
        **_PREFIX,
        "service_name": Kind.CALL,
        **_all(Kind.PARTS, "call_id", "related_call_id", "first_call_calling", "second_call_calling"),
        **_all(Kind.PARTS, "called", "calling"),
    },
    ccc.CCOpen: {
        **_PREFIX,
        **_all(Kind.PARTS, "call_id", "channel", "subject_media", "associate_media"),
        "form": Kind.CONTENT,
    },
    ccc.CCChange: {**_PREFIX, **_all(Kind.PARTS, "call_id", "channel", "subject_media", "associate_media")},
    ccc.CCClose: {**_PREFIX, **_all(Kind.PARTS, "call_id", "channel")},
    ccc.CCUnavailable: {**_PREFIX, "call_id": Kind.PARTS, "unavailability_reason": Kind.CONTENT},
    cdc.SurveillanceStatus: {**_PREFIX, **_all(Kind.CALL, "status_event_type", "current_status")},
    cdc.CallIdentity: _all(Kind.CALL, "main", "leg"),
    cdc.Party: {
        **_all(Kind.CALL, "dn", "user_provided", "ip_address", "port", "trunk_id", "generic_digits"),
        **_all(Kind.CALL, "generic_name", "context"),
        "uri": Kind.URI,
        "sip_header": Kind.HEADERS,
    },
    cdc.Media: {"sdp": Kind.SESSION, "status": Kind.CALL},
    cdc.Cause: _all(Kind.CALL, "signaling_type", "sip"),
    cdc.RedirectedFrom: {
        **_all(Kind.PARTS, "last_redirecting", "original_called"),
        "num_redirections": Kind.CALL,
    },
    cdc.TerminalDisplay: _all(
        Kind.CALL, "general_display", "called_number", "calling_number", "calling_name", "original_called_number",
        "last_redirecting_number", "redirecting_name", "redirecting_reason", "message_waiting_notif",
    ),
    cdc.ForkedCall: _all(Kind.PARTS, "forked_call_id", "called_party"),
    cdc.AddressBinding: {"address": Kind.PARTS, "expiration_period": Kind.CALL},
    cdc.SignalingMessage: {"protocol": Kind.CALL, "octets": Kind.SIGNALING},
    ccc.Channel: _all(Kind.CONTENT, "combined", "transmit", "receive"),
}  # fmt: skip

# A message that is of one kind as such goes whole or not at all, whatever its fields are.
WHOLE: Final[dict[type[cdc.Record], Kind]] = {
    ccc.CCOpen: Kind.CONTENT,
    ccc.CCChange: Kind.CONTENT,
    ccc.CCClose: Kind.CONTENT,
    ccc.CCUnavailable: Kind.CONTENT,
    cdc.UuContent: Kind.TEXT,
}

# A message that is nothing without these fields does not go at all when they are removed.
ESSENTIAL: Final[dict[type[cdc.Record], tuple[str, ...]]] = {
    cdc.DialedDigitExtraction: ("digits",),
    cdc.DirectSignalReporting: ("signaling",),
    cdc.MediaAndAddressReporting: (
        "subject_media", "associate_media", "subject_contact_addresses", "associate_contact_addresses",
    ),
}  # fmt: skip
# A struct that says nothing by itself goes with this field.
CARRIERS: Final[dict[type[cdc.Record], str]] = {cdc.Media: "sdp", cdc.SignalingMessage: "octets"}


def kind_of_line(line: str) -> Kind:
    """Of one "Name: value", by its name, compact forms included, and by the headers of the URIs in it."""
    kind = HEADER_LINES.get(long_name(line.partition(":")[0]), Kind.TEXT)
    if kind is not Kind.CALL or not ("?" in line or "&" in line or "%" in line):  # most lines: no URI with headers
        return kind
    words = any(HEADER_LINES.get(name) is not Kind.CALL for name in uri_headers(line))
    return Kind.TEXT if words or HIDDEN_BODY.search(unquote(line)) else kind


class Row(NamedTuple):
    """One line of the table: may an order of this authority be given this field of this message."""

    authority: Authority
    message: str
    field: str
    verdict: bool | Capability | None  # None: judged by its parts


def table() -> Iterator[Row]:
    """The whole table, for the documentation and for whoever has to defend it."""
    for authority, verdicts in VERDICTS.items():
        for record, fields in FIELDS.items():
            for field, kind in fields.items():
                yield Row(authority, record.__name__, field, verdicts.get(kind))
