"""Capture files as a feed: pcap (draft-ietf-opsawg-pcap) and pcapng (draft-ietf-opsawg-pcapng), read as a stream.

Answers for: frames in the file's order with their link type and time stamp, whatever byte order and resolution the
file has. What is wrong with a file is said by RemoteProtocolError with the offset, after everything before it was
delivered. May not: look into a frame (ext/frame.pxd does, through the same code as live capture), or believe a length.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from mediation.core.errors import RemoteProtocolError
from mediation.core.units import NS

MAX_FRAME_OCTETS = 262_144  # libpcap's MAXIMUM_SNAPLEN
MAX_BLOCK_OCTETS = 1 << 24  # a block of metadata beyond this is no capture's
MAX_INTERFACES = 4096  # of one section

PCAP_MICROSECONDS, PCAP_NANOSECONDS = 0xA1B2C3D4, 0xA1B23C4D
SECTION_HEADER, INTERFACE_DESCRIPTION, PACKET, SIMPLE_PACKET, ENHANCED_PACKET = 0x0A0D0D0A, 1, 2, 3, 6
BYTE_ORDER_MAGIC = 0x1A2B3C4D
OPTION_END, OPTION_TIME_RESOLUTION, OPTION_TIME_OFFSET = 0, 9, 14
DEFAULT_RESOLUTION = 6  # 10^-6 s


class CapturedFrame(msgspec.Struct, frozen=True):
    """`stamp_ns` is UTC, ns since 1970; `on_wire` the frame's length there, `octets` what was captured of it."""

    link_type: int
    stamp_ns: int
    octets: bytes
    on_wire: int


class _Interface(msgspec.Struct, frozen=True):
    link_type: int
    snap_length: int
    units_per_second: int
    offset_s: int


