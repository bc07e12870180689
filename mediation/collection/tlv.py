"""The bare structure of BER (X.690 8.1): tag, length, contents, and nothing of what they mean.

Answers for: what comes from a link has whole, nested, definite lengths before a codec that is not ours looks at it;
that bounds the codec's recursion and its reads. Knows no message. Indefinite lengths are refused: no sender of this
project writes them, and X.690 10.1 (DER) forbids them.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from mediation.core.errors import RemoteProtocolError

MAX_OCTETS: Final = 1 << 18
"""Of one message: what a frame of the delivery link can hold (core/interface/link.py)."""

MAX_DEPTH: Final = 24
"""Of nesting. Source: the deepest T1.678 field of ours has 9 levels."""

MAX_LENGTH_OCTETS: Final = 4
"""Of a length's own octets: far past MAX_OCTETS already."""


class Tlv(NamedTuple):
    """One element: identifier octets, where they begin, where its contents begin and end, and how deep it stands."""

    identifier: bytes
    first: int
    start: int
    end: int
    depth: int

    @property
    def constructed(self) -> bool:
        return bool(self.identifier[0] & 0x20)


def walk(octets: bytes) -> list[Tlv]:
    """Every element of one message, in the order of its octets, parents first.

    Raises RemoteProtocolError unless `octets` are exactly one element and all lengths nest.
    """
    if len(octets) > MAX_OCTETS:
        raise RemoteProtocolError("ber: message too long")
    found: list[Tlv] = []
    ends = [len(octets)]
    at = 0
    while ends:
        if at == ends[-1]:
            ends.pop()
            continue
        if found and len(ends) == 1:
            raise RemoteProtocolError("ber: octets after the message")
        tlv = _header(octets, at, ends[-1], len(ends) - 1)
        found.append(tlv)
        if tlv.constructed:
            if len(ends) > MAX_DEPTH:
                raise RemoteProtocolError("ber: nested too deep")
            ends.append(tlv.end)
            at = tlv.start
        else:
            at = tlv.end
    if not found:
        raise RemoteProtocolError("ber: no message")
    return found


def _header(octets: bytes, at: int, end: int, depth: int) -> Tlv:
    first = at
    at += 1
    if octets[first] & 0x1F == 0x1F:
        while at < end and octets[at] & 0x80:
            at += 1
        at += 1
    if at >= end:
        raise RemoteProtocolError("ber: cut short in a header")
    identifier = octets[first:at]
    length = octets[at]
    at += 1
    if length & 0x80:
        count = length & 0x7F
        if not 1 <= count <= MAX_LENGTH_OCTETS or at + count > end:
            raise RemoteProtocolError("ber: length indefinite, too large or cut short")
        length = int.from_bytes(octets[at : at + count], "big")
        at += count
    if at + length > end:
        raise RemoteProtocolError("ber: longer than what holds it")
    return Tlv(identifier, first, at, at + length, depth)
