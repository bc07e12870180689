"""Which orders a function was told to stop, over its restarts: none of them is ever armed again here, whoever asks.

A file of XIDs, 16 octets each, appended and synchronised; it stays open, because a confined process can open none.
Trust: who adds to it can stop interceptions, which is always possible; who takes from it gains little, since an order
with a stop among its acts is refused by `authorization` as well. For functions that hold no key which could hide how
many there are (the mediator has delivery/retired.py).
"""

from __future__ import annotations

import os
from pathlib import Path

from mediation.core.errors import ConfigurationError
from mediation.core.interface.x1 import TaskTable

XID_OCTETS = 16


class StoppedTasks:
    """`xids` are those that may never be armed again; `unrecorded` counts stops whose record did not reach the disk:
    they hold until a restart."""

    def __init__(self, path: Path) -> None:
        """Opens or makes the file. Raises ConfigurationError."""
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            octets = os.pread(self._fd, TaskTable.MAX_STOPPED * XID_OCTETS, 0)
        except OSError as error:
            raise ConfigurationError(f"{path.name}: {error.strerror}") from error
        # A write that a crash cut short leaves a part of an XID at the end; the next one takes its place.
        self._end = len(octets) // XID_OCTETS * XID_OCTETS
        self.xids = {octets[at : at + XID_OCTETS] for at in range(0, self._end, XID_OCTETS)}
        self.unrecorded = 0

    def fileno(self) -> int:
        return self._fd

    def add(self, xid: bytes) -> None:
        """pwrite64 fdatasync; nothing for one that is there, or beyond the bound. Never raises: a stop must not fail
        for a full disk."""
        if xid in self.xids or len(self.xids) >= TaskTable.MAX_STOPPED:
            return
        try:
            os.pwrite(self._fd, xid, self._end)
            os.fdatasync(self._fd)
        except OSError:
            self.unrecorded += 1
            return
        self._end += XID_OCTETS
        self.xids.add(xid)

    def close(self) -> None:
        os.close(self._fd)
