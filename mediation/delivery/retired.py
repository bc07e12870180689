"""The XIDs that have ended, over all restarts: none of them is ever armed again here, whoever asks.

A file of slots (runtime/slots.py), one for each XID: who steals the disk learns the class of how many orders have
ended. Trust: whoever empties slots takes this memory away; the order's own commands and its window still stand in
signed texts, which `authorization.admit` judges anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from mediation.core.interface.task_table import TaskTable
from mediation.runtime.slots import Slots

XID_OCTETS = 16


class Retired:
    def __init__(self, path: Path, key: bytes) -> None:
        """Reads the file, or makes it. `key` is the vault's for names of the journal. Raises OSError."""
        self._slots = Slots(path, key)
        self._known = {record[:XID_OCTETS] for record in self._slots.records}
        self._unsaved: dict[bytes, None] = {}
        self.failures = 0

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
        try:
            self._slots.add(self._unsaved)
        except OSError:
            self.failures += 1
            return False
        self._unsaved.clear()
        return True

    def close(self) -> None:
        self._slots.close()
