"""A ledger's files as they stood at one moment, taken beside the one who writes them.

An export is read by a thread while entries are made, and while padding is: of files that were read one after the other
some would be older than the checkpoint and some newer, and a good ledger would look like a forged one. Answers for
files that belong together, as far as a reader can see; whether they are a ledger is for `verify` to say, which asks for
newer ones (`renew`) where an entry was just being made.
"""

from __future__ import annotations

from typing import NamedTuple

from mediation.administration.ledger.tiles import Folder, directly_in

PASSES = 20  # each reads what the writer changed during the one before: after the first, a few files


class _Mark(NamedTuple):
    """Of a file: it changes with every writing (a replaced file is another inode, an appended one is longer)."""

    inode: int
    octets: int
    modified_ns: int


class Snapshot:
    """The files of a folder, records opened. `renew` brings it up to now. Raises LedgerError as `Folder` does."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._marks: dict[str, _Mark] = {}
        self._files: dict[str, bytes] = {}
        self.renew()

    @property
    def opened(self) -> bool:
        return self._folder.opened

    def read(self, name: str) -> bytes | None:
        return self._files.get(name)

    def names(self, folder: str) -> list[str]:
        return directly_in(folder, self._files)

    def all(self) -> list[str]:
        """Every file, sorted."""
        return sorted(self._files)

    def renew(self) -> bool:
        """Reads again what is another than before, until nothing is. Whether a record was entered or destroyed."""
        entered = False
        for _ in range(PASSES):
            changed = self._pass()
            entered = entered or any(name.startswith("records/") for name in changed)
            if not changed:
                break
        return entered

    def _pass(self) -> list[str]:
        """One reading; the names that were new, changed or gone."""
        marks = {name: mark for name in self._folder.all() if (mark := self._mark(name)) is not None}
        changed = [name for name, mark in marks.items() if self._marks.get(name) != mark]
        gone = [name for name in self._files if name not in marks]
        for name in changed:
            octets = self._folder.read(name)
            if octets is not None:  # else the next pass finds it gone
                self._files[name], self._marks[name] = octets, marks[name]
        for name in gone:
            del self._files[name], self._marks[name]
        return changed + gone

    def _mark(self, name: str) -> _Mark | None:
        try:
            found = (self._folder.path / name).stat()
        except FileNotFoundError:
            return None
        return _Mark(found.st_ino, found.st_size, found.st_mtime_ns)
