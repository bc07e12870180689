"""Delivered call content back to packets: CC-APDU and PacketCable datagram, as a collection function reads them.

Answers for: structure checked before contents, unknown members skipped (X.680 8), one error for whatever is no content
packet. Shares no line with what writes them. `ApduCutter` cuts a stream of APDUs; a stream that is none ends there.
"""

from __future__ import annotations

import datetime
import re
import struct
from typing import Final, Literal

import msgspec

from mediation.collection.tlv import Tlv, walk
from mediation.core.errors import RemoteProtocolError
from mediation.core.units import NS

MAX_APDU_OCTETS: Final = 1 << 17
"""Of one CC-APDU. Source: the largest IP packet and a header of at most 4 KiB."""

NTP_EPOCH_S: Final = 2_208_988_800
_DATAGRAM: Final = struct.Struct("!4s2I")
_TIME: Final = re.compile(rb"(\d{14})(?:\.(\d{1,9}))?Z", re.ASCII)
_DIRECTIONS: Final[dict[bytes, Literal["fromSubject", "toSubject"]]] = {b"\0": "fromSubject", b"\1": "toSubject"}


class ContentPacket(msgspec.Struct, frozen=True, kw_only=True):
    """One packet as received.

    `packet` begins with its IP header. `timestamp_ns` is UTC, nanoseconds since 1970. A CC-APDU names case, access
    point, call, direction and sequence number; a datagram only its channel, 8 hexadecimal digits as in ccOpen.
    """

    packet: bytes
    timestamp_ns: int | None
    channel: str | None = None
    case: str | None = None
    iap: str | None = None
    call: str | None = None
    leg: str | None = None
    direction: Literal["fromSubject", "toSubject"] | None = None
    sequence: int | None = None


def decode_apdu(octets: bytes) -> ContentPacket:
    """One whole CC-APDU. Raises RemoteProtocolError for anything else, without its octets in the text."""
    if len(octets) > MAX_APDU_OCTETS:
        raise RemoteProtocolError("cc-apdu: too long")
    found = _paths(octets, walk(octets))
    packet = found.get((0x81,))
    if packet is None:
        raise RemoteProtocolError("cc-apdu: no payload")
    sequence = found.get((0xA0, 0x83))
    direction = found.get((0xA0, 0x82))
    time = found.get((0xA0, 0x81))
    if direction is not None and direction not in _DIRECTIONS:
        raise RemoteProtocolError("cc-apdu: packetDirection")
    if sequence is not None and not 1 <= len(sequence) <= 9:
        raise RemoteProtocolError("cc-apdu: sequenceNumber")
    identity = (0xA0, 0xA0, 0xA2, 0xA1)
    return ContentPacket(
        packet=packet,
        timestamp_ns=None if time is None else _nanoseconds(time),
        case=_text(found.get((0xA0, 0xA0, 0x80))),
        iap=_text(found.get((0xA0, 0xA0, 0x81))),
        call=_text(found.get((*identity, 0x80))),
        leg=_text(found.get((*identity, 0x81))),
        direction=None if direction is None else _DIRECTIONS[direction],
        sequence=None if sequence is None else int.from_bytes(sequence, "big", signed=True),
    )


def decode_datagram(octets: bytes) -> ContentPacket:
    """The payload of one UDP datagram of the PacketCable form. Raises RemoteProtocolError when it is too short.

    The NTP era is the one that began in 1900 until its last bit is gone (2036), then the next (RFC 5905 section 6).
    """
    if len(octets) < _DATAGRAM.size:
        raise RemoteProtocolError("packetcable: shorter than its header")
    identifier, seconds, fraction = _DATAGRAM.unpack_from(octets)
    if seconds < 1 << 31:
        seconds += 1 << 32
    timestamp_ns = (seconds - NTP_EPOCH_S) * NS + (fraction * NS + (1 << 32) - 1 >> 32)
    return ContentPacket(
        packet=octets[_DATAGRAM.size :], timestamp_ns=timestamp_ns, channel=identifier.hex().upper()
    )  # fmt: skip


class ApduCutter:
    """Cuts a stream into whole APDUs; holds at most one that is not whole yet."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, octets: bytes) -> list[bytes]:
        """The APDUs that are whole now. Raises RemoteProtocolError when no APDU can begin here; the stream is over."""
        self._held += octets
        found = []
        at = 0
        while (end := self._end(at)) is not None:
            found.append(bytes(self._held[at:end]))
            at = end
        del self._held[:at]
        return found

    @property
    def held(self) -> int:
        """Octets of an APDU that is not whole: what is lost if the stream ends now."""
        return len(self._held)

    def _end(self, at: int) -> int | None:
        held = self._held
        left = len(held) - at
        if left and held[at] != 0x30:
            raise RemoteProtocolError("cc-apdu: the stream is out of step")
        if left < 2:
            return None
        length, first = held[at + 1], at + 2
        if length & 0x80:
            count = length & 0x7F
            if not 1 <= count <= 4:
                raise RemoteProtocolError("cc-apdu: length indefinite or too large")
            if left < 2 + count:
                return None
            first += count
            length = int.from_bytes(held[at + 2 : first], "big")
        if first - at + length > MAX_APDU_OCTETS:
            raise RemoteProtocolError("cc-apdu: too long")
        return first + length if first + length <= len(held) else None


def _paths(octets: bytes, tlvs: list[Tlv]) -> dict[tuple[int, ...], bytes]:
    """Contents of each element by the path of identifier octets under the outermost; of equal ones the first."""
    if tlvs[0].identifier != b"\x30":
        raise RemoteProtocolError("cc-apdu: not a SEQUENCE")
    found: dict[tuple[int, ...], bytes] = {}
    path: list[int] = []
    for tlv in tlvs[1:]:
        del path[tlv.depth - 1 :]
        path.append(tlv.identifier[0])
        if not tlv.constructed:
            found.setdefault(tuple(path), octets[tlv.start : tlv.end])
    return found


def _text(octets: bytes | None) -> str | None:
    try:
        return None if octets is None else octets.decode()
    except UnicodeDecodeError:
        raise RemoteProtocolError("cc-apdu: text that is not UTF-8") from None


def _nanoseconds(time: bytes) -> int:
    form = _TIME.fullmatch(time)
    if form is None:
        raise RemoteProtocolError("cc-apdu: timeStamp")
    try:
        whole = datetime.datetime.strptime(form[1].decode(), "%Y%m%d%H%M%S").replace(tzinfo=datetime.UTC)
    except ValueError:
        raise RemoteProtocolError("cc-apdu: timeStamp") from None
    past = whole - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return (past.days * 86_400 + past.seconds) * NS + int((form[2] or b"0").ljust(9, b"0"))
