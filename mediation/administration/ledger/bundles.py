"""A ledger's bundles of 256 entries: tiles of hashes, tiles of commitments and records against each other.

Answers for walking them in order (C2SP tlog-tiles), making the tree they stand for, and naming what does not fit by the
first entry that cannot be believed. `verify` asks, and holds the tree to the signed heads. Reads only; knows no key.
"""

from __future__ import annotations

from collections import Counter
from hashlib import sha256

import msgspec

from mediation.administration.ledger import tiles
from mediation.administration.ledger.tiles import ENTRY_OCTETS, WIDTH, Files
from mediation.core.ledger import entry, merkle, note
from mediation.core.ledger.merkle import HASH_OCTETS

UNCOVERED = "stands beyond the checkpoint"  # what an append leaves until its checkpoint is there
MISSING = "the record is missing"


class Problem(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """`index` is the first entry that cannot be believed."""

    index: int
    what: str


class Reader:
    """Walks the tiles and records in order; keeps the tree and the problems. Bundles before `shallow` that hold nothing
    but padding are taken by the hash over them."""

    def __init__(self, files: Files, head: note.Checkpoint, *, shallow: int) -> None:
        self.files = files
        self.head = head
        self.shallow = shallow
        self.records: list[tuple[tiles.Line, entry.Record]] = []
        self.tree = merkle.Tree(load=self._load)
        self.problems: list[Problem] = []
        self.kinds: Counter[str] = Counter()
        self.first_us: int | None = None
        self.last_us: int | None = None
        self.run: tiles.Line | None = None
        self.deferred: list[int] = []
        self.destroyed: dict[int, str] = {}  # the certificate's hash by the index of the record
        self.last_entry = -1
        self._padding: tiles.Padding | None = None
        self._uppers: tuple[int, bytes] = (-1, b"")

    def problem(self, index: int, what: str) -> None:
        self.problems.append(Problem(index=index, what=what))

    def _load(self, n: int) -> bytes:
        return self.files.read(tiles.tile(0, n)) or b""

    def bundle(self, n: int) -> None:
        """The entries [256 n, 256 n + 256) of the tree: hashes, commitments and records against each other."""
        first = n * WIDTH
        width = min(WIDTH, self.head.size - first)
        lines = self._lines(n) if self.files.opened else None
        if n < self.shallow and lines is None and self._padding is not None and (root := self._span_root(n)):
            self.tree.append_span(root)
            self.deferred.append(n)
            self.kinds["padding"] += WIDTH
            return
        hashes = self._tile(0, n, width, HASH_OCTETS, first)
        entries = self._tile("entries", n, width, ENTRY_OCTETS, first)
        commitments = [entries[at + 2 : at + ENTRY_OCTETS] for at in range(0, width * ENTRY_OCTETS, ENTRY_OCTETS)]
        if self.tree.size != first or not _fits(hashes, entries, commitments, width):
            self._each(first, width, hashes, entries)
        else:
            self.tree.extend(hashes)
        if self.files.opened and not self._all_records(first, lines or {}, commitments):
            for index, commitment in enumerate(commitments, first):
                self._leaf(index, (lines or {}).get(index), commitment)

    def _each(self, first: int, width: int, hashes: bytes, entries: bytes) -> None:
        """Leaf by leaf, what does not fit in a bundle; what can be believed of it stands in the tree."""
        for offset in range(width):
            index = first + offset
            hashed = hashes[offset * HASH_OCTETS : (offset + 1) * HASH_OCTETS]
            stored = entries[offset * ENTRY_OCTETS : (offset + 1) * ENTRY_OCTETS]
            if len(stored) == ENTRY_OCTETS and stored[:2] != HASH_OCTETS.to_bytes(2, "big"):
                self.problem(index, "the commitment's length was edited")
            elif len(stored) == ENTRY_OCTETS and merkle.leaf_hash(stored[2:]) != hashed:
                self.problem(index, "the commitment does not have the hash that stands in the tree")
            if len(hashed) == HASH_OCTETS and self.tree.size == index:
                self.tree.append(hashed)

    def _all_records(self, first: int, lines: dict[int, tiles.Line], commitments: list[bytes]) -> bool:
        """Takes a whole bundle of records at once. False, and nothing is taken, unless every leaf is the very record
        that was entered: then `_leaf` looks at each, and says what it is."""
        plain = [lines.get(index) for index in range(first, first + len(commitments))]
        if self._padding is not None:
            return False
        found = [line for line in plain if line is not None and line.salt and line.record]
        if len(found) < len(plain):
            return False
        try:
            salted = [bytes.fromhex(line.salt) + line.record.encode() for line in found]
            records = [entry.decode(line.record) for line in found]
        except (ValueError, msgspec.MsgspecError):
            return False
        if any(len(line.salt) != 2 * entry.SALT_OCTETS or line.seed or line.destroyed for line in found):
            return False
        if [sha256(octets).digest() for octets in salted] != commitments:
            return False
        self.records += zip(found, records, strict=True)
        self.kinds.update(str(record.__struct_config__.tag) for record in records)
        self.first_us = records[0].time_us if self.first_us is None else self.first_us
        self.last_us = records[-1].time_us
        self.last_entry = found[-1].index
        self.run = None
        return True

    def _span_root(self, n: int) -> bytes | None:
        """The hash over a complete bundle, from the tile above; what stands there is held to the signed root later."""
        above, place = divmod(n, WIDTH)
        if self._uppers[0] != above:
            full = min(WIDTH, (self.head.size >> tiles.HEIGHT) - above * WIDTH)
            self._uppers = above, self._tile(1, above, full, HASH_OCTETS, above * WIDTH * WIDTH)
        octets = self._uppers[1][place * HASH_OCTETS : (place + 1) * HASH_OCTETS]
        complete = self.tree.size == n * WIDTH
        return octets if complete and len(octets) == HASH_OCTETS else None

    def _leaf(self, index: int, line: tiles.Line | None, commitment: bytes) -> None:
        if line is not None and line.seed:
            self._begin_run(line)
        elif line is not None:
            self.run = self._padding = None
        if self._padding is not None:
            if self._padding.commitment(index) == commitment:
                self.kinds["padding"] += 1
            else:
                self.problem(index, MISSING)
        elif line is not None and line.destroyed:
            self.destroyed[index] = line.destroyed
            self.last_entry = index
        elif line is None:
            self.problem(index, MISSING)
        elif not line.seed:
            self._record(line, commitment)

    def _begin_run(self, line: tiles.Line) -> None:
        try:
            self._padding = tiles.Padding(line.seed, line.record)
            self.run = line
        except (ValueError, msgspec.MsgspecError):
            self.run = self._padding = None
            self.problem(line.index, "the record is not readable")

    def _record(self, line: tiles.Line, commitment: bytes) -> None:
        index = self.last_entry = line.index
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

    def _lines(self, n: int) -> dict[int, tiles.Line] | None:
        """The records of one bundle by the index they claim; a line out of its place is a problem at that place.

        None when the bundle has none. After a line of padding the next one may stand at any later index.
        """
        octets = self.files.read(tiles.records(n))
        if octets is None:
            return None
        found: dict[int, tiles.Line] = {}
        place, padded = n * WIDTH, self._padding is not None
        texts = octets.splitlines()
        if not padded and (whole := _in_order(texts, range(place, min(place + WIDTH, self.head.size)))) is not None:
            return whole
        for text in texts:
            try:
                line = tiles.decode(text)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                if place < self.head.size:
                    self.problem(place, "the record's line is not readable")
                place += 1
                continue
            if max(place, line.index if padded else 0) >= self.head.size:
                self.problem(self.head.size, f"a record {UNCOVERED}")
                break
            if line.index < place or (line.index > place and not padded) or line.index // WIDTH != n:
                self.problem(place, "the record stands out of its order")
            found.setdefault(line.index, line)
            place = place + 1 if not padded else max(place, line.index) + 1
            padded = bool(line.seed)
        return found

    def destructions(self) -> None:
        """A record that is gone is one that a later entry says was destroyed, under the certificate it is gone by."""
        named = {
            (index, record.certificate_sha256)
            for line, record in self.records
            if isinstance(record, entry.Destroyed)
            for index in record.entries
            if index < line.index
        }
        for index, certificate in self.destroyed.items():
            if (index, certificate) not in named:
                self.problem(index, "the record was taken away, and no certificate of destruction names it")

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
        if self.files.read(tiles.records(n)) or self.files.read(tiles.tile(0, n)) is not None:
            self.problem(self.head.size, f"a record {UNCOVERED}")
        last, width = divmod(self.head.size, WIDTH)
        later = [name for name in self.files.names(f"{tiles.tile(0, last)}.p") if name.isdigit() and int(name) > width]
        if later or self.files.read(tiles.tile(0, last)) is not None:
            self.problem(self.head.size, f"a tile {UNCOVERED}")


def _fits(hashes: bytes, entries: bytes, commitments: list[bytes], width: int) -> bool:
    """Whether a bundle's tiles are whole and of each other: every commitment, of the right length, has its hash."""
    return (
        (len(hashes), len(entries)) == (width * HASH_OCTETS, width * ENTRY_OCTETS)
        and entries[::ENTRY_OCTETS] == bytes(width)
        and entries[1::ENTRY_OCTETS] == bytes((HASH_OCTETS,)) * width
        and b"".join([sha256(b"\0" + commitment).digest() for commitment in commitments]) == hashes
    )


def _in_order(texts: list[bytes], places: range) -> dict[int, tiles.Line] | None:
    """The lines of a bundle that has no padding and nothing wrong: one for each place. None for any other."""
    if len(texts) != len(places):
        return None
    try:
        found = {line.index: line for line in map(tiles.decode, texts) if not line.seed}
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return found if list(found) == list(places) else None


def padding_problem(files: Files, tree: merkle.Tree, n: int) -> Problem | None:
    """What is wrong with bundle `n`, which `examine` deferred; None when nothing is. Raises LedgerError."""
    first = n * WIDTH
    hashes, entries = (files.read(tiles.tile(level, n)) or b"" for level in (0, "entries"))
    if len(hashes) != WIDTH * HASH_OCTETS or len(entries) != WIDTH * ENTRY_OCTETS:
        return Problem(index=first, what="a tile of padding is missing or cut short")
    if merkle.rows_of(hashes)[1] != tree.read(tiles.HEIGHT, n):
        return Problem(index=first, what="a tile of padding is not what stands in the tree")
    padding = _run_before(files, n)
    for offset in range(WIDTH):
        stored = entries[offset * ENTRY_OCTETS : (offset + 1) * ENTRY_OCTETS]
        if merkle.leaf_hash(stored[2:]) != hashes[offset * HASH_OCTETS : (offset + 1) * HASH_OCTETS]:
            return Problem(index=first + offset, what="the commitment does not have the hash that stands in the tree")
        if padding is None or padding.commitment(first + offset) != stored[2:]:
            return Problem(index=first + offset, what=MISSING)
    return None


def _run_before(files: Files, n: int) -> tiles.Padding | None:
    """The run that bundle `n`, which has no records file, goes on with."""
    for before in range(n - 1, -1, -1):
        if octets := files.read(tiles.records(before)):
            try:
                line = msgspec.json.decode(octets.splitlines()[-1], type=tiles.Line)
                return tiles.Padding(line.seed, line.record)
            except (ValueError, IndexError):
                return None
    return None
