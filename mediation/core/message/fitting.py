"""Brings a message that does not fit its syntax within the limits, so that no call is lost over strange octets.

What a subject's phone or a foreign network sends is not bound by T1.678's sizes and character sets; the event it makes
must still be delivered. Only the offending fields change, by the rules below, and every change is counted in `Adapted`.
What comes from the order or the site (caseId, iAPSystemId) is never altered here: it was checked at provisioning. Nor
are dialed digits: the call model makes them, 32 at most a message.

| field | rule |
|---|---|
| UTF8String | an octet that is not UTF-8 is read as ISO 8859-1 (its value survives); over the limit: cut |
| CallIdentity main, leg | over the limit: cut, then `#` and the SHA-256 of the whole, so calls stay apart |
| VisibleString with a URI | outside characters percent-escaped (RFC 3986 2.1); over the size: cut |
| other VisibleString | accents removed, other outside characters become `?`; over the size: cut |
| empty VisibleString where the least size is 1 | left out, if optional: it says nothing |
| PartyIdentity dn, userProvided | over 15 or odd characters: moved whole to genericDigits |
| PartyIdentity genericDigits | over 32 or odd characters: moved whole to uri, as `tel:` and escaped |
| PartyIdentity ipAddress | brackets and zone removed; no address at all: moved to uri |
| OCTET STRING | over the limit: cut |
| INTEGER | clipped to its range; below a range that begins over 0: left out |
| lists | elements past the limit are left out |

Pure functions; raise nothing. The result is encodable for every message whose provisioned fields are.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import unicodedata
from collections.abc import Iterator
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from mediation.core.message import cdc, syntax

MessageT = TypeVar("MessageT", bound=msgspec.Struct)

NARROW_TEXT_OCTETS = 512
NARROW_ELEMENTS = 4
"""Last resort for a message that is over MAX_MESSAGE_OCTETS as a whole although each field fits. Ours: with them the
largest possible message (ConnectionBreak with twelve parties) has under 90,000 octets."""

OUTSIDE_VISIBLE = re.compile("[^\x20-\x7e]")
VISIBLE_CHARACTERS = "".join(map(chr, range(0x20, 0x7F)))


class Adapted(msgspec.Struct):
    """How often each rule changed something, since the start. Numbers only."""

    messages: int = 0  # needed any adaptation
    reread: int = 0  # texts with octets that are not UTF-8
    substituted: int = 0  # texts with characters outside VisibleString, replaced or escaped
    cut: int = 0  # texts longer than their size
    digested: int = 0  # call identities longer than their limit
    moved: int = 0  # values moved whole to a wider field of the same party
    left_out: int = 0  # list elements past the limit, numbers below their range
    clipped: int = 0  # numbers above their range
    narrowed: int = 0  # messages that had to be brought under the size of a whole message

    def add(self, other: Adapted) -> None:
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Limits(msgspec.Struct, frozen=True):
    text: int
    elements: int


WIDE = Limits(syntax.MAX_TEXT_OCTETS, syntax.MAX_ELEMENTS)
NARROW = Limits(NARROW_TEXT_OCTETS, NARROW_ELEMENTS)


def fit(message: MessageT, sequence: syntax.Sequence, limits: Limits, adapted: Adapted) -> MessageT:
    """`message` with every field within `sequence` and `limits`; what changed is counted in `adapted`."""
    fitted: MessageT = _struct(sequence, message, limits, adapted)
    return fitted


def _struct(sequence: syntax.Sequence, value: Any, limits: Limits, adapted: Adapted) -> Any:
    if isinstance(value, cdc.Party):
        value = _party(value, adapted)
    changes = {}
    for member in flat(sequence.members):
        old = getattr(value, member.attribute)
        new = old if old is None else _value(member.type, old, limits, adapted)
        if new is None and member.mandatory:
            new = old  # refused by name when it is encoded: only a bug of ours leaves a mandatory field empty
        if new is not old:
            changes[member.attribute] = new
    return msgspec.structs.replace(value, **changes) if changes else value


def flat(members: tuple[syntax.Member, ...]) -> Iterator[syntax.Member]:
    """Members with an attribute of their own: those of groups and choices stand beside the rest in our structs."""
    for member in members:
        if isinstance(member.type, syntax.Group | syntax.Choice):
            yield from flat(member.type.members)
        elif not isinstance(member.type, syntax.Null):
            yield member


def _value(kind: syntax.Type, value: Any, limits: Limits, adapted: Adapted) -> Any:
    match kind:
        case syntax.Visible(exact=False):
            return _visible(kind, value, limits, adapted)
        case syntax.Text():
            return _text(kind, value, limits, adapted)
        case syntax.Octets():
            return _octets(kind, value, limits, adapted)
        case syntax.Integer():
            return _integer(kind, value, adapted)
        case syntax.Sequence():
            return _struct(kind, value, limits, adapted)
        case syntax.SequenceOf() | syntax.SetOf():
            adapted.left_out += max(0, len(value) - limits.elements)
            fitted = (_value(kind.element, each, limits, adapted) for each in value[: limits.elements])
            return tuple(each for each in fitted if each is not None)
        case _:
            return value


def _visible(kind: syntax.Visible, value: str, limits: Limits, adapted: Adapted) -> str | None:
    if OUTSIDE_VISIBLE.search(value):
        adapted.substituted += 1
        value = _escape(value) if kind.uri else OUTSIDE_VISIBLE.sub("?", _unaccented(value))
    high = min(kind.high, limits.text)
    if len(value) > high:
        adapted.cut += 1
        value = value[:high]
    return value if len(value) >= kind.low else None


def _text(kind: syntax.Text, value: str, limits: Limits, adapted: Adapted) -> str:
    try:
        octets = value.encode()
    except UnicodeEncodeError:
        adapted.reread += 1
        value = "".join(map(_reread, value))
        octets = value.encode()
    if kind.identity:
        if len(octets) > kind.high:
            adapted.digested += 1
            digest = "#" + hashlib.sha256(octets).hexdigest()
            return _cut(octets, kind.high - len(digest)) + digest
        return value
    high = min(kind.high, limits.text)
    if len(octets) > high:
        adapted.cut += 1
        return _cut(octets, high)
    return value


def _octets(kind: syntax.Octets, value: bytes, limits: Limits, adapted: Adapted) -> bytes:
    high = min(kind.high, limits.text)
    adapted.cut += len(value) > high
    return value[:high]


def _cut(octets: bytes, high: int) -> str:
    """At most `high` octets, never in the middle of a character."""
    return octets[:high].decode(errors="ignore")


def _reread(character: str) -> str:
    """surrogateescape (PEP 383) put octet 0xNN at U+DCNN; any other lone surrogate stands for nothing."""
    point = ord(character)
    if 0xDC80 <= point <= 0xDCFF:
        return chr(point - 0xDC00)
    return "\ufffd" if 0xD800 <= point <= 0xDFFF else character


def _unaccented(value: str) -> str:
    decomposed = unicodedata.normalize("NFKD", value)
    return "".join(each for each in decomposed if not unicodedata.combining(each))


def _escape(value: str) -> str:
    """Characters outside VisibleString as %NN of their octets as received; what is inside stays as it is."""
    octets = value.encode(errors="surrogateescape") if _escapable(value) else value.encode(errors="replace")
    return quote(octets, safe=VISIBLE_CHARACTERS)


def _escapable(value: str) -> bool:
    return not any(0xD800 <= ord(each) <= 0xDFFF and not 0xDC80 <= ord(each) <= 0xDCFF for each in value)


def _integer(kind: syntax.Integer, value: int, adapted: Adapted) -> int | None:
    if value < kind.low == 0:  # a time or a count: less than nothing is nothing
        adapted.clipped += 1
        return 0
    if value < kind.low:
        adapted.left_out += 1
        return None
    if value > kind.high:
        adapted.clipped += 1
        return kind.high
    return value


def _party(party: cdc.Party, adapted: Adapted) -> cdc.Party:
    """Numbers and addresses that do not fit their field move whole to one that is wider."""
    digits: list[str] = []
    uris = list(party.uri)
    short: dict[str, str | None] = {"dn": party.dn, "user_provided": party.user_provided}
    for attribute, number in short.items():
        if number is not None and not _fits(number, 15):
            short[attribute] = None
            digits += [number] if number else []
            adapted.moved += bool(number)
    kept = []
    for number in (*party.generic_digits, *digits):
        if _fits(number, 32):
            kept.append(number)
        elif number:
            uris.append("tel:" + _escape(number))
            adapted.moved += 1
    address = party.ip_address
    if address is not None:
        literal = address.strip("[] ").partition("%")[0]
        try:
            address = str(ipaddress.ip_address(literal))
        except ValueError:
            uris += [address] if address else []
            adapted.moved += bool(address)
            address = None
    return msgspec.structs.replace(party, **short, generic_digits=tuple(kept), uri=tuple(uris), ip_address=address)


def _fits(number: str, high: int) -> bool:
    return 1 <= len(number) <= high and not OUTSIDE_VISIBLE.search(number)
