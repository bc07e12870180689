"""What a collection function received over one link, and thereby what it expects next: one file says both.

A message and the position after it become durable in the same write, so no crash can make the receiver acknowledge
what it has not, or take twice what it has. Files are `EPOCH-FIRST.journal` in the framing of core/interface/record;
they are the agency's own and are never deleted here.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from mediation.core.interface import record
from mediation.core.interface.link import Loss, Position, Sent
from mediation.runtime import durable

ROLL_OCTETS: Final = 16 << 20  # what has to be read at a start
_NAME: Final = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})\.journal")


class Journal:
    """`position` is the next number expected, None before the first greeting."""

    def __init__(self, folder: Path) -> None:
        """Opens `folder` and cuts off what a crash left torn. Raises OSError."""
        durable.make_folder(folder)
        self.folder = folder
        self.position: Position | None = None
        self.damaged = 0
        self._descriptor = -1
        self._end = 0
        self._retired: list[int] = []
        newest = max((path for path in folder.iterdir() if _NAME.fullmatch(path.name)), default=None)
        if newest is not None:
            self._recover(newest)

    def begin(self, position: Position) -> None:
        """The numbers go on at `position`, of a newer epoch or unknown before. Raises OSError.

        openat pwrite64 fsync openat(folder) fsync close
        """
        if position == self.position:
            return
        path = self.folder / f"{position.epoch:016x}-{position.sequence:016x}.journal"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, durable.MODE)
        durable.write(descriptor, record.segment_header(position), 0)
        os.fsync(descriptor)
        durable.sync_folder(self.folder)
        if self._descriptor >= 0:
            self._retired.append(self._descriptor)
        self._descriptor, self._end, self.position = descriptor, record.SEGMENT_HEADER_OCTETS, position

    def append(self, events: list[Sent]) -> None:
        """Into the page cache; durable after `sync`. Raises OSError, and the journal is then as before."""
        assert self.position is not None
        encode = record.Clear(self.position.epoch).encode
        octets = b"".join([encode(event) for event in events])
        durable.write(self._descriptor, octets, self._end)
        self._end += len(octets)
        last = events[-1]
        self.position = Position(self.position.epoch, (last.last if isinstance(last, Loss) else last.sequence) + 1)
        if self._end >= ROLL_OCTETS:
            self._roll()

    def sync(self) -> None:
        """May run in another thread than `append`. Raises OSError.

        fdatasync …
        """
        retired, self._retired = self._retired, []
        for descriptor in retired:
            os.fdatasync(descriptor)
            os.close(descriptor)
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        for descriptor in (*self._retired, self._descriptor):
            if descriptor >= 0:
                os.close(descriptor)
        self._retired, self._descriptor = [], -1

    def _roll(self) -> None:
        position, self.position = self.position, None
        assert position is not None
        self.begin(position)

    def _recover(self, path: Path) -> None:
        match = _NAME.fullmatch(path.name)
        assert match is not None
        start = Position(int(match[1], 16), int(match[2], 16))
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        octets = path.read_bytes()
        scanned = record.scan(octets, record.Clear(start.epoch), start.sequence, at=record.SEGMENT_HEADER_OCTETS)
        self.damaged = scanned.damaged + scanned.torn
        self._end = scanned.end
        if scanned.end < len(octets):
            os.ftruncate(self._descriptor, scanned.end)
            os.fsync(self._descriptor)
        following = start.sequence
        if scanned.events:
            last = scanned.events[-1]
            following = (last.last if isinstance(last, Loss) else last.sequence) + 1
        self.position = Position(start.epoch, following)
