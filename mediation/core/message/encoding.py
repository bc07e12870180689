"""Call events to octets of the call data channel: T1.678v2 LAESProtocol or PCESP version 4 CdcPdu, as the order says.

Answers for: exact tags, sizes and character sets (the tables of core/message/t1678.py and core/message/pcesp.py); BER
in the one form that is also DER: definite and shortest lengths, SET OF in order (X.690 11.6), GeneralizedTime in UTC
to the microsecond (X.690 11.7). May not decide what an order is given: that is `minimisation`, before a message comes
here.

Two promises. A case identity, system identity or subject that cannot be encoded refuses the order, when it is
provisioned (`check_order`). Text that the network sent never loses a call: `encode` adapts it by the rules of
core/message/fitting.py and counts what it did in `ADAPTED`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple

import msgspec

from mediation.core._ber import Encoder
from mediation.core.errors import EncodingError
from mediation.core.message import cdc, fitting, pcesp, pcesp_mapping, syntax, t1678
from mediation.core.message.fitting import Adapted

MAX_OID_OCTETS: Final = 64
"""Of the protocol identifier's contents. Ours; the registered ones have 12."""

MAX_ARC: Final = (1 << 63) - 1
"""Of one arc of the protocol identifier. Ours."""

MAX_SUBJECT_OCTETS: Final = 1_024
"""Of one subject URI in an order. Ours; RFC 3261 sets no limit, RFC 5321's mailboxes have 254."""

MAX_SUBJECT_DIGITS: Final = 32
"""Of a telephone number: PartyIdentity.genericDigits SIZE(1..32); E.164 numbers have at most 15 and also fit dn."""

ADAPTED: Final = Adapted()
"""Counters of this process, read on scrape; `encode` uses them unless it is given others."""


_identifiers: dict[str, bytes] = {}
"""protocolIdentifier TLVs by dotted text. Grows only by configuration: an agency's profile, never by traffic."""


def _identifier(oid: str) -> bytes:
    """The whole TLV of an OBJECT IDENTIFIER (X.690 8.19) under protocolIdentifier's tag; raises EncodingError."""
    if not re.fullmatch(r"[0-2](\.(0|[1-9][0-9]{0,18}))+", oid, re.ASCII):
        raise EncodingError("oid: not dotted decimal arcs")
    first, second, *rest = map(int, oid.split("."))
    if (first < 2 and second > 39) or max(second, *rest, 0) > MAX_ARC:
        raise EncodingError("oid: an arc is out of range")
    contents = b"".join(map(_base128, (first * 40 + second, *rest)))
    if len(contents) > MAX_OID_OCTETS:
        raise EncodingError(f"oid: over {MAX_OID_OCTETS} octets")
    tlv = bytes((0x80 | t1678.PROTOCOL_IDENTIFIER_TAG, len(contents))) + contents
    _identifiers[oid] = tlv
    return tlv


def _base128(arc: int) -> bytes:
    octets = [arc & 0x7F]
    while arc := arc >> 7:
        octets.append(0x80 | arc & 0x7F)
    return bytes(reversed(octets))


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """How one agency wants its messages.

    `name` is the protocol. Of T1.678 only: `oid` is the protocolIdentifier (its last arc is a version, so a site can
    follow a later edition); `bare` sends the legacy `laesMessage [1]` without it. Raises EncodingError for an `oid`
    that is none.
    """

    name: Literal["t1678", "pcesp"] = "t1678"
    oid: str = t1678.DEFAULT_OID
    bare: bool = False

    def __post_init__(self) -> None:
        _identifier(self.oid)


DEFAULT_PROFILE: Final = Profile()
PCESP: Final = Profile(name="pcesp")
PROFILES: Final = {"t1678": DEFAULT_PROFILE, "pcesp": PCESP}
"""Each profile that an order can name, as this release delivers it."""


class Protocol(NamedTuple):
    """One table with its compiled form."""

    messages: Mapping[type[msgspec.Struct], syntax.Message]
    encoder: Encoder


_T1678: Final = Protocol(t1678.MESSAGES, Encoder(t1678.MESSAGES, t1678.MESSAGE_TAG, t1678.ENVELOPE))
_PCESP: Final = Protocol(pcesp.MESSAGES, Encoder(pcesp.MESSAGES, pcesp.MESSAGE_TAG, pcesp.ENVELOPE))


