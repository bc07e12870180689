"""Ways to change a ledger behind its back: each takes the folder and the index of the first entry it spoils."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mediation.core.ledger import entry, merkle
from tests import ledger_lines


def lines_of(folder: Path) -> list[dict[str, object]]:
    return ledger_lines.read(folder)


def write_lines(folder: Path, lines: list[dict[str, object]]) -> None:
    ledger_lines.write(folder, lines)


def edit_record(folder: Path, index: int) -> None:
    lines = lines_of(folder)
    lines[index]["record"] = str(lines[index]["record"]).replace("CASE", "CASF")
    write_lines(folder, lines)


def edit_salt(folder: Path, index: int) -> None:
    lines = lines_of(folder)
    lines[index]["salt"] = "00" * 32
    write_lines(folder, lines)


def delete_record(folder: Path, index: int) -> None:
    lines = lines_of(folder)
    del lines[index]
    write_lines(folder, lines)


def reorder(folder: Path, index: int) -> None:
    lines = lines_of(folder)
    lines[index], lines[index + 1] = lines[index + 1], lines[index]
    write_lines(folder, lines)


def reorder_and_renumber(folder: Path, index: int) -> None:
    lines = lines_of(folder)
    lines[index], lines[index + 1] = (
        {**lines[index + 1], "index": index},
        {**lines[index], "index": index + 1},
    )
    write_lines(folder, lines)


def garble(folder: Path, index: int) -> None:
    lines = (folder / "records/000.jsonl").read_bytes().splitlines(keepends=True)
    lines[index] = b"\xff\n"
    (folder / "records/000.jsonl").write_bytes(b"".join(lines))


def truncate_records(folder: Path, index: int) -> None:
    write_lines(folder, lines_of(folder)[:index])


def widest(folder: Path, level: str) -> Path:
    return max((folder / f"tile/{level}/000.p").iterdir(), key=lambda path: int(path.name))


def edit_hash(folder: Path, index: int) -> None:
    path = widest(folder, "0")
    octets = bytearray(path.read_bytes())
    octets[index * 32] ^= 1
    path.write_bytes(octets)


def edit_commitment(folder: Path, index: int) -> None:
    path = widest(folder, "entries")
    octets = bytearray(path.read_bytes())
    octets[index * 34 + 2] ^= 1
    path.write_bytes(octets)


def edit_length(folder: Path, index: int) -> None:
    path = widest(folder, "entries")
    octets = bytearray(path.read_bytes())
    octets[index * 34 + 1] ^= 1
    path.write_bytes(octets)
    for other in (folder / "tile/entries/000.p").iterdir():
        if other != path:
            other.unlink()


def rewrite_consistently(folder: Path, index: int) -> None:
    """What somebody with the disk but not the key does best: record, commitment and hash changed alike, everywhere."""
    lines = lines_of(folder)
    text = str(lines[index]["record"]).replace("CASE", "CASF")
    lines[index]["record"] = text
    write_lines(folder, lines)
    commitment = entry.commitment(bytes.fromhex(str(lines[index]["salt"])), text)
    for path in (folder / "tile/entries/000.p").iterdir():
        octets = bytearray(path.read_bytes())
        if int(path.name) > index:
            octets[index * 34 + 2 : index * 34 + 34] = commitment
            path.write_bytes(octets)
    for path in (folder / "tile/0/000.p").iterdir():
        octets = bytearray(path.read_bytes())
        if int(path.name) > index:
            octets[index * 32 : index * 32 + 32] = merkle.leaf_hash(commitment)
            path.write_bytes(octets)


CHANGES: list[Callable[[Path, int], None]] = [
    edit_record, edit_salt, delete_record, reorder, reorder_and_renumber, garble, truncate_records, edit_hash,
    edit_commitment, edit_length, rewrite_consistently,
]  # fmt: skip
