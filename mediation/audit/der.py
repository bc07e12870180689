"""DER (ITU-T X.690 chapters 8 and 10) as far as a time stamp needs it: one element after the other, bounded and strict.

Answers for definite lengths in their shortest form, for tags below 31, and for nothing standing after the end of what
is read. It never recurses by itself and copies nothing but slices. Raises Bad.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass

from mediation.audit.tokens import Bad

INTEGER, OCTETS, OID, SEQUENCE, SET, TIME = 0x02, 0x04, 0x06, 0x30, 0x31, 0x18
MAX_ELEMENTS = 4_096  # in one sequence
_TIME = re.compile(rb"(\d{14})(?:\.(\d{1,9}))?Z")


@dataclass(frozen=True)
class Element:
    """`octets` is all of it, `body` what it holds."""

    tag: int
    octets: bytes
    body: bytes

    def parts(self) -> list[Element]:
        """The elements inside, in their order."""
        found: list[Element] = []
        rest = self.body
        while rest:
            element, rest = first(rest)
            found.append(element)
            if len(found) > MAX_ELEMENTS:
                raise Bad("DER: too many elements")
        return found

    def of(self, tag: int) -> Element:
        """The same, if it has this tag."""
        if self.tag != tag:
            raise Bad(f"DER: tag {self.tag:#04x} in the place of {tag:#04x}")
        return self

    def number(self) -> int:
        self.of(INTEGER)
        if not self.body or (len(self.body) > 1 and self.body[0] in (0, 0xFF) and (self.body[0] ^ self.body[1]) < 0x80):
            raise Bad("DER: an integer in another spelling")
        return int.from_bytes(self.body, "big", signed=True)

    def oid(self) -> str:
        """In dots."""
        self.of(OID)
        arcs: list[int] = []
        arc = 0
        for octet in self.body:
            arc = arc << 7 | octet & 0x7F
            if octet < 0x80:
                arcs.append(arc)
                arc = 0
        if not arcs or self.body[-1] >= 0x80 or arc:
            raise Bad("DER: an object identifier that is none")
        top = min(arcs[0] // 40, 2)
        return ".".join(map(str, (top, arcs[0] - 40 * top, *arcs[1:])))

    def time_s(self) -> int:
        """A GeneralizedTime in UTC, in whole seconds since 1970."""
        found = _TIME.fullmatch(self.of(TIME).body)
        try:
            moment = datetime.datetime.strptime(found[1].decode() if found else "", "%Y%m%d%H%M%S")
        except ValueError:
            raise Bad("DER: a time that is none") from None
        return int(moment.replace(tzinfo=datetime.UTC).timestamp())


def first(octets: bytes) -> tuple[Element, bytes]:
    """The element that `octets` begin with, and what stands after it."""
    if len(octets) < 2 or octets[0] & 0x1F == 0x1F:
        raise Bad("DER: cut short, or a tag that nothing here has")
    length, at = octets[1], 2
    if length >= 0x80:
        count = length & 0x7F
        length, at = int.from_bytes(octets[2 : 2 + count], "big"), 2 + count
        if not 1 <= count <= 4 or len(octets) < at or length < 0x80 or octets[2] == 0:
            raise Bad("DER: a length in another spelling")
    if len(octets) < at + length:
        raise Bad("DER: cut short")
    return Element(octets[0], octets[: at + length], octets[at : at + length]), octets[at + length :]


def whole(octets: bytes) -> Element:
    """The one element that `octets` are."""
    element, rest = first(octets)
    if rest:
        raise Bad("DER: something stands after the end")
    return element
