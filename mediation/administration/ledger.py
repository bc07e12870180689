"""The ledger's one writer: what is to be done is entered here before it is done, and what came of it after.

An append is on the disk, under a signed checkpoint, when the call returns: records, then tiles, then the checkpoint by
rename, then the history of checkpoints (C2SP tlog-tiles asks for tiles before the checkpoint that needs them). A crash
in between leaves a tail that no checkpoint covers and nobody was told of: it is cut off at the next opening.

Trust in what is stored: the ledger's key is on this host, so an attacker with the host can rewrite it unseen by this
site alone; witnesses (a later release) close that. An attacker without the key cannot change an entry unseen.

One writer: the caller holds the site's lock. Blocking calls, a few milliseconds each.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from mediation.administration import tiles, verify
from mediation.administration.tiles import CHECKPOINT, HISTORY, WIDTH, Folder
from mediation.core import entry, merkle, note
from mediation.core.case import Proof
from mediation.core.errors import LedgerError, LocalProtocolError
from mediation.runtime import durable

LATE_HISTORY = "ends before the checkpoint"  # with verify.UNCOVERED, all that an interrupted append leaves


class Entered(msgspec.Struct, frozen=True, kw_only=True):
    """Where a record stands. With its salt it is all that a proof needs besides the tree."""

    index: int
    record: str
    salt: str


class Ledger:
    """Open for appending. `size` and `checkpoint` are of the last durable head."""

    def __init__(
        self, folder: Path, signer: note.Signer, *, least: note.Checkpoint | None = None,
        on_record: verify.OnRecord | None = None,
    ) -> None:  # fmt: skip
        """Opens and verifies all of it. `least` is the head that the store remembers: the ledger must contain it.

        Raises LedgerError naming the first bad entry.
        """
        self._folder = folder
        self._signer = signer
        report = verify.examine(Folder(folder), signer.verifier, on_record=on_record, recent=verify.RECENT)
        for problem in report.problems:
            if not problem.what.endswith((verify.UNCOVERED, LATE_HISTORY)):
                raise LedgerError(f"entry {problem.index}: {problem.what}")
        if least is not None and least.size:
            if least.size > report.head.size:
                raise LedgerError(f"entry {report.head.size}: the ledger is older than the store: it was rolled back")
            if report.tree.root(least.size) != least.root:
                raise LedgerError("the ledger is not the one that the store knows")
        self._tree = report.tree
        self.checkpoint = report.checkpoint
        self._clean = not report.problems
        self.interrupted = any(problem.what.endswith(verify.UNCOVERED) for problem in report.problems)

    @classmethod
    def create(cls, folder: Path, signer: note.Signer, records: Sequence[str]) -> Ledger:
        """A new ledger with its first entries. Raises LedgerError when one stands there already."""
        durable.make_folder(folder)
        if (folder / CHECKPOINT).exists():
            raise LedgerError("there is a ledger already")
        self = cls.__new__(cls)
        self._folder, self._signer, self._tree, self._clean = folder, signer, merkle.Tree(), True
        self.checkpoint, self.interrupted = "", False
        self.append(records)
        return self

    @property
    def size(self) -> int:
        return self._tree.size

    @property
    def verifier(self) -> note.Verifier:
        return self._signer.verifier

    @property
    def head(self) -> note.Checkpoint:
        return note.Checkpoint(origin=self.verifier.name, size=self.size, root=self._tree.root())

    def append(self, records: Sequence[str]) -> list[Entered]:
        """Enters `records` under one new checkpoint; they are durable when this returns.

        Raises LedgerError when they could not be written. Whether they are in the ledger is then known at the next
        append, which begins with what the disk has: a head that was signed is never signed over.
        """
        if not records:
            return []
        if any(len(record.encode()) > entry.MAX_RECORD_OCTETS for record in records):
            raise LocalProtocolError("ledger: a record is too long")
        first = self._tree.size
        try:
            if not self._clean:
                self._begin_again()
            self._clean = False
            first = self._tree.size
            entered = [
                Entered(index=index, record=record, salt=os.urandom(entry.SALT_OCTETS).hex())
                for index, record in enumerate(records, first)
            ]
            commitments = [entry.commitment(bytes.fromhex(each.salt), each.record) for each in entered]
            for commitment in commitments:
                self._tree.append(merkle.leaf_hash(commitment))
            self._write_records(entered)
            self._write_tiles(first, commitments)
            checkpoint = self._signer.sign(self.head.text())
            durable.replace(self._folder / CHECKPOINT, checkpoint.encode())
        except OSError as error:
            self._tree.truncate(first)
            raise LedgerError(f"cannot be written: {error.strerror}") from error
        self.checkpoint = checkpoint
        try:
            durable.append(self._folder / HISTORY, msgspec.json.encode(checkpoint) + b"\n")
            self._drop_partials(first)
            self._clean = True
        except OSError:
            pass  # the entries are durable; _begin_again completes the history before the next append
        return entered

    def proof(self, entered: Entered) -> Proof:
        """The proof of one entry under the present checkpoint."""
        path = merkle.inclusion_path(entered.index, self.size, self._tree.read)
        return Proof(
            index=entered.index, record=entered.record, salt=entered.salt,
            path=tuple(node.hex() for node in path), checkpoint=self.checkpoint,
        )  # fmt: skip

    def _write_records(self, entered: Sequence[Entered]) -> None:
        bundles: dict[int, list[bytes]] = {}
        for each in entered:
            line = msgspec.json.encode(tiles.Line(each.index, each.salt, each.record))
            bundles.setdefault(each.index // WIDTH, []).append(line + b"\n")
        for n, lines in bundles.items():
            path = self._folder / tiles.records(n)
            durable.make_folder(path.parent)
            durable.append(path, b"".join(lines))

    def _write_tiles(self, first: int, commitments: Sequence[bytes]) -> None:
        """All tiles that the entries from `first` on have changed, full or partial."""
        start = first // WIDTH * WIDTH
        old = b""
        if first > start:
            old = Folder(self._folder).read(tiles.tile("entries", start // WIDTH, first - start)) or b""
            if len(old) != (first - start) * tiles.ENTRY_OCTETS:
                raise LedgerError(f"entry {start}: a tile of level entries is missing or cut short")
        length = merkle.HASH_OCTETS.to_bytes(2, "big")
        entries = old + b"".join(length + commitment for commitment in commitments)
        for at in range(0, len(entries), WIDTH * tiles.ENTRY_OCTETS):
            n = (start + at // tiles.ENTRY_OCTETS) // WIDTH
            self._write_tile("entries", n, entries[at : at + WIDTH * tiles.ENTRY_OCTETS], tiles.ENTRY_OCTETS)
        level, before, after = 0, first, self.size
        while after > before:
            for n in range(before // WIDTH, -(-after // WIDTH)):
                row = range(n * WIDTH, min((n + 1) * WIDTH, after))
                octets = b"".join(self._tree.read(level * tiles.HEIGHT, index) for index in row)
                self._write_tile(level, n, octets, merkle.HASH_OCTETS)
            level, before, after = level + 1, before >> tiles.HEIGHT, after >> tiles.HEIGHT

    def _write_tile(self, level: int | str, n: int, octets: bytes, octets_each: int) -> None:
        width = len(octets) // octets_each
        path = self._folder / tiles.tile(level, n, width)
        durable.make_folder(path.parent)
        durable.replace(path, octets)

    def _drop_partials(self, first: int) -> None:
        """Partial tiles that a full one has replaced, now that the checkpoint for it is durable."""
        for n in range(first // WIDTH, self.size // WIDTH):
            for level in ("entries", 0):
                shutil.rmtree(self._folder / f"{tiles.tile(level, n)}.p", ignore_errors=True)

    def _begin_again(self) -> None:
        """After a failed append: what the disk has is what there is, less the tail that no checkpoint covers."""
        if (self._folder / CHECKPOINT).exists():
            report = verify.examine(Folder(self._folder), self.verifier, recent=verify.RECENT)
            self._tree, self.checkpoint = report.tree, report.checkpoint
        self._cut_tail()

    def _cut_tail(self) -> None:
        """Takes away what an interrupted append left, and completes the history of checkpoints."""
        size, folder = self.size, self._folder
        last, width = divmod(size, WIDTH)
        path = folder / tiles.records(last)
        if path.exists():
            durable.replace(path, b"".join(path.read_bytes().splitlines(keepends=True)[:width]))
        for later in (folder / "records").rglob("*.jsonl"):
            if tiles.place(later.relative_to(folder / "records").as_posix())[0] > last:
                durable.remove(later)
        for level in sorted(path.name for path in (folder / "tile").iterdir()):
            at = size if level == "entries" else size >> (int(level) * tiles.HEIGHT)
            last, width = divmod(at, WIDTH)
            for path in (path for path in (folder / "tile" / level).rglob("*") if path.is_file()):
                n, wide = tiles.place(path.relative_to(folder / "tile" / level).as_posix())
                if n > last or (n == last and wide > width):
                    path.unlink()
        history = folder / HISTORY
        lines = history.read_bytes().splitlines() if history.exists() else []
        current = msgspec.json.encode(self.checkpoint)
        if not lines or lines[-1] != current:
            durable.append(history, current + b"\n")
