"""The ledger: durable, verified offline, and any change to it named by the first bad entry."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mediation.administration.ledger import tiles, verify
from mediation.administration.ledger.ledger import Ledger
from mediation.administration.records import export
from mediation.core.errors import LedgerError, LocalProtocolError
from mediation.core.interface.control import Export
from mediation.core.ledger import entry, merkle, note
from mediation.runtime import durable
from tests import ledger_lines
from tests.administration.tampering import CHANGES
from tests.core.authority import NOW_S, private
from tests.ledger_lines import BOX

SIGNER = note.Signer("test/ledger", private(9))


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody writes beside the reader here: what does not hold together will not the next time."""
    monkeypatch.setattr(verify, "PAUSE_S", 0)
    monkeypatch.setattr(verify, "ATTEMPTS", 2)


def record(n: int) -> str:
    return entry.encode(entry.Expired(time_us=NOW_S * 1_000_000 + n, case=f"CASE-{n}", carrier_sha256="ab" * 32))


def make(folder: Path, singles: int = 10, batch: int = 0) -> Ledger:
    """A ledger of `singles` entries under a checkpoint each, and then `batch` under one."""
    ledger = Ledger.create(folder, SIGNER, BOX, [record(0)])
    for n in range(1, singles):
        ledger.append([record(n)])
    if batch:
        ledger.append([record(singles + n) for n in range(batch)])
    return ledger


def examine(folder: Path, **more: str) -> verify.Report:
    return verify.examine(tiles.Folder(folder, BOX), SIGNER.verifier, **more)  # type: ignore[arg-type]


def first_bad(folder: Path) -> int:
    report = examine(folder)
    assert report.problems
    with pytest.raises(LedgerError, match=f"entry {report.problems[0].index}:"):
        report.raise_first()
    return report.problems[0].index


@pytest.mark.parametrize(("singles", "batch"), [(1, 0), (10, 0), (10, 246), (10, 247), (3, 600)])
def test_what_was_entered_verifies(tmp_path: Path, singles: int, batch: int) -> None:
    ledger = make(tmp_path / "ledger", singles, batch)
    report = examine(tmp_path / "ledger")
    assert report.problems == ()
    assert report.head.size == singles + batch == ledger.size
    assert report.kinds == {"expired": singles + batch}
    assert (report.first_us, report.last_us) == (NOW_S * 10**6, NOW_S * 10**6 + singles + batch - 1)
    again = Ledger(tmp_path / "ledger", SIGNER, BOX, least=ledger.head)
    entered = again.append([record(0)])
    assert examine(tmp_path / "ledger").problems == ()
    proof = again.proof(entered[0])
    leaf = merkle.leaf_hash(entry.commitment(bytes.fromhex(proof.salt), proof.record))
    head = note.open_checkpoint(proof.checkpoint, SIGNER.verifier)
    path = [bytes.fromhex(node) for node in proof.path]
    assert merkle.root_from_inclusion(leaf, proof.index, head.size, path) == head.root


