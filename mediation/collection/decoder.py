"""Octets of the call data channel back to a message, by a codec that is not ours (asn1tools, over our t1678.asn).

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

MODULE: Final = Path(__file__).with_name("t1678.asn")
TOP: Final = "LAESProtocol"

_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


class Decoded(msgspec.Struct, frozen=True, kw_only=True):
    """One message as received.

    `message` is its ASN.1 name ("origination", "termAttempt"); `protocol` the protocolIdentifier, None in the bare
    form; `timestamp_ns` UTC, nanoseconds since 1970; `call` and `leg` the (first) CallIdentity's texts. `fields` is the
    whole message for JSON: a CHOICE is an object with one key, octets are hex, addresses and times are text.
    """

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
def specification(rules: Literal["ber", "der"]) -> Any:
    """The compiled module; once per process, a quarter of a second each."""
    return asn1tools.compile_files(str(MODULE), rules)


def decode(octets: bytes) -> Decoded:
    """One whole message. Raises RemoteProtocolError for anything else, without its octets in the text."""
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
    call = content.get("callId")
    if isinstance(call, list):
        call = call[0] if call else None
    return Decoded(
        message=message,
        protocol=protocol,
        case=content.get("caseId"),
        iap=content.get("iAPSystemId", content.get("reportingSystemId")),
        timestamp_ns=_nanoseconds(content["timestamp"]),
        call=call["main"] if call else None,
        leg=call.get("leg") if call else None,
        fields=_json("", content),
        tree=tree,
    )


def decode_as(name: str, octets: bytes) -> Any:
    """The codec's own tree of `octets` as the type `name` of the module. Raises RemoteProtocolError."""
    walk(octets)
    try:
        return specification("ber").decode(name, octets)
    except asn1tools.Error as error:
        raise RemoteProtocolError(f"t1678: {_kind(error)}") from None
    except (ValueError, LookupError, TypeError, OverflowError):  # what the codec lets through on bad contents
        raise RemoteProtocolError("t1678: contents of a wrong form") from None


def reencode(decoded: Decoded) -> bytes:
    """The codec's own octets for what it decoded, by DER; SET OF stays in the order received."""
    encoded: bytes = specification("der").encode(TOP, decoded.tree)
    return encoded


def _kind(error: Exception) -> str:
    """Where it went wrong, by field names of the module: the codec's full text would quote values."""
    place = getattr(error, "location_str", "")
    return f"not decodable at {place}" if place else "not decodable"


def _nanoseconds(time: datetime.datetime) -> int:
    if time.tzinfo is None:
        raise RemoteProtocolError("t1678: timestamp without a zone")
    past = time - _EPOCH
    return (past.days * 86_400 + past.seconds) * 1_000_000_000 + past.microseconds * 1_000


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
