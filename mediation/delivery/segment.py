"""One segment file of a spool: pre-written, appended to at a known offset, wiped when the far side has all of it.

    NAME.seg     NAME is 32 hex digits of chance; under a key stream of that nonce (runtime/keystream.py), whose octets
                 are those of the file: header, records, zeros, and the header again in the last 64 octets
    NAME.new     one that is being made or wiped; what a crash leaves of it is nobody's

Two headers, so that a damaged one does not hide what the file holds. A spare is a segment with the position SPARE. To
who has no key all segments are alike, used or not: their number and size is what is left to see (SEC-19). This module
knows files; what the records mean is `core.record`'s, and which of them may go is `spool`'s.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from mediation.core.errors import RemoteProtocolError
from mediation.core.interface import record
from mediation.core.interface.link import Loss, Position, Sent
from mediation.runtime import durable
from mediation.runtime.keystream import NONCE_OCTETS, Keystream

HEADER_OCTETS: Final = record.SEGMENT_HEADER_OCTETS
SPARE: Final = Position(0, 0)
_NAME: Final = re.compile(r"[0-9a-f]{32}\.seg")


class Segment:
    """An open segment. `next` is the number after its last record, `end` where the next record goes, `size` where
    records must end."""

    def __init__(self, path: Path, descriptor: int, start: Position, octets: int, key: bytes) -> None:
        """`octets` is the file's size, `key` 32 octets for its stream."""
        self.named = True  # the file's name is durable
        self.descriptor = descriptor
        self.size = octets - HEADER_OCTETS
        self.damaged = 0
        self.torn = False
        self._key = key
        self.begin(path)
        self.start = start
        self.next = start.sequence

    def begin(self, path: Path) -> None:
        """The file is `path` from now on, and nothing is in it."""
        self.path = path
        self._nonce = bytes.fromhex(path.stem)
        self._appending = self._stream()
        self.start, self.next, self.end = SPARE, 0, HEADER_OCTETS

    @property
    def octets(self) -> int:
        """The file's size."""
        return self.size + HEADER_OCTETS

    @property
    def room(self) -> int:
        return self.size - self.end

    def append(self, octets: bytes, following: int) -> int:
        """Writes whole records into the page cache, where a crash of this process cannot reach them; their offset.
        Raises OSError, and the segment is then as before.
        """
        at = self.end
        durable.write(self.descriptor, self._appending.apply(octets, at), at)
        self.end = at + len(octets)
        self.next = following
        return at

    def write(self, octets: bytes, at: int) -> None:
        """What stands at `at`, again. Raises OSError. For any thread."""
        durable.write(self.descriptor, self._stream().apply(octets, at), at)

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
        """For any thread."""
        return self.show(at, min(size, self.end - at))

    def show(self, at: int, size: int) -> bytes:
        return self._stream().apply(os.pread(self.descriptor, size, at), at)

    def mark(self, start: Position) -> None:
        """Both headers. Raises OSError."""
        header = record.segment_header(start)
        self.write(header, 0)
        self.write(header, self.size)

    def fill(self) -> None:
        """Makes a spare of the file: zeros from one end to the other. Raises OSError.

        pwrite64 …
        """
        self._stream().fill(self.descriptor, 0, self.octets)
        self.mark(SPARE)

    def close(self) -> None:
        os.close(self.descriptor)

    def _stream(self) -> Keystream:
        return Keystream(self._key, self._nonce, begins=0)


def another(folder: Path) -> Path:
    """A name for a file that is not ready."""
    return folder / f"{os.urandom(NONCE_OCTETS).hex()}.new"


def prepare_spare(folder: Path, octets: int, key: bytes) -> Segment:
    """A pre-written file without a place in the numbering yet: writes into it change no metadata, so that fdatasync(2)
    is one write and one flush (p50 119 µs against 175 in a growing file). Raises OSError (disk full), nothing is left.

    openat(O_CREAT|O_EXCL) fallocate pwrite64 … fsync rename openat(folder) fsync close
    """
    made = _create(folder, octets, key)
    try:
        made.fill()
        os.fsync(made.descriptor)
        _put(made)
        durable.sync_folder(folder)
    except BaseException:
        _drop(made)
        raise
    return made


