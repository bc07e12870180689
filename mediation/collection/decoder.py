"""Octets of the call data channel back to a message, by a codec that is not ours (asn1tools, over our ASN.1 modules).

Answers for: the reference collection function understands what the daemon sends without sharing a line of code with its
encoder. May not be imported by the daemon's functions. Lenient where the standard is extensible (unknown members are
skipped, X.680 8) and where BER has several forms; strict about structure (`tlv`).
"""

from __future__ import annotations

import datetime
import functools
import ipaddress
from pathlib import Path
from typing import Any, Final, Literal

import asn1tools
import msgspec

from mediation.collection.tlv import walk
from mediation.core.errors import RemoteProtocolError
from mediation.core.units import NS

Protocol = Literal["t1678", "pcesp"]
TOP: Final = "LAESProtocol"
CDC_PDU: Final = b"\x30"  # CdcPdu is an untagged SEQUENCE, both forms of LAESProtocol have a context tag

_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


class Decoded(msgspec.Struct, frozen=True, kw_only=True):
    """One message as received.

    `message` is its ASN.1 name ("origination", "termAttempt"); `protocol` the protocolIdentifier, None in the bare
    form, or PCESP's protocolVersion; `timestamp_ns` UTC, nanoseconds since 1970; `call` and `leg` the (first)
    CallIdentity's texts, in PCESP the sequencenumber of the CallId. `fields` is the whole message for JSON: a CHOICE is
    an object with one key, octets are hex, addresses and times are text.
    """

    profile: Protocol
    message: str
    protocol: str | None
    case: str | None
    iap: str | None
    timestamp_ns: int
    call: str | None
    leg: str | None
    fields: dict[str, Any]
    tree: Any  # as the codec has it, for `reencode`


@functools.cache
def specification(rules: Literal["ber", "der"], protocol: Protocol = "t1678") -> Any:
    """The compiled module; once per process, a quarter of a second each."""
    return asn1tools.compile_files(str(Path(__file__).with_name(f"{protocol}.asn")), rules)


def decode(octets: bytes) -> Decoded:
    """One whole message of either protocol, told apart by its outermost tag. Raises RemoteProtocolError for anything
    else, without its octets in the text."""
    return _pcesp(octets) if octets[:1] == CDC_PDU else _t1678(octets)


def _t1678(octets: bytes) -> Decoded:
    tree = decode_as(TOP, octets)
    form, inner = tree
    protocol = None
    if form == "enhancedProtocol":
        protocol = inner["protocolIdentifier"]
        inner = inner["laesMessage"]
    elif form != "laesMessage":
        raise RemoteProtocolError("t1678: neither enhancedProtocol nor laesMessage")
    message, content = inner
    if message is None or content is None:
        raise RemoteProtocolError("t1678: a message this edition does not have")
    call = _call(content)
    return Decoded(
        profile="t1678",
        message=message,
        protocol=protocol,
        case=content.get("caseId"),
        iap=content.get("iAPSystemId", content.get("reportingSystemId")),
        timestamp_ns=_nanoseconds(content["timestamp"]),
        call=call.get("main"),
        leg=call.get("leg"),
        fields=_json("", content),
        tree=tree,
    )


def _call(content: dict[str, Any]) -> dict[str, str]:
    """The (first) CallIdentity of a message, wherever it has one; empty when it has none."""
    found: Any = content.get("callId")
    if found is None and "contentIdentifier" in content:
        alternative, found = content["contentIdentifier"]
        found = found if alternative == "callID" else None
    if found is None and "previous" in content:
        found = content["previous"]["call-identities"]
    if isinstance(found, list):
        found = found[0] if found else None
    return found or {}


def _pcesp(octets: bytes) -> Decoded:
    tree = decode_as("CdcPdu", octets, "pcesp")
    message, content = tree["message"]
    if message is None or content is None:
        raise RemoteProtocolError("pcesp: a message this edition does not have")
    call: Any = content.get("callId", content.get("old"))
    if call is None and "ccOpenOption" in content:
        calls = content["ccOpenOption"][1]
        call = calls[0] if calls else None
    return Decoded(
        profile="pcesp",
        message=message,
        protocol=tree["protocolVersion"],
        case=content["caseId"],
        iap=content["accessingElementId"],
        timestamp_ns=_nanoseconds(content["eventTime"], "pcesp"),
        call=call["sequencenumber"] if call else None,
        leg=None,
        fields=_json("", content),
        tree=tree,
    )


def decode_as(name: str, octets: bytes, protocol: Protocol = "t1678") -> Any:
    """The codec's own tree of `octets` as the type `name` of the module. Raises RemoteProtocolError."""
    walk(octets)
    try:
        return specification("ber", protocol).decode(name, octets)
    except asn1tools.Error as error:
        raise RemoteProtocolError(f"{protocol}: {_kind(error)}") from None
    except (ValueError, LookupError, TypeError, OverflowError):  # what the codec lets through on bad contents
        raise RemoteProtocolError(f"{protocol}: contents of a wrong form") from None


def reencode(decoded: Decoded) -> bytes:
    """The codec's own octets for what it decoded, by DER; SET OF stays in the order received."""
    top = TOP if decoded.profile == "t1678" else "CdcPdu"
    encoded: bytes = specification("der", decoded.profile).encode(top, decoded.tree)
    return encoded


def _kind(error: Exception) -> str:
    """Where it went wrong, by field names of the module: the codec's full text would quote values."""
    place = getattr(error, "location_str", "")
    return f"not decodable at {place}" if place else "not decodable"


def _nanoseconds(time: datetime.datetime, protocol: Protocol = "t1678") -> int:
    if time.tzinfo is None:
        raise RemoteProtocolError(f"{protocol}: timestamp without a zone")
    past = time - _EPOCH
    return (past.days * 86_400 + past.seconds) * NS + past.microseconds * 1_000


def rfc3339(timestamp_ns: int) -> str:
    """Text of a time, UTC, with six digits of fraction."""
    time = _EPOCH + datetime.timedelta(microseconds=timestamp_ns // 1_000)
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _json(name: str, value: Any) -> Any:
    """What JSON can hold of the codec's tree."""
    match value:
        case dict():
            return {key: _json(key, each) for key, each in value.items()}
        case list():
            return [_json("", each) for each in value]
        case (None, None):
            return {"unknown": None}
        case (str(alternative), content):
            return {alternative: _json(alternative, content)}
        case bytes() | bytearray():
            if (name, len(value)) in (("ipV4", 4), ("ipV6", 16)):
                return str(ipaddress.ip_address(bytes(value)))
            return value.hex()
        case datetime.datetime():
            return rfc3339(_nanoseconds(value))
        case int() if value.bit_length() > 63:  # past what JSON readers hold
            return str(value)
        case _:
            return value
