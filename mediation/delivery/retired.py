"""The XIDs that have ended, over all restarts: none of them is ever armed again here, whoever asks.

A file of one XID a slot, 16 octets. An XID is the beginning of a hash, and free slots hold octets that look like one
(runtime/cover.py), in no order: who steals the disk learns the class of how many orders have ended. Trust: whoever
empties slots takes this memory away; the order's own commands and its window still stand in signed texts, which
`authorization.admit` judges anew.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from mediation.core.interface.x1 import TaskTable
from mediation.runtime import durable
from mediation.runtime.cover import NAME_OCTETS, is_made_up, made_up, wanted


class Retired:
    def __init__(self, path: Path, key: bytes) -> None:
        """Reads the file, or makes it; a slot that a crash tore is some other order's that never was. `key` is what
        free slots are known by. Raises OSError."""
        self._path = path
        self._key = key
        self._known: set[bytes] = set()
        self._unsaved: dict[bytes, None] = {}
        self.failures = 0
        octets = path.read_bytes() if path.exists() else b""
        self._size = len(octets) // NAME_OCTETS
        self._free: list[int] = []
        for slot in range(self._size):
            xid = octets[slot * NAME_OCTETS : (slot + 1) * NAME_OCTETS]
            if is_made_up(xid, key):
                self._free.append(slot)
            else:
                self._known.add(xid)
        self._write({})

    def __contains__(self, xid: bytes) -> bool:
        return xid in self._known

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._known)

    def add(self, xids: Iterable[bytes]) -> bool:
        """Remembers them at once, and durably if the disk lets us; else `save` tries again. Never raises."""
        for xid in xids:
            # Once so many have ended, the task table arms nothing any more, and this file need not grow.
            if xid not in self._known and len(self._known) < TaskTable.MAX_STOPPED:
                self._known.add(xid)
                self._unsaved[xid] = None
        return self.save()

    def save(self) -> bool:
        """Writes what is not written yet; False when the disk refuses. Blocks for one sync."""
        if not self._unsaved:
            return True
        try:
            self._write(self._unsaved)
        except OSError:
            self.failures += 1
            return False
        self._unsaved.clear()
        return True

    def _write(self, xids: Iterable[bytes]) -> None:
        """Into free slots, of which there are as many as their class has. Raises OSError, and no slot is taken then.

        openat(O_CREAT) pwrite64 … fdatasync [openat(folder) fsync close] close
        """
        waiting = list(xids)
        needed = wanted(self._size - len(self._free) + len(waiting))
        grows = needed > self._size
        if not waiting and not grows:
            return
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, durable.MODE)
        try:
            if grows:
                more = b"".join(made_up(self._key) for _ in range(needed - self._size))
                durable.write(descriptor, more, self._size * NAME_OCTETS)
                self._free += range(self._size, needed)
                self._size = needed
            secrets.SystemRandom().shuffle(self._free)
            for slot, xid in zip(self._free, waiting, strict=False):
                durable.write(descriptor, xid, slot * NAME_OCTETS)
            os.fdatasync(descriptor)
            if grows:
                durable.sync_folder(self._path.parent)
        finally:
            os.close(descriptor)
        del self._free[: len(waiting)]
