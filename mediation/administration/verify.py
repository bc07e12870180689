"""Whether a ledger is what its checkpoint says: offline, from its files and the ledger's public key alone.

Names the first bad entry by its index. Finds an edited, missing, added or reordered record, an edited or missing tile,
a checkpoint that is forged or older than what stands beside it. What no single ledger can show is that all of it was
replaced by whoever holds its key: this release has no witnesses, and the report says "unwitnessed".

It may not write, and needs no network and no private key.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import msgspec

from mediation.administration import tiles
from mediation.administration.tiles import CHECKPOINT, ENTRY_OCTETS, HISTORY, WIDTH, Files, Folder
from mediation.core import entry, merkle, note
from mediation.core.case import Proof
from mediation.core.errors import LedgerError, RemoteProtocolError
from mediation.core.merkle import HASH_OCTETS

UNCOVERED = "stands beyond the checkpoint"  # what an append leaves until its checkpoint is there
BEHIND = "ends before the checkpoint"  # what an append leaves until the history has it
ATTEMPTS, PAUSE_S = 10, 0.05
MAX_PROBLEMS = 100  # reported; the first is what counts
RECENT = 256  # signed heads looked at when the ledger is opened (0.1 ms each); `mediation ledger verify` looks at all
UNWITNESSED = "unwitnessed: nobody outside this site has countersigned the ledger's head"

OnRecord = Callable[[tiles.Line, entry.Record], None]


class Problem(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """`index` is the first entry that cannot be believed."""

    index: int
    what: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `checkpoint` is the head's text; `tree` holds its hashes."""

    checkpoint: str
    head: note.Checkpoint
    tree: merkle.Tree
    kinds: dict[str, int]
    first_us: int | None
    last_us: int | None
    signed_heads: int
    problems: tuple[Problem, ...]

    def raise_first(self) -> None:
        """Raises LedgerError naming the first bad entry, if there is one."""
        if self.problems:
            raise LedgerError(f"entry {self.problems[0].index}: {self.problems[0].what}")


def examine(
    files: Files,
    verifier: note.Verifier,
    *,
    known: str | None = None,
    on_record: OnRecord | None = None,
    recent: int | None = None,
) -> Report:
    """Reads a whole ledger, also beside its writer. `known` is an older checkpoint that somebody kept: the ledger must
    still contain it.
    `recent` limits how many of the earlier signed heads are looked at, counted from the last.

    Raises LedgerError when there is no checkpoint that the key signed; everything else is in the report.
    """
    for _ in range(ATTEMPTS):
        report, records = _examine(files, verifier, known, recent)
        moved = files.read(CHECKPOINT) != report.checkpoint.encode()
        if not moved and not any(problem.what.endswith((UNCOVERED, BEHIND)) for problem in report.problems):
            break
        # Its writer may be between tiles and checkpoint, or that and the history; nothing tells when it is done.
        time.sleep(PAUSE_S)
    if on_record is not None:
        for line, record in records:
            on_record(line, record)
    return report


