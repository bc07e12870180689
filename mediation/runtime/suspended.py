"""Which orders a function was told to suspend, over its restarts: none of them goes on without an officer's later act.

A file of records of 24 octets, XID and the number of the act, appended and synchronised; it stays open, because a
confined process can open none. Trust: who adds to it can suspend interceptions, which is always possible; who takes
from it takes this memory away, and the officer's acts still stand in signed texts that `authorization.admit` judges.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

from mediation.core.errors import ConfigurationError
from mediation.runtime import durable

RECORD = struct.Struct("!16sQ")
MAX_RECORDS = 1_000_000  # then nothing more is remembered here; the table of tasks still is


class SuspendedTasks:
    """`unrecorded` counts suspensions whose record did not reach the disk; they hold until a restart."""

    def __init__(self, path: Path) -> None:
        """Opens or makes the file. Raises ConfigurationError."""
        try:
            self._fd = durable.keep_open(path)
            octets = os.pread(self._fd, MAX_RECORDS * RECORD.size, 0)
        except OSError as error:
            raise ConfigurationError(f"{path.name}: {error.strerror}") from error
        # A record that a crash cut short: the next one takes its place.
        self._end = len(octets) // RECORD.size * RECORD.size
        self._known: dict[bytes, int] = {}
        for xid, sequence in RECORD.iter_unpack(octets[: self._end]):
            self._known[xid] = max(sequence, self._known.get(xid, 0))
        self.unrecorded = 0

    def fileno(self) -> int:
        return self._fd

    def __iter__(self) -> Iterator[tuple[bytes, int]]:
        """(XID, number of the act that suspended it)."""
        return iter(list(self._known.items()))

    def add(self, xid: bytes, sequence: int) -> None:
        """pwrite64 fdatasync. Never raises: a suspension must not fail for a full disk."""
        if self._known.get(xid, -1) >= sequence:
            return
        self._known[xid] = sequence
        if self._end >= MAX_RECORDS * RECORD.size:
            self.unrecorded += 1
            return
        try:
            durable.write(self._fd, RECORD.pack(xid, sequence), self._end)
            os.fdatasync(self._fd)
        except OSError:
            self.unrecorded += 1
            return
        self._end += RECORD.size

    def close(self) -> None:
        os.close(self._fd)
