"""How the spool lays its records on a disk, and how what a crash left is read back.

    segment   64 octets of header, then records, then zeros up to the file's size
    header    magic 8, u16 version, u16 zero, u32 CRC-32 of the rest, u64 epoch, u64 first sequence, zeros
    record    marker 4, u32 CRC-32 of the rest, u32 octets, u8 kind, u8 flags, u32 stamp error in microseconds,
              u64 sequence, u64 received ns, octets (all big-endian)

The CRC starts from the epoch, so a record of an earlier use of the same file never passes for one of this. It finds
accidents: a torn write, a flipped bit. It is no defence against an attacker who may write as the mediator's user; he
could as well send what he likes. Delivered octets are protected by TLS, stored ones by the owner of the folder.

A crash may leave any subset of the last pages written, so a bad record does not end a segment: reading goes on at the
next marker that starts a good record of a later number, and the numbers between are reported lost (SEC-9). Octets in,
events out; no file, no clock.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final, NamedTuple

from mediation.core.errors import LocalProtocolError, RemoteProtocolError
from mediation.core.link import MAX_MESSAGE_OCTETS, Data, Loss, LossClass, Position, Sent

MAGIC: Final = b"MEDSPOOL"
VERSION: Final = 1
MARKER: Final = b"\xd7REC"  # no octet sequence of UTF-8 text or of our BER tags begins so
SEGMENT_HEADER_OCTETS: Final = 64
MAX_RECORD_OCTETS: Final = MAX_MESSAGE_OCTETS

_SEGMENT = struct.Struct("!8sHHI")
_POSITION = struct.Struct("!QQ")
_RECORD = struct.Struct("!4sIIBBIQQ")
_CHECKED = struct.Struct("!IBBIQQ")  # what of the record's header stands behind its CRC
_LOSS = struct.Struct("!QB")
RECORD_HEADER_OCTETS: Final = _RECORD.size
LOSS_RECORD_OCTETS: Final = _RECORD.size + _LOSS.size

_MESSAGE, _LOST = 1, 2
_UNDISCIPLINED = 0x01


class Scanned(NamedTuple):
    """What `scan` found: the events, where the next record would begin, and what was wrong."""

    events: list[Sent]
    end: int
    damaged: int  # records that failed their check and were replaced by a Loss
    torn: bool  # octets that are no record stand after the last good one


def segment_header(start: Position) -> bytes:
    """The first 64 octets of a segment whose first record has the number `start`."""
    body = _POSITION.pack(*start).ljust(SEGMENT_HEADER_OCTETS - _SEGMENT.size, b"\0")
    return _SEGMENT.pack(MAGIC, VERSION, 0, zlib.crc32(body)) + body


def parse_segment_header(octets: bytes) -> Position:
    """The number of a segment's first record. Raises RemoteProtocolError when this is no segment of ours."""
    if len(octets) < SEGMENT_HEADER_OCTETS:
        raise RemoteProtocolError("spool: segment shorter than its header")
    magic, version, _, check = _SEGMENT.unpack_from(octets)
    body = octets[_SEGMENT.size : SEGMENT_HEADER_OCTETS]
    if magic != MAGIC or version != VERSION or check != zlib.crc32(body):
        raise RemoteProtocolError("spool: not a segment header")
    return Position(*_POSITION.unpack_from(body))


def encode(event: Sent, epoch: int) -> bytes:
    """One record. Raises LocalProtocolError when the message is longer than a record may be."""
    if type(event) is Data:
        octets, kind = event.octets, _MESSAGE
        flags = 0 if event.disciplined else _UNDISCIPLINED
        checked = _CHECKED.pack(len(octets), kind, flags, event.error_us, event.sequence, event.received_ns)
        if len(octets) > MAX_RECORD_OCTETS:
            raise LocalProtocolError("spool: message longer than a record")
    else:
        assert isinstance(event, Loss)
        octets = _LOSS.pack(event.last, event.loss_class)
        checked = _CHECKED.pack(len(octets), _LOST, 0, 0, event.first, 0)
    check = zlib.crc32(octets, zlib.crc32(checked, seed(epoch)))
    return MARKER + check.to_bytes(4, "big") + checked + octets


def seed(epoch: int) -> int:
    """What the CRC of an epoch's records starts from."""
    return zlib.crc32(epoch.to_bytes(8, "big"))


def scan(octets: bytes, epoch: int, expected: int, *, at: int = 0, limit: int | None = None) -> Scanned:
    """Reads records from `at` on, the first of which should have the number `expected`, at most `limit` events.

    Never raises: whatever a disk holds becomes events, an end, or a counted damage.
    """
    events: list[Sent] = []
    damaged = 0
    start = seed(epoch)
    while limit is None or len(events) < limit:
        found = _record(octets, at, start)
        if found is None or found[0].first_number < expected:
            candidate = _resume(octets, at, start, expected)
            if candidate is None:
                return Scanned(events, at, damaged, any(octets[at : at + RECORD_HEADER_OCTETS]))
            at, found = candidate
        if found[0].first_number > expected:
            events.append(Loss(expected, found[0].first_number - 1, LossClass.CORRUPT))
            damaged += 1
        events.append(found[0].event)
        expected = found[0].last_number + 1
        at = found[1]
    return Scanned(events, at, damaged, False)


class _Found(NamedTuple):
    event: Sent
    first_number: int
    last_number: int


def _record(octets: bytes, at: int, start: int) -> tuple[_Found, int] | None:
    """The record at `at` and where it ends; None when there is no good one."""
    if at + RECORD_HEADER_OCTETS > len(octets):
        return None
    marker, check, size, kind, flags, error_us, sequence, received_ns = _RECORD.unpack_from(octets, at)
    end = at + RECORD_HEADER_OCTETS + size
    if marker != MARKER or size > MAX_RECORD_OCTETS or end > len(octets):
        return None
    if check != zlib.crc32(memoryview(octets)[at + 8 : end], start):
        return None
    body = octets[at + RECORD_HEADER_OCTETS : end]
    if kind == _MESSAGE:
        return _Found(Data(sequence, received_ns, error_us, not flags & _UNDISCIPLINED, body), sequence, sequence), end
    if kind == _LOST and size == _LOSS.size:
        last, loss_class = _LOSS.unpack(body)
        if last >= sequence and loss_class in set(LossClass):
            return _Found(Loss(sequence, last, LossClass(loss_class)), sequence, last), end
    return None


def _resume(octets: bytes, at: int, start: int, expected: int) -> tuple[int, tuple[_Found, int]] | None:
    """The next place after `at` where a good record of a later number begins, and that record."""
    at = octets.find(MARKER, at + 1)
    while at >= 0:
        found = _record(octets, at, start)
        if found is not None and found[0].first_number > expected:
            return at, found
        at = octets.find(MARKER, at + 1)
    return None