def encode(message: cdc.Message, profile: Profile = DEFAULT_PROFILE, adapted: Adapted = ADAPTED) -> bytes | None:
    """The octets of one message; None when the profile has no message that could tell it.

    Raises EncodingError if a provisioned field does not fit (`check_order` says so before any call), and
    LocalProtocolError for a message no caller may make: a mandatory field missing, a wrong struct, two inputs.
    """
    if profile.name == "pcesp":
        pdu = pcesp_mapping.pdu_of(message)
        return None if pdu is None else encode_pdu(pdu, adapted)
    if type(message) is cdc.ServiceInstance:  # PCESP's alone
        return None
    identifier = None if profile.bare else _identifiers.get(profile.oid) or _identifier(profile.oid)
    return _encode(_T1678, message, identifier, adapted)


def encode_pdu(pdu: pcesp.Pdu, adapted: Adapted = ADAPTED) -> bytes:
    """The octets of one PCESP message, DER. Raises like `encode`."""
    return _encode(_PCESP, pdu, pcesp.VERSION, adapted)


def _encode(protocol: Protocol, message: msgspec.Struct, identifier: bytes | None, adapted: Adapted) -> bytes:
    try:
        return protocol.encoder.encode(message, identifier)
    except EncodingError:
        return _encode_fitted(protocol, message, identifier, adapted)


def _encode_fitted(protocol: Protocol, message: msgspec.Struct, identifier: bytes | None, adapted: Adapted) -> bytes:
    sequence = protocol.messages[type(message)].sequence
    changes = Adapted(messages=1)
    try:
        octets = protocol.encoder.encode(fitting.fit(message, sequence, fitting.WIDE, changes), identifier)
    except EncodingError:
        changes = Adapted(messages=1, narrowed=1)
        octets = protocol.encoder.encode(fitting.fit(message, sequence, fitting.NARROW, changes), identifier)
    adapted.add(changes)
    return octets


def check_order(
    case_id: str, iap_system_id: str | Iterable[str], subjects: Iterable[str], profile: str = "t1678"
) -> None:
    """Whether every message of an order could be encoded; called when the order is provisioned.

    `iap_system_id` is one intercept access point's identity or those of all that the order covers. Raises
    EncodingError that names the field ("caseId", "iAPSystemId", "subjects[1]", "profile") and never its value.
    """
    if profile not in PROFILES:
        raise EncodingError("profile: not one this release encodes")
    _provisioned("caseId", case_id, t1678.CASE_IDENTITY)
    for each in (iap_system_id,) if isinstance(iap_system_id, str) else iap_system_id:
        _provisioned("iAPSystemId", each, t1678.SYSTEM_IDENTITY)
    for index, subject in enumerate(subjects):
        _subject(f"subjects[{index}]", subject)


def _provisioned(field: str, value: str, kind: syntax.Visible) -> None:
    if not kind.low <= len(value) <= kind.high:
        raise EncodingError(f"{field}: not {kind.low} to {kind.high} characters")
    if fitting.OUTSIDE_VISIBLE.search(value):
        raise EncodingError(f"{field}: a character outside VisibleString")


def _subject(field: str, uri: str) -> None:
    """A URI goes into `uri`, `userInput` or, as digits, `dn` or `genericDigits`: without any adaptation."""
    if not 1 <= len(uri) <= MAX_SUBJECT_OCTETS:
        raise EncodingError(f"{field}: not 1 to {MAX_SUBJECT_OCTETS} octets")
    if fitting.OUTSIDE_VISIBLE.search(uri) or " " in uri:
        raise EncodingError(f"{field}: a character outside a URI")
    scheme, _, rest = uri.partition(":")
    if scheme.lower() == "tel":
        digits = re.sub(r"[-.()]", "", rest.partition(";")[0])  # visual separators, RFC 3966 3
        if not 1 <= len(digits.removeprefix("+")) <= MAX_SUBJECT_DIGITS:
            raise EncodingError(f"{field}: not 1 to {MAX_SUBJECT_DIGITS} digits")