class _Source:
    """A file read forward, that knows where it is."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.at = 0

    def fault(self, what: str) -> RemoteProtocolError:
        return RemoteProtocolError(f"capture: {what}, at octet {self.at}")

    def take(self, octets: int, what: str) -> bytes:
        found = self._file.read(octets)
        if len(found) < octets:
            raise self.fault(f"{what} cut short")
        self.at += octets
        return found

    def header(self, octets: int, what: str) -> bytes | None:
        """As take, but None at the end of the file."""
        found = self._file.read(octets)
        if not found:
            return None
        if len(found) < octets:
            raise self.fault(f"{what} cut short")
        self.at += octets
        return found


def frames(file: BinaryIO) -> Iterator[CapturedFrame]:
    """All frames of a pcap or pcapng file. Raises RemoteProtocolError where it stops being one."""
    source = _Source(file)
    magic = source.take(4, "file header")
    if magic == SECTION_HEADER.to_bytes(4, "big"):
        yield from _pcapng(source)
        return
    for order in "<>":
        number = struct.unpack(order + "I", magic)[0]
        if number in (PCAP_MICROSECONDS, PCAP_NANOSECONDS):
            yield from _pcap(source, order, 1 if number == PCAP_NANOSECONDS else 1000)
            return
    raise RemoteProtocolError("capture: neither pcap nor pcapng, at octet 0")


def _pcap(source: _Source, order: str, ns_per_fraction: int) -> Iterator[CapturedFrame]:
    major, _, _, _, _, link = struct.unpack(order + "HHiIII", source.take(20, "file header"))
    if major != 2:
        raise source.fault("pcap version is not 2")
    link_type = link & 0x0FFFFFFF  # the rest tells of a frame check sequence
    record = struct.Struct(order + "IIII")
    while (header := source.header(16, "packet header")) is not None:
        seconds, fraction, captured, on_wire = record.unpack(header)
        if captured > MAX_FRAME_OCTETS:
            raise source.fault("packet longer than any capture's")
        if fraction * ns_per_fraction >= NS:
            raise source.fault("fraction of a second above one")
        octets = source.take(captured, "packet")
        yield CapturedFrame(link_type, seconds * NS + fraction * ns_per_fraction, octets, max(on_wire, captured))


def _pcapng(source: _Source) -> Iterator[CapturedFrame]:
    order, interfaces, last_stamp = _section(source), list[_Interface](), 0
    while (header := source.header(8, "block header")) is not None:
        if header[:4] == SECTION_HEADER.to_bytes(4, "big"):
            # Its length cannot be read before its byte order is known.
            order, interfaces = _section(source, header[4:]), []
            continue
        kind, length = struct.unpack(order + "II", header)
        if length < 12 or length % 4 or length > MAX_BLOCK_OCTETS:
            raise source.fault("block of an impossible length")
        body = source.take(length - 12, "block")
        if struct.unpack(order + "I", source.take(4, "block trailer"))[0] != length:
            raise source.fault("block whose two lengths differ")
        if kind == INTERFACE_DESCRIPTION:
            if len(interfaces) == MAX_INTERFACES:
                raise source.fault("more interfaces than any capture's")
            interfaces.append(_interface(source, order, body))
        elif kind in (ENHANCED_PACKET, PACKET, SIMPLE_PACKET):
            frame = _packet(source, order, kind, body, interfaces=interfaces, last_stamp=last_stamp)
            last_stamp = frame.stamp_ns
            yield frame


def _section(source: _Source, length_octets: bytes | None = None) -> str:
    """The rest of a section header block; its byte order."""
    if length_octets is None:
        length_octets = source.take(4, "section header")
    magic = source.take(4, "section header")
    for order in "<>":
        if struct.unpack(order + "I", magic)[0] == BYTE_ORDER_MAGIC:
            break
    else:
        raise source.fault("section header without its byte-order magic")
    length = struct.unpack(order + "I", length_octets)[0]
    if length < 28 or length % 4 or length > MAX_BLOCK_OCTETS:
        raise source.fault("section header of an impossible length")
    body = source.take(length - 16, "section header")
    if struct.unpack(order + "H", body[:2])[0] != 1:
        raise source.fault("pcapng version is not 1")
    if struct.unpack(order + "I", source.take(4, "section header"))[0] != length:
        raise source.fault("section header whose two lengths differ")
    return order


def _interface(source: _Source, order: str, body: bytes) -> _Interface:
    if len(body) < 8:
        raise source.fault("interface description too short")
    link_type, _, snap_length = struct.unpack_from(order + "HHI", body)
    resolution, offset = DEFAULT_RESOLUTION, 0
    at = 8
    while at + 4 <= len(body):
        code, size = struct.unpack_from(order + "HH", body, at)
        value = body[at + 4 : at + 4 + size]
        if code == OPTION_END:
            break
        if len(value) < size:
            raise source.fault("option longer than its block")
        if code == OPTION_TIME_RESOLUTION and size == 1:
            resolution = value[0]
        elif code == OPTION_TIME_OFFSET and size == 8:
            offset = struct.unpack(order + "q", value)[0]
        at += 4 + size + -size % 4
    power = resolution & 0x7F
    if power > (63 if resolution & 0x80 else 19):
        raise source.fault("time resolution beyond 64 bits")
    units = 1 << power if resolution & 0x80 else 10**power
    return _Interface(link_type, snap_length, units, offset)


def _packet(
    source: _Source, order: str, kind: int, body: bytes, *, interfaces: list[_Interface], last_stamp: int
) -> CapturedFrame:
    fixed = 4 if kind == SIMPLE_PACKET else 20
    if len(body) < fixed:
        raise source.fault("packet block too short")
    number = 0
    if kind == SIMPLE_PACKET:
        (on_wire,) = struct.unpack_from(order + "I", body)
        captured = min(on_wire, len(body) - 4)  # what is beyond the snap length is not there
    elif kind == PACKET:
        number, _, high, low, captured, on_wire = struct.unpack_from(order + "HHIIII", body)
    else:
        number, high, low, captured, on_wire = struct.unpack_from(order + "IIIII", body)
    if number >= len(interfaces):
        raise source.fault("packet of an interface that was not described")
    interface = interfaces[number]
    if captured > MAX_FRAME_OCTETS or captured > len(body) - fixed:
        raise source.fault("packet longer than its block")
    if kind == SIMPLE_PACKET:
        if interface.snap_length:
            captured = min(captured, interface.snap_length)
        stamp = last_stamp  # the block has none: the one before is the nearest truth
    else:
        stamp = (high << 32 | low) * NS // interface.units_per_second + interface.offset_s * NS
        if not 0 <= stamp < 1 << 63:
            raise source.fault("time stamp outside of any clock")
    return CapturedFrame(interface.link_type, stamp, body[fixed : fixed + captured], max(on_wire, captured))