def improvise(folder: Path, start: Position, octets: int, key: bytes) -> Segment:
    """A segment for a burst that outran the thread: not synced before it is used, so its syncs cost more. Raises
    OSError (disk full).

    openat(O_CREAT|O_EXCL) fallocate pwrite64 … rename
    """
    made = _create(folder, octets, key)
    try:
        made.fill()
        _put(made)
        return place(made, start, named=False)
    except BaseException:
        _drop(made)
        raise


def place(spare: Segment, start: Position, *, named: bool = True) -> Segment:
    """Gives a spare its place: the headers. Not durable until `sync`; nor is its name, if it is not `named`. Raises
    OSError.

    pwrite64 pwrite64
    """
    spare.mark(start)
    spare.start, spare.next = start, start.sequence
    spare.named = named
    return spare


def wipe(segment: Segment) -> None:
    """Delivered messages do not stay in the file: it is a spare, with another name and other octets. Its name is not
    durable. Raises OSError, and it is to be wiped again.

    rename pwrite64 … rename
    """
    path = another(segment.path.parent)
    segment.path.rename(path)
    segment.begin(path)
    segment.named = False
    segment.fill()
    _put(segment)


class Found(NamedTuple):
    """Of an earlier process, oldest first; `lost` files say no longer what they held."""

    segments: list[Segment]
    lost: int


def find(folder: Path, key: bytes, seals: Callable[[int], record.Seals]) -> Found:
    """The segments that an earlier process left, `next` and `end` as their successors or records say; its spares, and
    what it had not made or wiped to the end, are removed.

    `key` is that of the streams; `seals` gives the form of an epoch's records.
    """
    found: list[Segment] = []
    lost = 0
    for path in sorted(folder.iterdir()):
        if path.suffix == ".new":
            path.unlink()
        if _NAME.fullmatch(path.name) is None:
            continue
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        segment = Segment(path, descriptor, SPARE, max(os.fstat(descriptor).st_size, 2 * HEADER_OCTETS), key)
        headers = [start for at in (0, segment.size) if (start := _header(segment.show(at, HEADER_OCTETS))) is not None]
        segment.start = max(headers, default=SPARE)  # one that says more was written later
        if segment.start == SPARE:
            lost += not headers
            _drop(segment)
            continue
        segment.next = segment.start.sequence
        segment.damaged = int(len(headers) < 2)
        segment.end = segment.size
        found.append(segment)
    found.sort(key=lambda segment: segment.start)
    for segment, following in itertools.pairwise(found):
        segment.next = following.start.sequence
    if found:
        _recover_tail(found[-1], seals(found[-1].start.epoch))
    return Found(found, lost)


def _header(octets: bytes) -> Position | None:
    try:
        return record.parse_segment_header(octets)
    except RemoteProtocolError:
        return None


def _create(folder: Path, octets: int, key: bytes) -> Segment:
    path = another(folder)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, durable.MODE)
    made = Segment(path, descriptor, SPARE, octets, key)
    try:
        os.posix_fallocate(descriptor, 0, octets)  # a full disk is known before the first octet is written
    except BaseException:
        _drop(made)
        raise
    return made


def _put(segment: Segment) -> None:
    path = segment.path.with_suffix(".seg")
    segment.path.rename(path)
    segment.path = path


def _drop(segment: Segment) -> None:
    segment.close()
    segment.path.unlink(missing_ok=True)


def _recover_tail(segment: Segment, form: record.Seals) -> None:
    """Nobody wrote down where the newest segment ends: its records tell."""
    octets = segment.read(0, segment.size)
    scanned = record.scan(octets, form, segment.start.sequence, at=HEADER_OCTETS)
    segment.end = scanned.end
    segment.torn = scanned.torn
    segment.damaged += scanned.damaged
    if scanned.events:
        segment.next = last_number(scanned.events[-1]) + 1


def first_number(event: Sent) -> int:
    return event.first if isinstance(event, Loss) else event.sequence


def last_number(event: Sent) -> int:
    return event.last if isinstance(event, Loss) else event.sequence
