"""What root can do to a ledger: every edit of a file, and with the stolen key every other history.

Each attack takes the folder of a copy and the index of the entry it is about. `FILES` are edits without the ledger's
key, `HISTORIES` give another list of records that the thief signs anew.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import msgspec

from mediation.administration.ledger import tiles
from mediation.core.case import Act
from mediation.core.ledger import entry, merkle, note
from tests import ledger_lines
from tests.core.authority import NOW_S, ORIGIN, private

KINDS: tuple[type[entry.Entry], ...] = get_args(entry.Record)
NOW_US = NOW_S * 1_000_000
STRANGER = note.Signer(ORIGIN, private(7))
ENTRY, HASH = tiles.ENTRY_OCTETS, merkle.HASH_OCTETS
Lines = list[dict[str, Any]]


def sample(kind: type[entry.Entry]) -> entry.Record:
    """A record of a kind, with something in each of its fields."""
    return msgspec.convert(
        {"kind": kind.__struct_config__.tag, **{f.name: _value(f) for f in _fields(kind)}}, entry.Record
    )  # type: ignore[arg-type]


def _fields(kind: type[entry.Entry]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(kind)


def _value(field: msgspec.structs.FieldInfo) -> Any:
    if field.name == "time_us":
        return NOW_US
    if field.type is int:
        return 3
    if field.type is bool:
        return True
    if field.type is str:
        return "ab" * 32
    if field.type is Act:
        return Act.ACTIVATE
    text = str(field.type)
    if text.startswith("dict"):
        return {"legal": "ab" * 32}
    return [1, 1] if "int" in text else ["ada", "bob"]


def edited(record: str, name: str) -> str:
    """The record with another value in one field; still a record of its kind."""
    fields = json.loads(record)
    old = fields[name]
    if isinstance(old, bool):
        new: Any = not old
    elif isinstance(old, int):
        new = old + 1
    elif isinstance(old, dict):
        new = {**old, "legal": "cd" * 32}
    elif isinstance(old, list):
        new = [*old[1:], 7 if isinstance(old[0], int) else "eve"]
    else:
        new = next(a.value for a in Act if a.value != old) if old in set(Act) else f"cd{old[2:]}"
    changed = json.dumps({**fields, name: new}, separators=(",", ":"))
    entry.decode(changed)
    assert changed != record
    return changed


def fields_of(record: str) -> list[str]:
    return [name for name in json.loads(record) if name != "kind"]


# --- files ------------------------------------------------------------------------------------------------------------


def read(folder: Path) -> Lines:
    return ledger_lines.read(folder)


def write(folder: Path, lines: Lines) -> None:
    ledger_lines.write(folder, lines)


def on_lines(change: Callable[[Lines, int], Lines | None]) -> Callable[[Path, int], None]:
    def attack(folder: Path, index: int) -> None:
        lines = read(folder)
        write(folder, change(lines, index) or lines)

    return attack


def on_sealed(change: Callable[[list[bytes], int], list[bytes]]) -> Callable[[Path, int], None]:
    """An edit of the lines as they lie on the disk, by somebody who has not the vault."""

    def attack(folder: Path, index: int) -> None:
        path = folder / ledger_lines.FILE
        path.write_bytes(b"".join(line + b"\n" for line in change(path.read_bytes().splitlines(), index)))

    return attack


def _another(line: bytes, at: int) -> bytes:
    """With another digit of base64 in one place."""
    return line[:at] + (b"B" if line[at : at + 1] == b"A" else b"A") + line[at + 1 :]


def _clear(line: bytes) -> bytes:
    return ledger_lines.tiles.opened(line, ledger_lines.BOX).strip()


def _put(lines: Lines, index: int, **changes: Any) -> None:
    lines[index] = {**lines[index], **changes}


def _renumbered(lines: Lines) -> Lines:
    return [{**line, "index": number} for number, line in enumerate(lines)]


def on_tile(level: str, change: Callable[[bytearray, int], bytes | bytearray | None]) -> Callable[[Path, int], None]:
    """The same edit of all copies of a tile, so that none disagrees with another."""

    def attack(folder: Path, index: int) -> None:
        for path in (folder / f"tile/{level}/000.p").iterdir():
            octets = bytearray(path.read_bytes())
            if int(path.name) > index + 1:
                path.write_bytes(change(octets, index) or octets)

    return attack


def _flip(octets: bytearray, at: int) -> None:
    octets[at] ^= 1


def _swapped(octets: bytearray, index: int, width: int) -> bytearray:
    at = index * width
    one, two = octets[at : at + width], octets[at + width : at + 2 * width]
    return octets[:at] + two + one + octets[at + 2 * width :]


def consistently(folder: Path, index: int) -> None:
    """Record, commitment and hash alike, wherever they stand: the best that can be done without the key."""
    lines = read(folder)
    record = edited(lines[index]["record"], "time_us")
    _put(lines, index, record=record)
    write(folder, lines)
    commitment = entry.commitment(bytes.fromhex(lines[index]["salt"]), record)
    for level, octets in (("entries", b"\x00\x20" + commitment), ("0", merkle.leaf_hash(commitment))):
        for path in (folder / f"tile/{level}/000.p").iterdir():
            held = bytearray(path.read_bytes())
            if int(path.name) > index:
                held[index * len(octets) : (index + 1) * len(octets)] = octets
                path.write_bytes(held)


def cut(folder: Path, index: int) -> None:
    """Everything from the entry on is gone; the heads stay."""
    write(folder, read(folder)[:index])
    for level, width in (("entries", ENTRY), ("0", HASH)):
        for path in (folder / f"tile/{level}/000.p").iterdir():
            path.write_bytes(path.read_bytes()[: index * width])


def re_signed(folder: Path, index: int) -> None:
    """As `consistently`, under a head that another key signed in the ledger's name."""
    consistently(folder, index)
    path = max((folder / "tile/0/000.p").iterdir(), key=lambda each: int(each.name))
    octets = path.read_bytes()
    root = merkle.Tree(octets[at : at + HASH] for at in range(0, len(octets), HASH)).root()
    head = note.Checkpoint(origin=ORIGIN, size=len(octets) // HASH, root=root)
    (folder / "checkpoint").write_text(STRANGER.sign(head.text()))


def first_head(folder: Path, _: int) -> None:
    """The checkpoint of the first day, beside everything of today."""
    first = json.loads((folder / "history.jsonl").read_text().splitlines()[0])
    (folder / "checkpoint").write_text(first)


def cut_and_first_head(folder: Path, _: int) -> None:
    """The first day's checkpoint and exactly its files; what was signed or shown later is left."""
    cut(folder, 1)
    for level in ("0", "entries"):
        for path in (folder / f"tile/{level}/000.p").iterdir():
            if path.name != "1":
                path.unlink()
    first_head(folder, 0)


FILES: dict[str, Callable[[Path, int], None]] = {
    "another salt": on_lines(lambda lines, i: _put(lines, i, salt="00" * 32)),
    "a shorter salt": on_lines(lambda lines, i: _put(lines, i, salt="00")),
    "deleted": on_lines(lambda lines, i: lines[:i] + lines[i + 1 :]),
    "deleted and renumbered": on_lines(lambda lines, i: _renumbered(lines[:i] + lines[i + 1 :])),
    "emptied": on_lines(lambda lines, i: _put(lines, i, record="", salt="")),
    "not a record": on_lines(lambda lines, i: _put(lines, i, record='{"kind":"none"}')),
    "another's record": on_lines(lambda lines, i: [*lines[:i], {**lines[i - 1], "index": i}, *lines[i + 1 :]]),
    "inserted": on_lines(lambda lines, i: [*lines[:i], {**lines[i - 1], "index": i}, *lines[i:]]),
    "inserted and renumbered": on_lines(lambda lines, i: _renumbered([*lines[:i], lines[i - 1], *lines[i:]])),
    "twice": on_lines(lambda lines, i: [*lines[: i + 1], lines[i], *lines[i + 1 :]]),
    "swapped": on_lines(lambda lines, i: [*lines[:i], lines[i + 1], lines[i], *lines[i + 2 :]]),
    "swapped and renumbered": on_lines(
        lambda lines, i: _renumbered([*lines[:i], lines[i + 1], lines[i], *lines[i + 2 :]])
    ),
    "truncated": on_lines(lambda lines, i: lines[:i]),
    "called destroyed": on_lines(lambda lines, i: [*lines[:i], {"index": i, "destroyed": "cd" * 32}, *lines[i + 1 :]]),
    "called padding": on_lines(
        lambda lines, i: [*lines[:i], {**lines[-1], "index": i, "salt": ""}, *lines[i + 1 :]]
    ),
    "sealed octets": on_sealed(lambda lines, i: [*lines[:i], _another(lines[i], 40), *lines[i + 1 :]]),
    "sealed lines swapped": on_sealed(lambda lines, i: [*lines[:i], lines[i + 1], lines[i], *lines[i + 2 :]]),
    "a sealed line twice": on_sealed(lambda lines, i: [*lines[: i + 1], lines[i], *lines[i + 1 :]]),
    "a sealed line gone": on_sealed(lambda lines, i: [*lines[:i], *lines[i + 1 :]]),
    "a sealed line cut short": on_sealed(lambda lines, i: [*lines[:i], lines[i][:100] + b'"', *lines[i + 1 :]]),
    "the true line in clear": on_sealed(lambda lines, i: [*lines[:i], _clear(lines[i]), *lines[i + 1 :]]),
    "records gone": lambda folder, _: (folder / "records/000.jsonl").unlink(),
    "a hash": on_tile("0", lambda octets, i: _flip(octets, i * HASH)),
    "a commitment": on_tile("entries", lambda octets, i: _flip(octets, i * ENTRY + 2)),
    "a commitment's length": on_tile("entries", lambda octets, i: _flip(octets, i * ENTRY + 1)),
    "hashes swapped": on_tile("0", lambda octets, i: _swapped(octets, i, HASH)),
    "commitments swapped": on_tile("entries", lambda octets, i: _swapped(octets, i, ENTRY)),
    "tile cut short": on_tile("0", lambda octets, i: octets[: i * HASH]),
    "entry tile cut short": on_tile("entries", lambda octets, i: octets[: i * ENTRY]),
    "tile replaced": on_tile("0", lambda octets, _: bytes(len(octets))),
    "entry tile replaced": on_tile("entries", lambda octets, _: bytes(len(octets))),
    "tile gone": lambda folder, _: shutil.rmtree(folder / "tile/0/000.p"),
    "entry tile gone": lambda folder, _: shutil.rmtree(folder / "tile/entries/000.p"),
    "consistently": consistently,
    "all cut": cut,
    "signed by another key": re_signed,
    "an old checkpoint": first_head,
    "an old checkpoint and its files": cut_and_first_head,
    "no checkpoint": lambda folder, _: (folder / "checkpoint").unlink(),
}  # fmt: skip


# --- with the ledger's key --------------------------------------------------------------------------------------------

Records = list[str]


def _of(record: str) -> str:
    return edited(record, "time_us")


HISTORIES: dict[str, Callable[[Records, int], Records]] = {
    "edited": lambda records, i: [*records[:i], _of(records[i]), *records[i + 1 :]],
    "deleted": lambda records, i: records[:i] + records[i + 1 :],
    "deleted, and one more at the end": lambda records, i: [*records[:i], *records[i + 1 :], records[0]],
    "inserted": lambda records, i: [*records[:i], _of(records[i]), *records[i:]],
    "swapped": lambda records, i: [*records[:i], records[i + 1], records[i], *records[i + 2 :]],
    "replaced": lambda records, i: [*records[:i], records[i - 1], *records[i + 1 :]],
    "cut off before": lambda records, i: records[:i],
    "cut off, and grown again": lambda records, i: [*records[:i], *([records[0]] * 200)],
}
