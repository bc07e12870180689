"""The session description in a SIP body (RFC 8866, RFC 3264): where each party wants its media, and how.

Answers for reading what a party announced, leniently; it may not judge what the call does with it. Bodies may be plain
SDP or multipart (RFC 5621) with an SDP part. Addresses stay text as received; a host name is possible.
"""

from __future__ import annotations

import enum
import re
from typing import Final

import msgspec

MAX_MEDIA: Final = 32  # streams of one description that are read; real ones have fewer than 8
MAX_FORMATS: Final = 128  # RTP payload types are 0 to 127 (RFC 3550 section 5.1)
MAX_PARTS: Final = 16  # parts of a multipart body that are looked at, nested ones included
NULL_ADDRESSES: Final = frozenset({"0.0.0.0", "::", "0:0:0:0:0:0:0:0"})  # noqa: S104 (RFC 3264 section 8.4: hold)

# RFC 3551 section 6: payload types that need no rtpmap.
STATIC: Final = {
    0: ("PCMU", 8000),
    3: ("GSM", 8000),
    4: ("G723", 8000),
    5: ("DVI4", 8000),
    6: ("DVI4", 16000),
    7: ("LPC", 8000),
    8: ("PCMA", 8000),
    9: ("G722", 8000),
    10: ("L16", 44100),
    11: ("L16", 44100),
    12: ("QCELP", 8000),
    13: ("CN", 8000),
    14: ("MPA", 90000),
    15: ("G728", 8000),
    16: ("DVI4", 11025),
    17: ("DVI4", 22050),
    18: ("G729", 8000),
    25: ("CelB", 90000),
    26: ("JPEG", 90000),
    28: ("nv", 90000),
    31: ("H261", 90000),
    32: ("MPV", 90000),
    33: ("MP2T", 90000),
    34: ("H263", 90000),
}
_SDP_START: Final = re.compile(rb"\A\s*v\s*=")
_BLANK_LINE: Final = re.compile(rb"\r?\n\r?\n")


class Direction(enum.StrEnum):
    """Of the party that sent the description (RFC 8866 section 6.7)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"


_DIRECTIONS: Final = {str(d): d for d in Direction}


class Codec(msgspec.Struct, frozen=True, kw_only=True):
    payload_type: int
    name: str  # encoding name as sent, "" when there is neither rtpmap nor a static assignment
    clock: int  # Hz, 0 when unknown


class MediaDescription(msgspec.Struct, frozen=True, kw_only=True):
    """One m= section. `port` 0 means refused or removed."""

    kind: str  # "audio", "video", "image", "application" …
    port: int
    protocol: str
    address: str  # connection address: of the section, or else of the session; "" when there is none
    direction: Direction
    codecs: tuple[Codec, ...]  # in order of preference

    @property
    def held(self) -> bool:
        """The sender puts the other party on hold: sendonly, inactive or a null address (RFC 3264 section 8.4)."""
        return self.direction in (Direction.SENDONLY, Direction.INACTIVE) or self.address in NULL_ADDRESSES


class Sdp(msgspec.Struct, frozen=True, kw_only=True):
    text: str  # the description alone, as received
    origin: str  # o= value: unchanged origin version means an unchanged description
    address: str  # session-level connection address, "" when there is none
    media: tuple[MediaDescription, ...]

    @property
    def audio(self) -> MediaDescription | None:
        """The first audio stream that is in use, else the first audio stream at all."""
        streams = [m for m in self.media if m.kind == "audio"]
        return next((m for m in streams if m.port), streams[0] if streams else None)

    @property
    def held(self) -> bool:
        """All streams in use are held (and there is one)."""
        used = [m for m in self.media if m.port]
        return bool(used) and all(m.held for m in used)


class _Section:
    """An m= section while its lines are read."""

    def __init__(self, value: str, address: str, direction: Direction) -> None:
        words = value.split()
        self.kind = words[0].lower() if words else ""
        port = words[1].partition("/")[0] if len(words) > 1 else ""
        self.port = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 and int(port) < 65536 else 0
        self.protocol = words[2] if len(words) > 2 else ""
        numbers = [int(w) for w in words[3 : 3 + MAX_FORMATS] if w.isascii() and w.isdigit() and len(w) <= 9]
        self.formats = [number for number in numbers if number < MAX_FORMATS]
        self.address = address
        self.direction = direction
        self.names: dict[int, tuple[str, int]] = {}

    def finish(self) -> MediaDescription:
        codecs = []
        for payload_type in self.formats:
            name, clock = self.names.get(payload_type, STATIC.get(payload_type, ("", 0)))
            codecs.append(Codec(payload_type=payload_type, name=name, clock=clock))
        return MediaDescription(
            kind=self.kind,
            port=self.port,
            protocol=self.protocol,
            address=self.address,
            direction=self.direction,
            codecs=tuple(codecs),
        )


def parse_sdp(body: bytes) -> Sdp | None:
    """The session description in a SIP body, or None when there is none (empty, another type, no v= line).

    Raises nothing: lines that are not understood are passed over, a port that is no number counts as 0.
    """
    found = _find_sdp(body, [MAX_PARTS])
    if found is None:
        return None
    text = found.decode("utf-8", "surrogateescape")
    origin = address = ""
    direction = Direction.SENDRECV
    sections: list[_Section] = []
    section: _Section | None = None
    for line in text.split("\n"):
        key, equals, value = line.strip().partition("=")
        key, value = key.rstrip(), value.strip()
        if not equals:
            continue
        if key == "m":
            section = _Section(value, address, direction)
            sections.append(section)
            if len(sections) == MAX_MEDIA + 1:
                break
        elif key == "o" and section is None:
            origin = value
        elif key == "c":
            words = value.split()
            at = words[2].partition("/")[0] if len(words) > 2 else ""
            if not at:
                continue
            if section is None:
                address = at
            else:
                section.address = at
        elif key == "a":
            if value in _DIRECTIONS:
                if section is None:
                    direction = _DIRECTIONS[value]
                else:
                    section.direction = _DIRECTIONS[value]
            elif section is not None and value.startswith("rtpmap:"):
                _take_rtpmap(section, value[7:])
    return Sdp(text=text, origin=origin, address=address, media=tuple(s.finish() for s in sections[:MAX_MEDIA]))


def _take_rtpmap(section: _Section, value: str) -> None:
    number, _, encoding = value.strip().partition(" ")
    name, _, rest = encoding.strip().partition("/")
    clock = rest.partition("/")[0].strip()
    if number.isascii() and number.isdigit() and len(number) <= 3 and len(section.names) < MAX_FORMATS:
        known = clock.isascii() and clock.isdigit() and len(clock) <= 9
        section.names[int(number)] = (name.strip(), int(clock) if known else 0)


def _find_sdp(body: bytes, left: list[int]) -> bytes | None:
    """The SDP part of a plain or multipart body; `left` is how many parts may still be looked at."""
    if _SDP_START.match(body):
        return body
    start = body.find(b"--")
    if start < 0 or (start > 0 and body[start - 1] != 10):
        return None
    boundary = body[start:].split(b"\n", 1)[0].rstrip()
    if len(boundary) < 3:
        return None
    for part in body[start + len(boundary) :].split(boundary):
        if left[0] == 0:
            return None
        left[0] -= 1
        content = _BLANK_LINE.split(part, 1)
        found = _find_sdp(content[1] if len(content) == 2 else part.lstrip(), left)
        if found is not None:
            return found.rstrip(b"\r\n") + b"\r\n"
    return None
