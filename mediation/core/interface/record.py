"""How the spool lays its records on a disk, and how what a crash left is read back.

    segment   64 octets of header, then records, then zeros up to the file's size
    header    magic 8, u16 version, u16 zero, u32 CRC-32 of the rest, u64 epoch, u64 first sequence, zeros
    sealed    marker 4, u32 octets, sealed (core/ledger/sealing.py): u8 kind, u8 flags, u32 stamp error in microseconds,
              u64 sequence, u64 received ns, octets
    clear     marker 4, u32 CRC-32 of the rest, u32 octets, u8 kind, u8 flags, u32 stamp error in microseconds,
              u64 sequence, u64 received ns, octets (all big-endian)

The carrier's spool seals each record, beside its epoch and its place: one that is changed, of another epoch or of
another agency's spool is no record. What stays to be seen is how many there are, how long, and when they were written.
The collection function's journal is the agency's own and has the clear form, whose CRC starts from the epoch and finds
accidents: a torn write, a flipped bit.

A crash may leave any subset of the last pages written, so a bad record does not end a segment: reading goes on at the
next marker that starts a good record of a later number, and the numbers between are reported lost (SEC-9). Octets in,
events out; no file, no clock.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final, NamedTuple

from mediation.core.errors import LocalProtocolError, RemoteProtocolError
from mediation.core.interface.link import MAX_MESSAGE_OCTETS, Data, Loss, LossClass, Position, Sent
from mediation.core.ledger.sealing import OVERHEAD_OCTETS, Sealer, SealError

MAGIC: Final = b"MEDSPOOL"
VERSION: Final = 2  # 2: sealed
MARKER: Final = b"\xd7REC"  # no octet sequence of UTF-8 text or of our BER tags begins so
SEGMENT_HEADER_OCTETS: Final = 64
MAX_RECORD_OCTETS: Final = MAX_MESSAGE_OCTETS

_SEGMENT = struct.Struct("!8sHHI")
_POSITION = struct.Struct("!QQ")
_RECORD = struct.Struct("!4sIIBBIQQ")
_CHECKED = struct.Struct("!IBBIQQ")  # what of the record's header stands behind its CRC
_LOSS = struct.Struct("!QB")
_SEALED = struct.Struct("!4sI")
_INSIDE = struct.Struct("!BBIQQ")
SEALED_OVERHEAD_OCTETS: Final = _SEALED.size + _INSIDE.size + OVERHEAD_OCTETS
RECORD_HEADER_OCTETS: Final = _RECORD.size

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


class _Found(NamedTuple):
    event: Sent
    first_number: int
    last_number: int


class Seals:
    """How one spool's records of one epoch are sealed: `place` is the spool's name, of any length."""

    def __init__(self, box: Sealer, place: bytes, epoch: int) -> None:
        self._box = box
        self._associated = epoch.to_bytes(8, "big") + place

    def encode(self, event: Sent) -> bytes:
        """One record. Raises LocalProtocolError when the message is longer than a record may be."""
        kind, flags, error_us, sequence, received_ns, octets = _parts(event)
        sealed = self._box.seal(_INSIDE.pack(kind, flags, error_us, sequence, received_ns) + octets, self._associated)
        return _SEALED.pack(MARKER, len(sealed)) + sealed

    def record(self, octets: bytes, at: int) -> tuple[_Found, int] | None:
        """The record at `at` and where it ends; None when there is no good one."""
        if at + SEALED_OVERHEAD_OCTETS > len(octets):
            return None
        marker, size = _SEALED.unpack_from(octets, at)
        begin, end = at + _SEALED.size, at + _SEALED.size + size
        if marker != MARKER or size > MAX_RECORD_OCTETS + SEALED_OVERHEAD_OCTETS or end > len(octets):
            return None
        try:
            inside = self._box.open(memoryview(octets)[begin:end], self._associated)
            kind, flags, error_us, sequence, received_ns = _INSIDE.unpack_from(inside)
        except (SealError, struct.error):
            return None
        found = _event((kind, flags, error_us, sequence, received_ns), inside[_INSIDE.size :])
        return None if found is None else (found, end)


class Clear:
    """Records of one epoch with a check sum alone, for what is not the carrier's."""

    def __init__(self, epoch: int) -> None:
        self._start = zlib.crc32(epoch.to_bytes(8, "big"))

    def encode(self, event: Sent) -> bytes:
        """One record. Raises LocalProtocolError when the message is longer than a record may be."""
        kind, flags, error_us, sequence, received_ns, octets = _parts(event)
        checked = _CHECKED.pack(len(octets), kind, flags, error_us, sequence, received_ns)
        check = zlib.crc32(octets, zlib.crc32(checked, self._start))
        return MARKER + check.to_bytes(4, "big") + checked + octets

    def record(self, octets: bytes, at: int) -> tuple[_Found, int] | None:
        """The record at `at` and where it ends; None when there is no good one."""
        if at + RECORD_HEADER_OCTETS > len(octets):
            return None
        marker, check, size, kind, flags, error_us, sequence, received_ns = _RECORD.unpack_from(octets, at)
        end = at + RECORD_HEADER_OCTETS + size
        if marker != MARKER or size > MAX_RECORD_OCTETS or end > len(octets):
            return None
        if check != zlib.crc32(memoryview(octets)[at + 8 : end], self._start):
            return None
        found = _event((kind, flags, error_us, sequence, received_ns), octets[at + RECORD_HEADER_OCTETS : end])
        return None if found is None else (found, end)


Form = Seals | Clear


def _parts(event: Sent) -> tuple[int, int, int, int, int, bytes]:
    if type(event) is Data:
        if len(event.octets) > MAX_RECORD_OCTETS:
            raise LocalProtocolError("spool: message longer than a record")
        flags = 0 if event.disciplined else _UNDISCIPLINED
        return _MESSAGE, flags, event.error_us, event.sequence, event.received_ns, event.octets
    assert isinstance(event, Loss)
    return _LOST, 0, 0, event.first, 0, _LOSS.pack(event.last, event.loss_class)


def _event(head: tuple[int, int, int, int, int], body: bytes) -> _Found | None:
    kind, flags, error_us, sequence, received_ns = head
    if kind == _MESSAGE:
        return _Found(Data(sequence, received_ns, error_us, not flags & _UNDISCIPLINED, body), sequence, sequence)
    if kind == _LOST and len(body) == _LOSS.size:
        last, loss_class = _LOSS.unpack(body)
        if last >= sequence and loss_class in set(LossClass):
            return _Found(Loss(sequence, last, LossClass(loss_class)), sequence, last)
    return None


def scan(octets: bytes, form: Form, expected: int, *, at: int = 0, limit: int | None = None) -> Scanned:
    """Reads records from `at` on, the first of which should have the number `expected`, at most `limit` events.

    Never raises: whatever a disk holds becomes events, an end, or a counted damage.
    """
    events: list[Sent] = []
    damaged = 0
    while limit is None or len(events) < limit:
        found = form.record(octets, at)
        if found is None or found[0].first_number < expected:
            candidate = _resume(octets, at, form, expected)
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


def _resume(octets: bytes, at: int, form: Form, expected: int) -> tuple[int, tuple[_Found, int]] | None:
    """The next place after `at` where a good record of a later number begins, and that record."""
    at = octets.find(MARKER, at + 1)
    while at >= 0:
        found = form.record(octets, at)
        if found is not None and found[0].first_number > expected:
            return at, found
        at = octets.find(MARKER, at + 1)
    return None
