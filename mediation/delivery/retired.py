"""The XIDs that have ended, over all restarts: none of them is ever armed again here, whoever asks.

A file of one XID a line, in hex. Trust: whoever removes lines takes this memory away; the order's own commands and its
window still stand in signed texts, which `authorization.admit` judges anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from mediation.core.interface.x1 import TaskTable
from mediation.runtime import durable

_LINE = re.compile(rb"[0-9a-f]{32}")


class Retired:
    def __init__(self, path: Path) -> None:
        """Reads the file; a line that a crash tore is not an XID. Raises OSError."""
        self._path = path
        self._known: set[bytes] = set()
        self._unsaved: dict[bytes, None] = {}
        self.failures = 0
        self._whole = True
        if path.exists():
            octets = path.read_bytes()
            self._whole = not octets or octets.endswith(b"\n")
            self._known = {bytes.fromhex(line.decode()) for line in octets.split(b"\n") if _LINE.fullmatch(line)}

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
        text = b"" if self._whole else b"\n"
        text += b"".join(xid.hex().encode() + b"\n" for xid in self._unsaved)
        try:
            durable.append(self._path, text)
        except OSError:
            self.failures += 1
            self._whole = False  # perhaps a part of it is there
            return False
        self._unsaved.clear()
        self._whole = True
        return True
