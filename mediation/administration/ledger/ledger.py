"""The ledger's one writer: what is to be done is entered here before it is done, and what came of it after.

An append is on the disk, under a signed checkpoint, when the call returns: records, then tiles, then the checkpoint by
rename, then the history of checkpoints (C2SP tlog-tiles asks for tiles before the checkpoint that needs them). A crash
in between leaves a tail that no checkpoint covers and nobody was told of: it is cut off at the next opening.

Three heads. `head` is the last that was signed: it covers all that was appended. `published` is the last that left the
site: between two of them the tree grows by batch * 8**j leaves, filled up with padding, so that its growth tells
nothing but a rough size. `witnessed` is the last that came back with the cosignatures of a quorum: only under it is
anything proven to anybody. What a quorum is, the caller judges (core/ledger/policy.py).

Trust in what is stored: the ledger's key is on this host, so an attacker with the host can rewrite it unseen by this
site alone; the witnesses see it, at the next start and at the next head. One without the key cannot change an entry.

One writer: the caller holds the site's lock. Blocking calls, a few milliseconds each.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from mediation.administration.ledger import bundles, kept, tail, tiles, verify
from mediation.administration.ledger.tiles import (
    CHECKPOINT,
    HISTORY,
    PUBLISHED,
    WIDTH,
    WITNESSED,
    WITNESSED_HISTORY,
    Folder,
    Line,
)
from mediation.core.case import Proof
from mediation.core.errors import LedgerError, LocalProtocolError, RemoteProtocolError
from mediation.core.ledger import entry, merkle, note
from mediation.core.ledger.sealing import Sealer
from mediation.runtime import durable

GROWTH = 8  # each step between the sizes that a published head may have grown by (ours)
KEEP_EVERY_US = 3_600_000_000  # heads that cover nothing but padding are kept one an hour; a day of them is 43,200


class Entered(msgspec.Struct, frozen=True, kw_only=True):
    """Where a record stands. With its salt it is all that a proof needs besides the tree."""

    index: int
    record: str
    salt: str


class Witnessed(msgspec.Struct, frozen=True, kw_only=True):
    """A head with its cosignatures; size 0 and no text before the first."""

    text: str = ""
    size: int = 0


class Ledger:
    """Open for appending. `size` and `checkpoint` are of the last durable head."""

    def __init__(
        self, folder: Path, signer: note.Signer, box: Sealer, *, least: note.Checkpoint | None = None,
        on_record: verify.OnRecord | None = None, newest: int = verify.NEWEST,
    ) -> None:  # fmt: skip
        """Opens and verifies all of it, but for padding older than the `newest` leaves: `deferred` names those bundles.

        `box` is the vault's for records. `least` is the head that the store remembers: the ledger must contain it.
        Raises LedgerError naming the first bad entry.
        """
        self._box: Sealer | None = box
        self.folder, self.files, self._signer = folder, Folder(folder, box), signer
        report = verify.examine(self.files, signer.verifier, on_record=on_record, recent=verify.RECENT, newest=newest)
        _refuse_edited(report)
        if least is not None and least.size:
            if least.size > report.head.size:
                raise LedgerError(f"entry {report.head.size}: the ledger is older than the store: it was rolled back")
            if report.tree.root(least.size) != least.root:
                raise LedgerError("the ledger is not the one that the store knows")
        self._take(report)
        self._clean = not report.problems
        self.interrupted = any(problem.what.endswith(bundles.UNCOVERED) for problem in report.problems)
        self.deferred = report.deferred
        self._read_published()

    def _take(self, report: verify.Report) -> None:
        self._tree, self.checkpoint, self._run = report.tree, report.checkpoint, report.run
        self._last_entry = report.last_entry

    def _read_published(self) -> None:
        """`verify` has found both files to be of this ledger and in this tree."""
        published, witnessed = (
            (self.folder / name).read_text() if (self.folder / name).exists() else "" for name in (PUBLISHED, WITNESSED)
        )
        self.witnessed = Witnessed(text=witnessed, size=self._opened(witnessed).size) if witnessed else Witnessed()
        self.published = self._opened(published).size if published else self.witnessed.size
        self._kept_us = self._witnessed_us = 0

    def _opened(self, text: str) -> note.Checkpoint:
        try:
            return note.open_checkpoint(text, self.verifier)
        except RemoteProtocolError as error:
            raise LedgerError(str(error)) from None

    @classmethod
    def create(cls, folder: Path, signer: note.Signer, box: Sealer | None, records: Sequence[str]) -> Ledger:
        """A new ledger with its first entries; the very first needs no vault. Raises LedgerError when there is one."""
        durable.make_folder(folder)
        if (folder / CHECKPOINT).exists():
            raise LedgerError("there is a ledger already")
        self = cls.__new__(cls)
        self.folder, self._box, self.files, self._signer = folder, box, Folder(folder, box), signer
        self._tree = merkle.Tree(load=lambda n: self.files.read(tiles.tile(0, n)) or b"")
        self.checkpoint, self.interrupted, self.deferred = "", False, ()
        self._run, self._last_entry, self._clean = None, -1, True
        self._read_published()
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

    @property
    def tree(self) -> merkle.Tree:
        """To be read only: for proofs, and for the check of what was deferred."""
        return self._tree

    def compare(self, head: note.Checkpoint) -> None:
        """That this ledger contains `head`, which a witness cosigned. Raises LedgerError: it was replaced."""
        if head.origin != self.verifier.name:
            raise LedgerError("a witness's head is of another ledger")
        if head.size > self.size:
            raise LedgerError(
                f"entry {self.size}: the ledger is older than what a witness cosigned: it was rolled back"
            )
        if self._tree.root(head.size) != head.root:
            raise LedgerError("entry 0: the ledger is not the one that a witness cosigned: it was rewritten")

    def consistency(self, first: int, second: int) -> list[bytes]:
        """The path from the head of `first` leaves to that of `second` (RFC 9162 §2.1.4); empty when one is 0. Raises
        LedgerError when a tile that it needs was changed on the disk."""
        with _tiles():
            return merkle.consistency_path(first, second, self._tree.read) if first and first != second else []

    def append(self, records: Sequence[str]) -> list[Entered]:
        """Enters `records` under one new checkpoint; they are durable when this returns.

        Raises LedgerError when they could not be written. Whether they are in the ledger is then known at the next
        append, which begins with what the disk has: a head that was signed is never signed over.
        """
        if not records:
            return []
        if any(len(record.encode()) > entry.MAX_RECORD_OCTETS for record in records):
            raise LocalProtocolError("ledger: a record is too long")
        with self._writing():
            first = self._tree.size
            entered = [
                Entered(index=index, record=record, salt=os.urandom(entry.SALT_OCTETS).hex())
                for index, record in enumerate(records, first)
            ]
            self._write_lines([Line(each.index, each.salt, each.record) for each in entered])
            self._grow([entry.commitment(bytes.fromhex(each.salt), each.record) for each in entered])
        self._run, self._last_entry = None, entered[-1].index
        self._finish(first, keep=True)
        return entered

    def publish(self, batch: int, now_us: int) -> str:
        """Makes a head that may leave the site; returns the signed note, which is durable.

        With `batch` the tree has then grown by batch * 8**j leaves since the last published head, for the smallest j
        that holds what was appended, and by `batch` when nothing was; the rest is padding. With 0 it does not grow.
        Raises LedgerError when it could not be written.
        """
        wanted = batch
        grown = self._tree.size - self.published
        while batch and wanted < grown:
            wanted *= GROWTH
        first = self._tree.size
        keep = now_us - self._kept_us >= KEEP_EVERY_US
        if wanted > grown:
            with self._writing():
                first = self._tree.size
                run = self._run
                if run is None:
                    record = entry.encode(entry.Padding(time_us=now_us))
                    run = Line(index=first, record=record, seed=os.urandom(tiles.SEED_OCTETS).hex())
                    self._write_lines([run])
                padding = tiles.Padding(run.seed, run.record)
                self._grow([padding.commitment(index) for index in range(first, first + wanted - grown)])
            self._run = run
            self._finish(first, keep=keep)
        if batch:
            try:
                durable.replace(self.folder / PUBLISHED, self.checkpoint.encode())
            except OSError as error:
                raise LedgerError(f"cannot be written: {error.strerror}") from error
        if keep:
            self._kept_us = now_us
        self.published = self._tree.size
        return self.checkpoint

    def accept_cosigned(self, text: str, now_us: int) -> bool:
        """Keeps a published head that came back with cosignatures; the caller has found a quorum in them.

        Durable when it returns. False for one that is older than the last. Raises LedgerError for one that is not of
        this ledger, or when it could not be written.
        """
        head = self._opened(text)
        self.compare(head)
        if head.size < self.witnessed.size:
            return False
        covers = self.witnessed.size <= self._last_entry < head.size
        try:
            durable.replace(self.folder / WITNESSED, text.encode())
            if covers or now_us - self._witnessed_us >= KEEP_EVERY_US:
                durable.append_line(self.folder / WITNESSED_HISTORY, msgspec.json.encode(text) + b"\n")
                self._witnessed_us = now_us
        except OSError as error:
            raise LedgerError(f"cannot be written: {error.strerror}") from error
        self.witnessed = Witnessed(text=text, size=head.size)
        return True

    def destroy(self, indexes: Sequence[int], certificate_sha256: str) -> None:
        """Takes records and their salts away; an entry.Destroyed that names them stands in the ledger already.

        What is left says by which certificate (47 CFR 1.20004(b)); every proof over the tree still holds. Done again
        it changes nothing. Raises LedgerError when a file could not be written: call it again.
        """
        by_bundle: dict[int, set[int]] = {}
        for index in indexes:
            by_bundle.setdefault(index // WIDTH, set()).add(index)
        try:
            for n, gone in sorted(by_bundle.items()):
                path = self.folder / tiles.records(n)
                octets = self.files.read(tiles.records(n)) or b""
                lines = [msgspec.json.decode(line, type=Line) for line in octets.splitlines()]
                if gone - {line.index for line in lines if not line.seed}:
                    raise LocalProtocolError("ledger: there is no such record")
                kept = (
                    Line(line.index, destroyed=certificate_sha256)
                    if line.index in gone and not line.destroyed
                    else line
                    for line in lines
                )
                durable.replace(path, b"".join(tiles.sealed(line, self._box) for line in kept))
        except OSError as error:
            raise LedgerError(f"cannot be written: {error.strerror}") from error

    def proof(self, entered: Entered) -> Proof:
        """The proof of one entry under the present checkpoint: for this site's own eyes."""
        return self._proof(entered, self.size, self.checkpoint)

    def witnessed_proof(self, entered: Entered) -> Proof:
        """The proof of one entry under the witnessed head: what a function admits an act by.

        Raises LocalProtocolError for an entry that no quorum has cosigned yet, LedgerError when a tile that the proof
        needs was changed on the disk.
        """
        if not 0 <= entered.index < self.witnessed.size:
            raise LocalProtocolError("ledger: the entry is not witnessed")
        return self._proof(entered, self.witnessed.size, self.witnessed.text)

    def kept_proof(self, entered: Entered) -> Proof | None:
        """The proof of one entry under the oldest head that was kept and covers it; None when there is none. Raises as
        `witnessed_proof` does, and for a kept head that was changed."""
        text = kept.first_covering(self.folder / WITNESSED_HISTORY, entered.index)
        return self._proof(entered, self._opened(text).size, text) if text else None

    def _proof(self, entered: Entered, size: int, checkpoint: str) -> Proof:
        with _tiles():
            path = self._tree.inclusion_path(entered.index, size)
        return Proof(
            index=entered.index, record=entered.record, salt=entered.salt,
            path=tuple(node.hex() for node in path), checkpoint=checkpoint,
        )  # fmt: skip

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Around the writing of leaves: what was not written is not in the tree either. Raises LedgerError."""
        before = self._tree.size
        try:
            if not self._clean:
                self._begin_again()
                before = self._tree.size
            self._clean = False
            yield
        except (OSError, LedgerError) as error:
            self._tree.truncate(min(before, self._tree.size))
            if isinstance(error, LedgerError):
                raise
            raise LedgerError(f"cannot be written: {error.strerror}") from error

    def _grow(self, commitments: Sequence[bytes]) -> None:
        """New leaves, their tiles, and the checkpoint over them."""
        first = self._tree.size
        for commitment in commitments:
            self._tree.append(merkle.leaf_hash(commitment))
        self._write_tiles(first, commitments)
        checkpoint = self._signer.sign(self.head.text())
        durable.replace(self.folder / CHECKPOINT, checkpoint.encode())
        self.checkpoint = checkpoint

    def _finish(self, first: int, *, keep: bool) -> None:
        try:
            if keep:
                durable.append_line(self.folder / HISTORY, msgspec.json.encode(self.checkpoint) + b"\n")
            self._drop_partials(first)
            self._clean = True
        except OSError:
            pass  # the entries are durable; _begin_again completes the history before the next append

    def _write_lines(self, lines: Sequence[Line]) -> None:
        by_bundle: dict[int, list[bytes]] = {}
        for line in lines:
            by_bundle.setdefault(line.index // WIDTH, []).append(tiles.sealed(line, self._box))
        for n, texts in by_bundle.items():
            path = self.folder / tiles.records(n)
            durable.make_folder(path.parent)
            durable.append(path, b"".join(texts))

    def _write_tiles(self, first: int, commitments: Sequence[bytes]) -> None:
        """All tiles that the entries from `first` on have changed, full or partial, each folder synchronised once."""
        found: list[tuple[Path, bytes]] = []
        start = first // WIDTH * WIDTH
        old = b""
        if first > start:
            old = self.files.read(tiles.tile("entries", start // WIDTH, first - start)) or b""
            if len(old) != (first - start) * tiles.ENTRY_OCTETS:
                raise LedgerError(f"entry {start}: a tile of level entries is missing or cut short")
        length = merkle.HASH_OCTETS.to_bytes(2, "big")
        entries = old + b"".join(length + commitment for commitment in commitments)
        for at in range(0, len(entries), WIDTH * tiles.ENTRY_OCTETS):
            n = (start + at // tiles.ENTRY_OCTETS) // WIDTH
            octets = entries[at : at + WIDTH * tiles.ENTRY_OCTETS]
            found.append((self.folder / tiles.tile("entries", n, len(octets) // tiles.ENTRY_OCTETS), octets))
        level, before, after = 0, first, self.size
        while after > before:
            for n in range(before // WIDTH, -(-after // WIDTH)):
                row = range(n * WIDTH, min((n + 1) * WIDTH, after))
                octets = b"".join(self._tree.read(level * tiles.HEIGHT, index) for index in row)
                found.append((self.folder / tiles.tile(level, n, len(row)), octets))
            level, before, after = level + 1, before >> tiles.HEIGHT, after >> tiles.HEIGHT
        for path, _ in found:
            durable.make_folder(path.parent)
        durable.replace_all(found)

    def _drop_partials(self, first: int) -> None:
        """Partial tiles that a full one has replaced, now that the checkpoint for it is durable."""
        for n in range(first // WIDTH, self.size // WIDTH):
            for level in ("entries", 0):
                shutil.rmtree(self.folder / f"{tiles.tile(level, n)}.p", ignore_errors=True)

    def _begin_again(self) -> None:
        """After a failed append: what the disk has is what there is, less the tail that no checkpoint covers."""
        if (self.folder / CHECKPOINT).exists():
            report = verify.examine(self.files, self.verifier, recent=verify.RECENT, newest=verify.NEWEST)
            _refuse_edited(report)  # no head is signed over a tree that is not the one that was signed
            self._take(report)
        tail.cut(self.files, self._box, self.size, self.checkpoint)


def _refuse_edited(report: verify.Report) -> None:
    """Raises LedgerError naming the first bad entry; what an interrupted append left is none."""
    for problem in report.problems:
        if not problem.what.endswith((bundles.UNCOVERED, verify.BEHIND)):
            raise LedgerError(f"entry {problem.index}: {problem.what}")


@contextmanager
def _tiles() -> Iterator[None]:
    try:
        yield
    except (ValueError, IndexError) as error:
        raise LedgerError(f"a tile was changed: {error}") from error
