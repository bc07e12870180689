"""One segment file of a spool: pre-written, appended to at a known offset, wiped when the far side has all of it.

Named `EPOCH-FIRST.seg` (two times 16 hex digits), so that a folder listing sorts by position and a damaged header does
not hide what the file holds. Spares are `spare-N.zero`. This module knows files; what the records mean is
`core.record`'s, and which of them may go is `spool`'s.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mediation.core.errors import RemoteProtocolError
from mediation.core.interface import record
from mediation.core.interface.link import Loss, Position, Sent
from mediation.runtime import durable

_NAME: Final = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})\.seg")


class Segment:
    """An open segment. `next` is the number after its last record, `end` where the next record goes."""

    def __init__(self, path: Path, descriptor: int, start: Position, size: int, *, named: bool = True) -> None:
        self.path = path
        self.named = named  # the file's name is durable
        self.descriptor = descriptor
        self.start = start
        self.size = size
        self.next = start.sequence
        self.end = record.SEGMENT_HEADER_OCTETS
        self.damaged = 0
        self.torn = False

    @property
    def room(self) -> int:
        return self.size - self.end

    def append(self, octets: bytes, following: int) -> int:
        """Writes whole records into the page cache, where a crash of this process cannot reach them; their offset.
        Raises OSError, and the segment is then as before.
        """
        at = self.end
        durable.write(self.descriptor, octets, at)
        self.end = at + len(octets)
        self.next = following
        return at

    def sync(self) -> None:
        """Makes the records durable, and the name with the first of them. Raises OSError; what was written since the
        last good one must then be written again.

        fdatasync [openat(folder) fsync close]
        """
        os.fdatasync(self.descriptor)
        if not self.named:
            durable.sync_folder(self.path.parent)
            self.named = True

    def read(self, at: int, size: int) -> bytes:
        return os.pread(self.descriptor, min(size, self.end - at), at)

    def close(self) -> None:
        os.close(self.descriptor)


def path_for(folder: Path, start: Position) -> Path:
    return folder / f"{start.epoch:016x}-{start.sequence:016x}.seg"


def prepare_spare(folder: Path, number: int, size: int) -> Segment:
    """A wiped file without a place in the numbering yet. Raises OSError (disk full)."""
    path = folder / f"spare-{number}.zero"
    path.unlink(missing_ok=True)
    return Segment(path, durable.prepare(path, size), Position(0, 0), size)


def improvise(folder: Path, start: Position, size: int) -> Segment:
    """A segment for a burst that outran the thread: its room is reserved but not pre-written, so its syncs cost more
    (p50 175 µs against 119). Raises OSError (disk full).

    openat fallocate pwrite64
    """
    path = path_for(folder, start)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, durable.MODE)
    try:
        os.posix_fallocate(descriptor, 0, size)
        durable.write(descriptor, record.segment_header(start), 0)
    except OSError:
        os.close(descriptor)
        path.unlink()
        raise
    return Segment(path, descriptor, start, size, named=False)


def place(spare: Segment, folder: Path, start: Position) -> Segment:
    """Gives a spare its place: header, then name. Not durable until `sync`.

    pwrite64 rename
    """
    durable.write(spare.descriptor, record.segment_header(start), 0)
    path = path_for(folder, start)
    spare.path.rename(path)
    return Segment(path, spare.descriptor, start, spare.size, named=False)


def wipe(segment: Segment) -> None:
    """Zeros over everything that was written: delivered messages do not stay in the file. Raises OSError.

    pwrite64 …
    """
    at = 0
    zeros = bytes(durable.WRITE_OCTETS)
    while at < segment.end:
        durable.write(segment.descriptor, zeros[: segment.size - at], at)
        at += len(zeros)


def find(folder: Path, seals: Callable[[int], record.Seals]) -> list[Segment]:
    """The segments that an earlier process left, oldest first, `next` and `end` as their successors or records say.

    `seals` gives the form of an epoch's records.
    """
    found = []
    for path in sorted(folder.iterdir()):
        match = _NAME.fullmatch(path.name)
        if match is None:
            continue
        start = Position(int(match[1], 16), int(match[2], 16))
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        segment = Segment(path, descriptor, start, os.fstat(descriptor).st_size)
        segment.end = segment.size
        try:
            segment.damaged = int(record.parse_segment_header(segment.read(0, record.SEGMENT_HEADER_OCTETS)) != start)
        except RemoteProtocolError:
            segment.damaged = 1
        found.append(segment)
    for segment, following in itertools.pairwise(found):
        segment.next = following.start.sequence
    if found:
        _recover_tail(found[-1], seals(found[-1].start.epoch))
    return found


def _recover_tail(segment: Segment, form: record.Seals) -> None:
    """Nobody wrote down where the newest segment ends: its records tell."""
    octets = segment.read(0, segment.size)
    scanned = record.scan(octets, form, segment.start.sequence, at=record.SEGMENT_HEADER_OCTETS)
    segment.end = scanned.end
    segment.torn = scanned.torn
    segment.damaged += scanned.damaged
    if scanned.events:
        segment.next = last_number(scanned.events[-1]) + 1


def first_number(event: Sent) -> int:
    return event.first if isinstance(event, Loss) else event.sequence


def last_number(event: Sent) -> int:
    return event.last if isinstance(event, Loss) else event.sequence