def test_the_files_are_tlog_tiles(tmp_path: Path) -> None:
    """Names, widths and contents as C2SP tlog-tiles gives them, computed here from the entries alone."""
    make(tmp_path, 5, 65_536 + 300 - 5)
    size = 65_536 + 300
    bundle = (tmp_path / "tile/entries/000").read_bytes()
    assert len(bundle) == 256 * 34 and bundle[:2] == b"\x00\x20"
    leaves = []
    for n in range(-(-size // 256)):
        width = min(256, size - n * 256)
        path = tmp_path / f"tile/entries/{n:03}{'' if width == 256 else f'.p/{width}'}"
        octets = path.read_bytes()
        leaves += [hashlib.sha256(b"\x00" + octets[at + 2 : at + 34]).digest() for at in range(0, len(octets), 34)]
    assert len(leaves) == size
    assert (tmp_path / "tile/0/255").read_bytes() == b"".join(leaves[255 * 256 : 256 * 256])
    assert (tmp_path / "tile/0/257.p/44").read_bytes() == b"".join(leaves[257 * 256 :])
    tree = merkle.Tree(leaves)
    assert (tmp_path / "tile/1/000").read_bytes() == b"".join(tree.read(8, n) for n in range(256))
    assert (tmp_path / "tile/1/001.p/1").read_bytes() == tree.read(8, 256)
    assert (tmp_path / "tile/2/000.p/1").read_bytes() == tree.read(16, 0)
    head = note.open_checkpoint((tmp_path / "checkpoint").read_text(), SIGNER.verifier)
    assert (head.size, head.root) == (size, tree.root())


@pytest.mark.parametrize(
    ("n", "name"), [(0, "000"), (7, "007"), (999, "999"), (1000, "x001/000"), (1234067, "x001/x234/067")]
)
def test_tile_names(n: int, name: str) -> None:
    assert tiles.number(n) == name
    assert tiles.place(name) == (n, 256)
    assert tiles.place(f"{name}.p/17") == (n, 17)


def test_the_tree_hides_the_records(tmp_path: Path) -> None:
    ledger = make(tmp_path, 1)
    same = ledger.append([record(5), record(5)])
    assert same[0].salt != same[1].salt
    public = b"".join(path.read_bytes() for path in (tmp_path / "tile").rglob("*") if path.is_file())
    assert b"CASE" not in public
    octets = (tmp_path / "tile/entries/000.p/3").read_bytes()
    assert octets[36:68] != octets[70:102], "one record entered twice can be told"


# --- changed behind our back ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("index", [0, 1, 5, 8])
def test_any_change_is_named_by_its_index(tmp_path: Path, change: Callable[[Path, int], None], index: int) -> None:
    make(tmp_path)
    change(tmp_path, index)
    assert first_bad(tmp_path) == index
    with pytest.raises(LedgerError, match=f"entry {index}:"):
        Ledger(tmp_path, SIGNER, BOX)
    with pytest.raises(LedgerError, match=f"entry {index}:"):
        export.of(tiles.Folder(tmp_path, BOX), SIGNER.verifier, Export())
    with pytest.raises(LedgerError, match=f"entry {index}:"):
        verify.prove(tiles.Folder(tmp_path, BOX), SIGNER.verifier, 0)


@pytest.mark.parametrize("name", ["records/000.jsonl", "tile/0/000", "tile/entries/000", "tile/1/000.p/1"])
def test_a_missing_file(tmp_path: Path, name: str) -> None:
    make(tmp_path, 10, 300)
    (tmp_path / name).unlink()
    assert first_bad(tmp_path) == 0


def test_an_edited_upper_tile(tmp_path: Path) -> None:
    make(tmp_path, 10, 600)
    path = tmp_path / "tile/1/000.p/2"
    octets = bytearray(path.read_bytes())
    octets[40] ^= 1
    path.write_bytes(octets)
    assert first_bad(tmp_path) == 256


@pytest.mark.parametrize("age", [1, 5])
def test_a_checkpoint_that_was_put_back(tmp_path: Path, age: int) -> None:
    ledger = make(tmp_path)
    history = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    (tmp_path / "checkpoint").write_text(history[-1 - age])
    assert first_bad(tmp_path) == 10 - age
    with pytest.raises(LedgerError):
        Ledger(tmp_path, SIGNER, BOX, least=ledger.head)


def test_everything_put_back_is_found_by_whoever_remembers(tmp_path: Path) -> None:
    """A whole older copy is a perfect ledger. The store's memory finds it, and any checkpoint that was kept."""
    ledger = make(tmp_path / "ledger")
    shutil.copytree(tmp_path / "ledger", tmp_path / "old")
    ledger.append([record(10)])
    kept = ledger.checkpoint
    assert examine(tmp_path / "old").problems == ()
    assert examine(tmp_path / "old", known=kept).problems[0].index == 10
    with pytest.raises(LedgerError, match="rolled back"):
        Ledger(tmp_path / "old", SIGNER, BOX, least=ledger.head)
    assert examine(tmp_path / "ledger", known=examine(tmp_path / "old").checkpoint).problems == ()


def test_another_history_of_the_same_length(tmp_path: Path) -> None:
    ours = make(tmp_path / "ours")
    make(tmp_path / "theirs")
    with pytest.raises(LedgerError, match="not the one"):
        Ledger(tmp_path / "theirs", SIGNER, BOX, least=ours.head)
    assert examine(tmp_path / "theirs", known=ours.checkpoint).problems


@pytest.mark.parametrize("text", ["", "no checkpoint", "test/ledger\n10\nAAAA\n\n"])
def test_a_checkpoint_that_is_none(tmp_path: Path, text: str) -> None:
    make(tmp_path)
    (tmp_path / "checkpoint").write_text(text)
    with pytest.raises(LedgerError, match="checkpoint"):
        examine(tmp_path)


def test_a_checkpoint_by_another_key(tmp_path: Path) -> None:
    ledger = make(tmp_path)
    (tmp_path / "checkpoint").write_text(note.Signer("test/ledger", private(8)).sign(ledger.head.text()))
    with pytest.raises(LedgerError, match="checkpoint"):
        examine(tmp_path)


def test_an_edited_history(tmp_path: Path) -> None:
    make(tmp_path)
    lines = (tmp_path / "history.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "history.jsonl").write_text("".join([*lines[:4], *lines[5:]]))
    assert examine(tmp_path).problems == ()  # one fewer signed head is no contradiction
    (tmp_path / "history.jsonl").write_text(
        "".join([*lines[:4], json.dumps(json.loads(lines[4]).replace("\n5\n", "\n6\n")) + "\n", *lines[5:]])
    )
    assert first_bad(tmp_path) == 4


def test_added_records(tmp_path: Path) -> None:
    make(tmp_path)
    added = {"index": 10, "salt": "00" * 32, "record": record(10)}
    ledger_lines.write(tmp_path, [*ledger_lines.read(tmp_path), added])
    assert first_bad(tmp_path) == 10


# --- crashes and full disks -------------------------------------------------------------------------------------------


class Stop(OSError):
    """The power is cut, or the disk is full."""


@pytest.mark.parametrize("persisted", [False, True], ids=["failed and not persisted", "failed but persisted"])
@pytest.mark.parametrize("size", [1, 255, 256])
@pytest.mark.parametrize("more", [1, 300])
def test_an_append_that_fails_at_any_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, more: int, persisted: bool
) -> None:
    """Whatever step fails: the writer goes on, a new opening goes on, and what was acknowledged is there."""
    for step in range(1, 60):
        folder = tmp_path / str(step)
        ledger = Ledger.create(folder, SIGNER, BOX, [record(n) for n in range(size)])
        left = step

        def failing(real: Callable[..., None]) -> Callable[..., None]:
            def call(*args: object) -> None:
                nonlocal left
                left -= 1
                if left == 0:
                    if persisted:
                        real(*args)
                    raise Stop(28, "No space left on device")
                real(*args)

            return call

        with monkeypatch.context() as patch:
            for name in ("append", "_write_beside", "_put_in_place", "sync_folder"):
                patch.setattr(durable, name, failing(getattr(durable, name)))
            try:
                ledger.append([record(n) for n in range(more)])
                acknowledged = size + more
            except LedgerError:
                acknowledged = size
        head = ledger.head
        assert head.size == acknowledged
        crashed = tmp_path / f"{step}-crashed"
        shutil.copytree(folder, crashed)
        for each in (ledger, Ledger(crashed, SIGNER, BOX, least=head)):
            assert each.size >= acknowledged
            assert each.append([record(7)])[0].index >= acknowledged
        for place in (folder, crashed):
            assert examine(place, known=SIGNER.sign(head.text())).problems == ()
        if left > 0:
            return  # all steps were tried
    raise AssertionError("more steps than thought")


def test_a_ledger_is_made_once(tmp_path: Path) -> None:
    make(tmp_path, 1)
    with pytest.raises(LedgerError, match="already"):
        make(tmp_path, 1)


def test_a_record_is_bounded(tmp_path: Path) -> None:
    ledger = make(tmp_path, 1)
    with pytest.raises(LocalProtocolError):
        ledger.append(["x" * (entry.MAX_RECORD_OCTETS + 1)])
    assert ledger.append([]) == []
    assert examine(tmp_path).head.size == 1


# --- for the auditor --------------------------------------------------------------------------------------------------


def test_an_export_is_the_same_octets_and_verifies(tmp_path: Path) -> None:
    make(tmp_path / "ledger", 10, 300)
    first = export.of(tiles.Folder(tmp_path / "ledger", BOX), SIGNER.verifier, Export())
    shutil.copytree(tmp_path / "ledger", tmp_path / "copy", copy_function=shutil.copyfile)
    assert export.of(tiles.Folder(tmp_path / "copy", BOX), SIGNER.verifier, Export()) == first
    (tmp_path / "export.tar").write_bytes(first)
    report = verify.examine(tiles.Archive(tmp_path / "export.tar"), SIGNER.verifier)
    assert (report.problems, report.head.size) == ((), 310)
    at = first.index(b"CASE-7")
    (tmp_path / "export.tar").write_bytes(first[:at] + b"CASF" + first[at + 4 :])
    report = verify.examine(tiles.Archive(tmp_path / "export.tar"), SIGNER.verifier)
    assert report.problems[0].index == 7


@pytest.mark.parametrize("octets", [b"", b"no tar", b"\x00" * 1024])
def test_an_archive_that_is_none(tmp_path: Path, octets: bytes) -> None:
    (tmp_path / "export.tar").write_bytes(octets)
    with pytest.raises(LedgerError):
        verify.examine(tiles.Archive(tmp_path / "export.tar"), SIGNER.verifier)


def test_a_proof_of_one_entry(tmp_path: Path) -> None:
    make(tmp_path, 10, 300)
    for index in (0, 9, 255, 256, 309):
        proof = verify.prove(tiles.Folder(tmp_path, BOX), SIGNER.verifier, index)
        head = note.open_checkpoint(proof.checkpoint, SIGNER.verifier)
        leaf = merkle.leaf_hash(entry.commitment(bytes.fromhex(proof.salt), proof.record))
        assert merkle.root_from_inclusion(leaf, index, 310, [bytes.fromhex(n) for n in proof.path]) == head.root
        assert json.loads(proof.record)["case"] == f"CASE-{index}"
    with pytest.raises(LedgerError, match="entry 310"):
        verify.prove(tiles.Folder(tmp_path, BOX), SIGNER.verifier, 310)
