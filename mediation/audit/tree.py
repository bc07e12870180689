"""The ledger of an export: every leaf against the signed heads, every record against its leaf.

Answers for the one question that comes before all others: is this what was entered, all of it, in its order? Each leaf
is one of: opened (its record and salt give the commitment), padding, withheld (the sender says that he did not open it;
the commitment stands, and can be opened later), destroyed (a later opened entry names it and its certificate), or
missing. The leaves must give the root of every head that the ledger signed and every head that witnesses cosigned.

Files as C2SP tlog-tiles; records and padding as the daemon's documentation states them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from mediation.audit import forms, merkle, notes, tokens
from mediation.audit.archive import ENTRY_OCTETS, Export, Unreadable
from mediation.audit.notes import Bad, Head

WIDTH = 256
SALT_OCTETS = 32
CHECKPOINT, HISTORY = "checkpoint", "history.jsonl"
PUBLISHED, WITNESSED, WITNESSED_HISTORY = "published", "witnessed", "witnessed.jsonl"
MAX_PROBLEMS = 1_000
MAX_ABSENT = 1 << 20  # leaves that are not there and are named one by one; whoever has the key signs any size (ours)
OPENED, PADDING, WITHHELD, DESTROYED, MISSING = "opened", "padding", "withheld", "destroyed", "missing"


@dataclass(frozen=True, order=True)
class Problem:
    """`index` is the first entry that cannot be believed because of it."""

    index: int
    what: str


@dataclass(frozen=True)
class Record:
    """An opened entry: `facts` are its JSON members, `kind` among them."""

    index: int
    kind: str
    time_us: int
    facts: dict[str, Any]
    commitment: bytes = b""  # as it stands in the tree: of a salt that nobody could know before it was entered


@dataclass
class Ledger:
    """What the leaves say. `cosigned` are the notes that came back from the witnesses, oldest first."""

    head: Head
    problems: list[Problem] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    states: Counter[str] = field(default_factory=Counter)
    destroyed: dict[int, str] = field(default_factory=dict)
    withheld: list[int] = field(default_factory=list)
    signed_heads: int = 0
    cosigned: list[tuple[Head, str]] = field(default_factory=list)

    def bad(self, index: int, what: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(index, what))


def read(export: Export, key: notes.Key, known: str | None = None) -> Ledger:
    """Everything about the tree; `known` is an older checkpoint that somebody kept. Raises Unreadable when there is no
    head that the key signed."""
    try:
        head = notes.opened(export.text(CHECKPOINT) or "", key)
    except Bad as error:
        raise Unreadable(f"entry 0: {CHECKPOINT}: {error}", forged=True) from error
    if head.size > export.leaves + MAX_ABSENT:
        raise Unreadable(f"entry {export.leaves}: what follows of {head.size} entries is not here", forged=True)
    ledger = Ledger(head)
    heads = _heads(export, key, ledger)
    if known is not None:
        try:
            heads.append((notes.opened(known, key), "the checkpoint that you kept"))
        except Bad as error:
            raise Unreadable(f"the checkpoint that you kept: {error}") from error
    tree = merkle.Growing(each.size for each, _ in heads)
    walk = _Walk(export, ledger, tree)
    for n in range(-(-head.size // WIDTH)):
        walk.bundle(n)
    walk.destructions()
    _compare(ledger, tree, heads)
    _beyond(export, ledger)
    ledger.problems.sort()
    return ledger


def _heads(export: Export, key: notes.Key, ledger: Ledger) -> list[tuple[Head, str]]:
    """Every head of the export, with the file that it stands in."""
    found = [(ledger.head, CHECKPOINT)]
    for name in (PUBLISHED, WITNESSED):
        if (text := export.text(name)) is not None:
            _take(name, text, key, ledger, found)
    for name in (HISTORY, WITNESSED_HISTORY):
        for line in (export.files.get(name) or b"").splitlines():
            try:
                text = json.loads(line)
            except (ValueError, RecursionError):
                text = None
            _take(name, text if isinstance(text, str) else "", key, ledger, found)
    for name, text in _named(export):
        _take(name, text, key, ledger, found)
    ledger.signed_heads = sum(name == HISTORY for _, name in found)
    ledger.cosigned.sort(key=lambda pair: pair[0].size)
    return found


def _named(export: Export) -> list[tuple[str, str]]:
    """The heads that stand in documents beside the ledger: in monthly statements, and under daily time stamps."""
    found = [
        (name, export.text(name) or "") for name in export.below("stamps") if name.endswith(f"/{CHECKPOINT}")
    ]  # fmt: skip
    for name in export.below("statements"):
        try:
            found.append((name, str(tokens.split(export.text(name) or "").members().get("checkpoint"))))
        except tokens.Bad:
            continue  # what is wrong with it is said where statements are judged
    return found


def _take(name: str, text: str, key: notes.Key, ledger: Ledger, found: list[tuple[Head, str]]) -> None:
    try:
        head = notes.opened(text, key)
    except Bad as error:
        before = max((each.size for each, where in found if where == name), default=0)
        ledger.bad(before, f"{name}: {error}")
        return
    found.append((head, name))
    if name in (WITNESSED, WITNESSED_HISTORY):
        ledger.cosigned.append((head, text))


def _compare(ledger: Ledger, tree: merkle.Growing, heads: list[tuple[Head, str]]) -> None:
    """Each signed head is one of the tree. The first that is not bounds the change: it is after the last that is."""
    good = 0
    signed: dict[int, tuple[Head, str]] = {}
    for head, name in heads:
        other, where = signed.setdefault(head.size, (head, name))
        if other.root != head.root:
            ledger.bad(max(head.size - 1, 0), f"{where} and {name}: two different ledgers of {head.size} entries were "
                                              "signed: somebody was shown another one")  # fmt: skip
            break
    for head, name in sorted(heads, key=lambda pair: pair[0].size):
        if head.size > ledger.head.size:
            ledger.bad(ledger.head.size, f"{name}: a longer ledger was signed: this one was cut off or rolled back")
            return
        root = tree.roots.get(head.size)
        if root is not None and root != head.root:
            if head.size == good:
                return  # said already: one of two of this size
            if not any(good <= each.index < head.size for each in ledger.problems):
                ledger.bad(good, f"{name}: the entries {good} to {head.size - 1} are not those that were signed")
            return
        good = head.size


def _beyond(export: Export, ledger: Ledger) -> None:
    """Records after the head were never signed, or their head was taken away."""
    for name in export.below("records"):
        for line in export.files[name].splitlines():
            facts = _line(line)
            if facts is not None and facts["index"] >= ledger.head.size:
                ledger.bad(ledger.head.size, "a record stands beyond the signed head")
                return


def _line(octets: bytes) -> dict[str, Any] | None:
    try:
        facts = forms.members(octets.decode())
    except (tokens.Bad, UnicodeDecodeError):
        return None
    fits = type(facts.get("index")) is int and 0 <= facts["index"] <= forms.MAX_NUMBER
    texts = ("salt", "record", "seed", "destroyed")
    return facts if fits and all(isinstance(facts.get(name, ""), str) for name in texts) else None


def _hex(text: str) -> bytes:
    """32 octets from their one spelling; empty for anything else."""
    try:
        octets = bytes.fromhex(text)
    except ValueError:
        return b""
    return octets if len(octets) == SALT_OCTETS and octets.hex() == text else b""


def number(n: int) -> str:
    """Names of tiles in groups of three digits (C2SP tlog-tiles)."""
    groups = [f"{n % 1000:03}"]
    while n := n // 1000:
        groups.append(f"x{n % 1000:03}")
    return "/".join(reversed(groups))


class _Walk:
    """One pass over all leaves, in their order."""

    def __init__(self, export: Export, ledger: Ledger, tree: merkle.Growing) -> None:
        self._export = export
        self._ledger = ledger
        self._tree = tree
        self._seed = b""
        self._padding = b""
        self._garbled = False

    def bundle(self, n: int) -> None:
        """The leaves [256 n, 256 n + 256)."""
        ledger, first = self._ledger, n * WIDTH
        width = min(WIDTH, ledger.head.size - first)
        commitments = self._tile(f"tile/entries/{number(n)}", width, ENTRY_OCTETS)
        hashes = self._tile(f"tile/0/{number(n)}", width, merkle.OCTETS)
        self._garbled = False
        lines = self._lines(n)
        missing = ledger.states[MISSING]
        for offset in range(width):
            index = first + offset
            stored = commitments[offset * ENTRY_OCTETS : (offset + 1) * ENTRY_OCTETS]
            hashed = hashes[offset * merkle.OCTETS : (offset + 1) * merkle.OCTETS]
            if len(stored) != ENTRY_OCTETS:
                ledger.bad(index, "its commitment is missing from the tiles")
                stored = b"\x00\x20" + bytes(32)
            elif stored[:2] != b"\x00\x20":
                ledger.bad(index, "its commitment is not of 32 octets")
            leaf = merkle.leaf(stored[2:])
            if hashed and hashed != leaf:
                ledger.bad(index, "its commitment is not the leaf that stands in the tree")
            self._tree.add(leaf)
            ledger.states[self._leaf(index, lines.get(index), stored[2:])] += 1
        if self._garbled and ledger.states[MISSING] == missing:
            ledger.bad(first, "a line of these 256 records is not readable")

    def _tile(self, name: str, width: int, each: int) -> bytes:
        """The widest copy of a tile, at most `width` wide. Copies that disagree are found by their hashes."""
        files = self._export.files
        copies = [files[name]] if name in files else []
        copies += [
            files[f"{name}.p/{wide}"] for wide in range(WIDTH - 1, 0, -1) if f"{name}.p/{wide}" in files
        ]  # fmt: skip
        best = max(copies, key=len, default=b"")[: width * each]
        for copy in copies:
            shared = min(len(copy), len(best))
            if copy[:shared] != best[:shared]:
                at = next(i for i in range(0, shared, each) if copy[i : i + each] != best[i : i + each])
                self._ledger.bad(self._tree.size + at // each, f"{name}: two copies of the tile disagree")
        return best

    def _lines(self, n: int) -> dict[int, dict[str, Any]]:
        found: dict[int, dict[str, Any]] = {}
        last = n * WIDTH - 1
        for octets in (self._export.files.get(f"records/{number(n)}.jsonl") or b"").splitlines():
            facts = _line(octets)
            if facts is None:
                self._garbled = True  # which entry it was of shows when that entry has no record
                continue
            index = int(facts["index"])
            if index <= last or index // WIDTH != n:
                self._ledger.bad(max(index, 0), "its record stands out of its order")
            last = max(last, index)
            found.setdefault(index, facts)
        return found

    def _leaf(self, index: int, line: dict[str, Any] | None, commitment: bytes) -> str:
        ledger = self._ledger
        if line is not None:
            self._seed = b""
            if line.get("seed"):
                self._begin_padding(index, line)
        elif index in self._export.withheld:
            self._seed = b""
            ledger.withheld.append(index)
            return WITHHELD
        if self._seed:
            salt = hmac.new(self._seed, index.to_bytes(8, "big"), hashlib.sha256).digest()
            if hashlib.sha256(salt + self._padding).digest() == commitment:
                return PADDING
            ledger.bad(index, "its record is missing: it is neither padding nor said to be withheld")
            return MISSING
        if line is None or line.get("seed"):
            ledger.bad(index, "its record is missing, and nothing says that it was withheld or destroyed")
            return MISSING
        if line.get("destroyed"):
            ledger.destroyed[index] = line["destroyed"]
            return DESTROYED
        return self._opened(index, line, commitment)

    def _begin_padding(self, index: int, line: dict[str, Any]) -> None:
        try:
            kind = forms.read(line.get("record", ""))["kind"]
        except tokens.Bad:
            kind = None
        seed = _hex(line["seed"])
        if not seed or kind != "padding":
            self._ledger.bad(index, "its padding is not readable")
            return
        self._seed, self._padding = seed, line["record"].encode()

    def _opened(self, index: int, line: dict[str, Any], commitment: bytes) -> str:
        text = line.get("record", "")
        salt = _hex(line.get("salt", ""))
        if not salt or hashlib.sha256(salt + text.encode("utf-8", "replace")).digest() != commitment:
            self._ledger.bad(index, "its record is not the one that was entered")
            return MISSING
        try:
            facts = forms.read(text)
            self._ledger.records.append(Record(index, facts["kind"], facts["time_us"], facts, commitment))
        except tokens.Bad as error:
            self._ledger.bad(index, f"it was entered in a form that no entry has: {error}")
        return OPENED

    def destructions(self) -> None:
        """A record that is gone is named, with its certificate, by a later entry that is opened."""
        named = {
            (index, each.facts.get("certificate_sha256"))
            for each in self._ledger.records
            if each.kind == "destroyed"
            for index in each.facts.get("entries", ())
            if isinstance(index, int) and index < each.index
        }
        for index, certificate in self._ledger.destroyed.items():
            if (index, certificate) not in named:
                self._ledger.bad(index, "its record was taken away, and no certificate of destruction names it")
