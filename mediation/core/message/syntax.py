"""The words in which a message syntax is written down as tables: the few types of X.680 that call data needs.

A table is data; it does nothing. `_ber` turns it into octets and `fitting` brings network data within its limits, so
sizes and character sets stand in one place only. Tag numbers here are always context tags; the universal tag of a
list's element follows from its type.

`tags` of a Member is the path from the outside in: all but the last are EXPLICIT wrappers (CHOICE types, which cannot
be tagged IMPLICIT, X.680 31.2.7, and nested one-member structures), the last replaces the type's own tag.
"""

from __future__ import annotations

from typing import Any

import msgspec

MAX_TEXT_OCTETS = 65_535
"""Of one string that the standard leaves unbounded. Source: no SIP header or body in one datagram is longer."""

MAX_IDENTITY_OCTETS = 1_024
"""Of one text in a CallIdentity: bounded on its own, so that every message of a call shortens it alike. Ours."""

MAX_ELEMENTS = 64
"""Of one SET OF or SEQUENCE OF. Source: ours; real calls have under 20 headers and a handful of parties."""

MAX_MESSAGE_OCTETS = 131_072
"""Of one encoded message: as much as the largest X2 PDU (x2.MAX_PDU_OCTETS) that can have made it."""


class Type(msgspec.Struct, frozen=True):
    """Base of the types."""


class Visible(Type, frozen=True):
    """VisibleString SIZE(low..high), in characters, which are octets."""

    low: int = 0
    high: int = MAX_TEXT_OCTETS
    uri: bool = False  # outside characters are percent-escaped (RFC 3986 2.1), else each becomes "?"
    exact: bool = False  # never altered: one that does not fit is refused by name


class Text(Type, frozen=True):
    """UTF8String of at most `high` octets."""

    high: int = MAX_TEXT_OCTETS
    identity: bool = False  # a longer one keeps its distinction from others by a digest at the end


class Time(Type, frozen=True):
    """GeneralizedTime from nanoseconds since 1970, UTC."""


class Enumerated(Type, frozen=True):
    """ENUMERATED 0..high."""

    high: int


class Integer(Type, frozen=True):
    """INTEGER (low..high)."""

    low: int
    high: int


class Octets(Type, frozen=True):
    """OCTET STRING of at most `high` octets."""

    high: int = MAX_TEXT_OCTETS


class Null(Type, frozen=True):
    """NULL. It has no attribute: where the letter of a module makes it mandatory, it is always put out."""


class Constants(Type, frozen=True):
    """CHOICE of which we know few alternatives, all constant: the value of the field to the whole TLV."""

    alternatives: dict[Any, bytes]


class Address(Type, frozen=True):
    """IpAddress CHOICE { ipV4 [1], ipV6 [2] OCTET STRING }, from the text form."""


class Sequence(Type, frozen=True):
    """SEQUENCE of another struct's fields."""

    struct: type[msgspec.Struct]
    members: tuple[Member, ...]


class Group(Type, frozen=True):
    """SEQUENCE of fields that our struct holds side by side with the rest.

    An OPTIONAL one is left out when it is empty; a Member with an attribute also when that is None.
    """

    members: tuple[Member, ...]


class Choice(Type, frozen=True):
    """Untagged CHOICE: exactly one of the members is set. When none is: the first, empty, if it `may_be_empty`."""

    members: tuple[Member, ...]
    may_be_empty: bool = True


class SequenceOf(Type, frozen=True):
    """SEQUENCE OF, in the order given."""

    element: Type


class SetOf(Type, frozen=True):
    """SET OF, put out in the order of DER (X.690 11.6)."""

    element: Type


class Member(msgspec.Struct, frozen=True):
    """One component: its ASN.1 name, tag path, type, and where our struct keeps it ("" for Group, Choice, Null)."""

    name: str
    tags: tuple[int, ...]
    type: Any  # a Type; msgspec would build a decoder for the exact one, which nobody needs
    attribute: str = ""
    mandatory: bool = False


class Message(msgspec.Struct, frozen=True):
    """One alternative of the message CHOICE."""

    name: str
    tag: int
    sequence: Sequence
