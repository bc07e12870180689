"""Which orders a function was told to suspend, over its restarts: none of them goes on without an officer's later act.

A file of slots (runtime/slots.py), each with an XID and the number of the act; a restart keeps the newest of an order.
It stays open, because a confined process can open none. Trust: who adds to it can suspend interceptions, which is
always possible; who takes from it takes this memory away, and the officer's acts still stand in signed texts that
`authorization.admit` judges.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from mediation.core.errors import ConfigurationError
from mediation.runtime.slots import Slots

RECORD = struct.Struct("!16sQ")
MAX_RECORDS = 1_000_000  # then nothing more is remembered here; the table of tasks still is


class SuspendedTasks:
    """`unrecorded` counts suspensions whose record did not reach the disk; they hold until a restart."""

    def __init__(self, path: Path, key: bytes) -> None:
        """Opens or makes the file. `key` is 32 octets of the vault's. Raises ConfigurationError."""
        try:
            self._slots = Slots(path, key, _newest)
        except OSError as error:
            raise ConfigurationError(f"{path.name}: {error.strerror}") from error
        self._known = _known(self._slots.records)
        self._count = len(self._slots.records)
        self.unrecorded = 0

    def fileno(self) -> int:
        return self._slots.fileno()

    def __iter__(self) -> Iterator[tuple[bytes, int]]:
        """(XID, number of the act that suspended it)."""
        return iter(list(self._known.items()))

    def add(self, xid: bytes, sequence: int) -> None:
        """pwrite64 fdatasync. Never raises: a suspension must not fail for a full disk."""
        if self._known.get(xid, -1) >= sequence:
            return
        self._known[xid] = sequence
        if self._count >= MAX_RECORDS:
            self.unrecorded += 1
            return
        try:
            self._slots.add([RECORD.pack(xid, sequence)])
        except OSError:
            self.unrecorded += 1
            return
        self._count += 1

    def close(self) -> None:
        self._slots.close()


def _known(records: Sequence[bytes]) -> dict[bytes, int]:
    known: dict[bytes, int] = {}
    for record in records:
        xid, sequence = RECORD.unpack_from(record)
        known[xid] = max(sequence, known.get(xid, 0))
    return known


def _newest(records: Sequence[bytes]) -> list[bytes]:
    return [RECORD.pack(*each) for each in _known(records).items()]