def _examine(
    files: Files, verifier: note.Verifier, known: str | None, recent: int | None
) -> tuple[Report, list[tuple[tiles.Line, entry.Record]]]:
    text = (files.read(CHECKPOINT) or b"").decode(errors="replace")
    head = _open(text, verifier, CHECKPOINT)
    reader = _Reader(files, head)
    for n in range(-(-head.size // WIDTH)):
        reader.bundle(n)
    reader.upper_tiles()
    reader.beyond()
    tree, problems = reader.tree, reader.problems
    heads = _history(files, verifier, head, problems, recent)
    signed_heads = len(heads)
    if known is not None:
        heads.append(_open(known, verifier, "the known checkpoint"))
    if tree.size == head.size:
        good = 0
        for old in sorted([*heads, head], key=lambda old: old.size):
            if old.size > head.size:
                problems.append(Problem(index=head.size, what="the checkpoint was replaced by an older one"))
                break
            if tree.root(old.size) != old.root:
                problems.append(Problem(index=good, what="the tree is not the one that was signed"))
                break
            good = old.size
    report = Report(
        checkpoint=text, head=head, tree=tree, kinds=dict(sorted(reader.kinds.items())), first_us=reader.first_us,
        last_us=reader.last_us, signed_heads=signed_heads, problems=tuple(sorted(problems)[:MAX_PROBLEMS]),
    )  # fmt: skip
    return report, reader.records


class _Reader:
    """Walks the tiles and records in order; keeps the tree and the problems."""

    def __init__(self, files: Files, head: note.Checkpoint) -> None:
        self.files = files
        self.head = head
        self.records: list[tuple[tiles.Line, entry.Record]] = []
        self.tree = merkle.Tree()
        self.problems: list[Problem] = []
        self.kinds: Counter[str] = Counter()
        self.first_us: int | None = None
        self.last_us: int | None = None

    def problem(self, index: int, what: str) -> None:
        self.problems.append(Problem(index=index, what=what))

    def bundle(self, n: int) -> None:
        """The entries [256 n, 256 n + 256) of the tree: hashes, commitments and records against each other."""
        first = n * WIDTH
        width = min(WIDTH, self.head.size - first)
        hashes = self._tile(0, n, width, HASH_OCTETS, first)
        entries = self._tile("entries", n, width, ENTRY_OCTETS, first)
        lines = self._lines(n)
        for offset in range(width):
            index = first + offset
            hashed = hashes[offset * HASH_OCTETS : (offset + 1) * HASH_OCTETS]
            stored = entries[offset * ENTRY_OCTETS : (offset + 1) * ENTRY_OCTETS]
            commitment = stored[2:]
            if len(stored) == ENTRY_OCTETS and stored[:2] != HASH_OCTETS.to_bytes(2, "big"):
                self.problem(index, "the commitment's length was edited")
            elif len(stored) == ENTRY_OCTETS and merkle.leaf_hash(commitment) != hashed:
                self.problem(index, "the commitment does not have the hash that stands in the tree")
            if len(hashed) == HASH_OCTETS and self.tree.size == index:
                self.tree.append(hashed)
            self._record(index, lines.get(index), commitment)

    def _record(self, index: int, line: tiles.Line | None, commitment: bytes) -> None:
        if line is None:
            self.problem(index, "the record is missing")
            return
        try:
            salt = bytes.fromhex(line.salt)
            record = entry.decode(line.record)
        except (ValueError, msgspec.MsgspecError):
            self.problem(index, "the record is not readable")
            return
        if len(salt) != entry.SALT_OCTETS or entry.commitment(salt, line.record) != commitment:
            self.problem(index, "the record is not the one that was entered")
            return
        self.kinds[str(record.__struct_config__.tag)] += 1
        self.first_us = record.time_us if self.first_us is None else self.first_us
        self.last_us = record.time_us
        self.records.append((line, record))

    def _lines(self, n: int) -> dict[int, tiles.Line]:
        """The records of one bundle by the index they claim; a line out of its place is a problem at that place."""
        octets = self.files.read(tiles.records(n)) or b""
        found: dict[int, tiles.Line] = {}
        for place, text in enumerate(octets.splitlines(), n * WIDTH):
            if place >= self.head.size:
                self.problem(self.head.size, f"a record {UNCOVERED}")
                break
            try:
                line = msgspec.json.decode(text, type=tiles.Line)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                self.problem(place, "the record's line is not readable")
                continue
            if line.index != place:
                self.problem(place, "the record stands out of its order")
            found.setdefault(line.index, line)
        return found

    def _tile(self, level: int | str, n: int, width: int, octets_each: int, first: int) -> bytes:
        """A tile's octets, at most `width` wide. Partial tiles of other widths must say the same."""
        partial = f"{tiles.tile(level, n)}.p"
        widths = [int(name) for name in self.files.names(partial) if name.isascii() and name.isdigit()]
        full = self.files.read(tiles.tile(level, n))
        copies = [] if full is None else [full]
        copies += [self.files.read(f"{partial}/{w}") or b"" for w in sorted(widths, reverse=True)]
        best = next((copy for copy in copies if len(copy) >= width * octets_each), b"")
        if not best:
            self.problem(first, f"a tile of level {level} is missing or cut short")
        for copy in copies:
            for at in range(0, min(len(copy), len(best), width * octets_each), octets_each):
                if copy[at : at + octets_each] != best[at : at + octets_each]:
                    self.problem(first + at // octets_each, f"two tiles of level {level} disagree")
                    break
        return best[: width * octets_each]

    def upper_tiles(self) -> None:
        """The tiles above the leaves hold what the leaves give."""
        level = 1
        while (count := self.head.size >> (level * tiles.HEIGHT)) and self.tree.size == self.head.size:
            span = 1 << (level * tiles.HEIGHT)
            for n in range(-(-count // WIDTH)):
                first = n * WIDTH
                width = min(WIDTH, count - first)
                octets = self._tile(level, n, width, HASH_OCTETS, first * span)
                for offset in range(len(octets) // HASH_OCTETS):
                    hashed = octets[offset * HASH_OCTETS : (offset + 1) * HASH_OCTETS]
                    if hashed != self.tree.read(level * tiles.HEIGHT, first + offset):
                        self.problem((first + offset) * span, f"a tile of level {level} does not fit those below")
                        break
            level += 1

    def beyond(self) -> None:
        """What stands after the head was never signed, or its checkpoint was taken away."""
        n = -(-self.head.size // WIDTH)
        if self.files.read(tiles.records(n)):
            self.problem(self.head.size, f"a record {UNCOVERED}")
        last, width = divmod(self.head.size, WIDTH)
        later = [name for name in self.files.names(f"{tiles.tile(0, last)}.p") if name.isdigit() and int(name) > width]
        if later or self.files.read(tiles.tile(0, last)) is not None:
            self.problem(self.head.size, f"a tile {UNCOVERED}")


def _history(
    files: Files, verifier: note.Verifier, head: note.Checkpoint, problems: list[Problem], recent: int | None
) -> list[note.Checkpoint]:
    """The heads that were signed before, oldest first."""
    heads: list[note.Checkpoint] = []
    lines = (files.read(HISTORY) or b"").splitlines()
    for line in lines if recent is None else lines[-recent:]:
        try:
            heads.append(_open(msgspec.json.decode(line, type=str), verifier, HISTORY))
        except (msgspec.MsgspecError, UnicodeDecodeError, LedgerError):
            problems.append(
                Problem(index=heads[-1].size if heads else 0, what="the history of checkpoints was edited here")
            )
            return heads
    if not heads or heads[-1].size < head.size:
        problems.append(Problem(index=heads[-1].size if heads else 0, what=f"the history of checkpoints {BEHIND}"))
    return heads


def _open(text: str, verifier: note.Verifier, name: str) -> note.Checkpoint:
    try:
        return note.open_checkpoint(text, verifier)
    except RemoteProtocolError as error:
        raise LedgerError(f"{name}: {error}") from error


def line(files: Files, index: int, size: int) -> tiles.Line:
    """The record of entry `index` as its file has it, held against its commitment. Raises LedgerError."""
    if index >= size:
        raise LedgerError(f"entry {index}: there is none; the ledger has {size}")
    n, offset = divmod(index, WIDTH)
    try:
        texts = (files.read(tiles.records(n)) or b"").splitlines()
        found = next(
            (each for each in (msgspec.json.decode(text, type=tiles.Line) for text in texts) if each.index == index),
            None,
        )
        commitment = None if found is None else entry.commitment(bytes.fromhex(found.salt), found.record)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
        raise LedgerError(f"entry {index}: the records are not readable") from None
    if found is None:
        raise LedgerError(f"entry {index}: the record is missing")
    for width in range(WIDTH, offset, -1):
        tile = files.read(tiles.tile("entries", n, width))
        if tile is not None:
            if tile[offset * ENTRY_OCTETS + 2 : (offset + 1) * ENTRY_OCTETS] == commitment:
                return found
            break
    raise LedgerError(f"entry {index}: the record is not the one that was entered")


def prove(folder: Folder, verifier: note.Verifier, index: int) -> Proof:
    """The proof that entry `index` stands under the present checkpoint, from the files alone. Raises LedgerError."""
    report = examine(folder, verifier)
    report.raise_first()
    found = line(folder, index, report.head.size)
    path = merkle.inclusion_path(index, report.head.size, report.tree.read)
    return Proof(
        index=index, record=found.record, salt=found.salt, path=tuple(node.hex() for node in path),
        checkpoint=report.checkpoint,
    )  # fmt: skip
