"""Padding, published and witnessed heads, destroyed records: what the ledger keeps beside its entries."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import itertools
import json
from pathlib import Path

import msgspec
import pytest

from mediation.administration.ledger import bundles, tiles, verify
from mediation.administration.ledger.ledger import Ledger
from mediation.core.errors import LedgerError, LocalProtocolError
from mediation.core.ledger import entry, merkle, note
from mediation.runtime import durable
from tests import ledger_lines
from tests.administration.test_ledger import SIGNER, examine, make, no_pause, record
from tests.core.authority import NOW_S
from tests.ledger_lines import BOX

__all__ = ["no_pause"]

NOW_US = NOW_S * 1_000_000
HOUR_US = 3_600_000_000
CERTIFICATE = "cd" * 32


def opened(text: str) -> note.Checkpoint:
    return note.open_checkpoint(text, SIGNER.verifier)


def test_a_published_head_has_grown_by_the_batch_times_a_power_of_eight(tmp_path: Path) -> None:
    ledger = make(tmp_path, 1)
    sizes = [0]
    for appended in (0, 0, 1, 4, 5, 31, 32, 33, 257, 0):
        if appended:
            ledger.append([record(n) for n in range(appended)])
        head = opened(ledger.publish(4, NOW_US))
        assert head.size == ledger.size == ledger.published
        sizes.append(head.size)
    growth = [after - before for before, after in itertools.pairwise(sizes)]
    assert growth == [4, 4, 4, 4, 32, 32, 32, 256, 2048, 4]
    report = examine(tmp_path)
    assert report.problems == ()
    assert report.kinds == {"expired": 1 + 1 + 4 + 5 + 31 + 32 + 33 + 257, "padding": sum(growth) - 364}


def test_a_published_head_is_durable_before_it_leaves(tmp_path: Path) -> None:
    ledger = make(tmp_path, 3)
    text = ledger.publish(4, NOW_US)
    again = Ledger(tmp_path, SIGNER, BOX)
    assert again.published == opened(text).size
    again.append([record(3)])
    assert opened(again.publish(4, NOW_US)).size == opened(text).size + 4


def test_an_idle_ledger_writes_no_line_for_its_padding(tmp_path: Path) -> None:
    ledger = make(tmp_path, 1)
    for n in range(200):
        ledger.publish(4, NOW_US + n)
    assert ledger.size == 800
    lines = [path.read_text().splitlines() for path in sorted((tmp_path / "records").iterdir())]
    assert [len(each) for each in lines] == [2]
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 2  # the first entry, and one of that hour
    again = Ledger(tmp_path, SIGNER, BOX)
    again.publish(4, NOW_US + HOUR_US)  # goes on with the same run
    assert [path.name for path in (tmp_path / "records").iterdir()] == ["000.jsonl"]
    entered = again.append([record(1)])
    assert entered[0].index == 804
    report = examine(tmp_path)
    assert report.problems == () and report.kinds == {"expired": 2, "padding": 803}
    proof = again.proof(entered[0])
    root = merkle.root_from_inclusion(
        merkle.leaf_hash(entry.commitment(bytes.fromhex(proof.salt), proof.record)), 804, 805,
        [bytes.fromhex(node) for node in proof.path],
    )  # fmt: skip
    assert root == again.head.root


def test_padding_is_committed_to_like_any_other_record(tmp_path: Path) -> None:
    """RFC 2104 by another implementation, and nothing in the public tree repeats."""
    make(tmp_path, 1).publish(4, NOW_US)
    line = ledger_lines.read(tmp_path)[1]
    octets = (tmp_path / "tile/entries/000.p/4").read_bytes()
    for index in (1, 2, 3):
        salt = hmac.new(bytes.fromhex(line["seed"]), index.to_bytes(8, "big"), hashlib.sha256).digest()
        assert octets[index * 34 + 2 : index * 34 + 34] == entry.commitment(salt, line["record"])
    assert isinstance(entry.decode(line["record"]), entry.Padding)


@pytest.mark.parametrize("change", ["seed", "record", "gone", "a record in between", "two runs"])
def test_a_changed_run_is_found(tmp_path: Path, change: str) -> None:
    ledger = make(tmp_path, 2)
    ledger.publish(8, NOW_US)
    ledger.append([record(9)])
    lines = ledger_lines.read(tmp_path)
    padding = lines[2]
    if change == "seed":
        lines[2] = {**padding, "seed": "00" * 32}
    elif change == "record":
        lines[2] = {**padding, "record": padding["record"].replace("1", "2")}
    elif change == "gone":
        del lines[2]
    elif change == "a record in between":
        lines.insert(3, {**lines[3], "index": 5})
    else:
        lines.insert(3, {**padding, "index": 5, "seed": "00" * 32})
    ledger_lines.write(tmp_path, lines)
    assert examine(tmp_path).problems[0].index == (5 if change in ("a record in between", "two runs") else 2)


@pytest.mark.parametrize("nth", range(1, 12))
def test_a_publication_that_fails_or_crashes_leaves_a_good_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    ledger = make(tmp_path, 3)
    calls = 0
    for name in ("append", "_write_beside", "_put_in_place"):
        real = getattr(durable, name)

        def failing(*args: object, real: object = real) -> None:
            nonlocal calls
            calls += 1
            if calls == nth:
                raise OSError(28, "No space left on device")
            real(*args)  # type: ignore[operator]

        monkeypatch.setattr(durable, name, failing)
    with contextlib.suppress(LedgerError):
        ledger.publish(4, NOW_US)
    assert calls >= min(nth, 9)
    monkeypatch.undo()
    monkeypatch.setattr(verify, "PAUSE_S", 0)
    other = Ledger(tmp_path, SIGNER, BOX)  # as after a crash
    assert other.size >= 3
    ledger.append([record(3)])
    ledger.publish(4, NOW_US)
    report = examine(tmp_path)
    assert report.problems == () and report.kinds["expired"] == 4


# --- what came back from the witnesses --------------------------------------------------------------------------------


def test_a_witnessed_head_is_kept_and_proves(tmp_path: Path) -> None:
    ledger = make(tmp_path, 2)
    entered = ledger.append([record(2)])[0]
    with pytest.raises(LocalProtocolError):
        ledger.witnessed_proof(entered)
    text = ledger.publish(4, NOW_US) + "— witness AAAAAAAA\n"
    assert ledger.accept_cosigned(text, NOW_US)
    later = ledger.append([record(3)])[0]
    for each in (ledger, Ledger(tmp_path, SIGNER, BOX)):
        assert each.witnessed.text == text and each.witnessed.size == 4
        assert each.witnessed_proof(entered).checkpoint == text
        with pytest.raises(LocalProtocolError):
            each.witnessed_proof(later)
    proof = ledger.witnessed_proof(entered)
    leaf = merkle.leaf_hash(entry.commitment(bytes.fromhex(proof.salt), proof.record))
    path = [bytes.fromhex(node) for node in proof.path]
    assert merkle.root_from_inclusion(leaf, 2, 4, path) == opened(text).root
    report = examine(tmp_path)
    assert report.problems == () and report.witnessed == text


def test_an_older_or_a_foreign_head_is_not_taken(tmp_path: Path) -> None:
    ledger, other = make(tmp_path / "a", 2), make(tmp_path / "b", 2)
    first = ledger.publish(4, NOW_US)
    second = ledger.publish(4, NOW_US)
    assert ledger.accept_cosigned(second, NOW_US)
    assert not ledger.accept_cosigned(first, NOW_US)
    assert ledger.accept_cosigned(second, NOW_US)  # again, with a newer time
    with pytest.raises(LedgerError, match="rewritten"):
        ledger.accept_cosigned(other.publish(4, NOW_US), NOW_US)
    with pytest.raises(LedgerError, match="rolled back"):
        make(tmp_path / "c", 2).accept_cosigned(second, NOW_US)
    assert ledger.witnessed.size == 8


def test_witnessed_heads_of_padding_alone_are_kept_one_an_hour(tmp_path: Path) -> None:
    ledger = make(tmp_path, 2)
    for n in range(10):
        ledger.accept_cosigned(ledger.publish(4, NOW_US), NOW_US + n * HOUR_US // 4)
    kept = (tmp_path / "witnessed.jsonl").read_text().splitlines()
    assert [opened(json.loads(line)).size for line in kept] == [4, 20, 36]
    ledger.append([record(2)])
    ledger.accept_cosigned(ledger.publish(4, NOW_US), NOW_US + 9 * HOUR_US // 4)
    assert len((tmp_path / "witnessed.jsonl").read_text().splitlines()) == 4


@pytest.mark.parametrize("name", ["published", "witnessed"])
def test_a_ledger_older_than_what_left_it_does_not_open(tmp_path: Path, name: str) -> None:
    ledger = make(tmp_path / "a", 2)
    (tmp_path / "keep").write_text(ledger.publish(4, NOW_US))
    smaller = make(tmp_path / "b", 2)
    (tmp_path / "b" / name).write_text((tmp_path / "keep").read_text())
    with pytest.raises(LedgerError, match="replaced by an older one"):
        Ledger(tmp_path / "b", SIGNER, BOX)
    smaller.append([record(8), record(9), record(10)])
    with pytest.raises(LedgerError, match="not the one that was shown to the witnesses"):
        Ledger(tmp_path / "b", SIGNER, BOX)


@pytest.mark.parametrize("what", ["smaller", "other"])
def test_a_ledger_that_a_witness_knows_better_is_told(tmp_path: Path, what: str) -> None:
    """With every file of an old snapshot put back together, and the store's memory with them."""
    ledger = make(tmp_path / "a", 4)
    head = ledger.head if what == "smaller" else note.Checkpoint(origin=SIGNER.verifier.name, size=3, root=bytes(32))
    snapshot = make(tmp_path / "b", 3)
    with pytest.raises(LedgerError, match="rolled back" if what == "smaller" else "rewritten"):
        Ledger(tmp_path / "b", SIGNER, BOX, least=snapshot.head).compare(head)
    Ledger(tmp_path / "a", SIGNER, BOX).compare(ledger.head)


# --- destruction ------------------------------------------------------------------------------------------------------


def destroyed(ledger: Ledger, *indexes: int, certificate: str = CERTIFICATE) -> None:
    entered = entry.Destroyed(time_us=NOW_US, xid="ab" * 16, certificate_sha256=certificate, entries=indexes)
    ledger.append([entry.encode(entered)])


def test_a_destroyed_record_leaves_a_ledger_that_verifies(tmp_path: Path) -> None:
    ledger = make(tmp_path, 6)
    destroyed(ledger, 1, 3)
    for _ in range(2):  # done again it changes nothing
        ledger.destroy([1, 3], CERTIFICATE)
    text = ledger_lines.opened(tmp_path).decode()
    assert "CASE-1" not in text and "CASE-3" not in text and "CASE-2" in text
    report = examine(tmp_path)
    assert report.problems == () and report.destroyed == 2
    assert report.kinds == {"destroyed": 1, "expired": 4}
    seen: list[int] = []
    again = Ledger(tmp_path, SIGNER, BOX, on_record=lambda line, _: seen.append(line.index))
    assert seen == [0, 2, 4, 5, 6]
    again.append([record(7)])
    assert examine(tmp_path).problems == ()


@pytest.mark.parametrize("how", ["unnamed", "another certificate", "named before it was there", "deleted"])
def test_a_record_that_was_taken_away_is_no_destroyed_one(tmp_path: Path, how: str) -> None:
    ledger = make(tmp_path, 3)
    if how == "another certificate":
        destroyed(ledger, 4, certificate="ee" * 32)
    if how == "named before it was there":
        destroyed(ledger, 4)
    else:
        ledger.append([record(3)])
    ledger.append([record(5)])
    ledger.destroy([4], CERTIFICATE)
    if how == "deleted":
        ledger_lines.write(tmp_path, [line for line in ledger_lines.read(tmp_path) if line["index"] != 4])
    report = examine(tmp_path)
    assert report.problems[0].index == 4
    with pytest.raises(LedgerError, match="entry 4"):
        Ledger(tmp_path, SIGNER, BOX)


def test_only_what_is_there_is_destroyed(tmp_path: Path) -> None:
    ledger = make(tmp_path, 2)
    ledger.publish(4, NOW_US)
    for index in (2, 3):  # padding, with a line and without
        with pytest.raises(LocalProtocolError):
            ledger.destroy([index], CERTIFICATE)


# --- long runs --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def long_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,024 bundles of padding with three entries before them and one in the middle."""
    folder = tmp_path_factory.mktemp("long")
    ledger = make(folder, 3)
    ledger.publish(1 << 17, NOW_US)
    ledger.append([record(3)])
    ledger.publish(1 << 17, NOW_US)
    assert ledger.size == 1 << 18
    return folder


def test_old_padding_is_looked_at_later(long_run: Path) -> None:
    ledger = Ledger(long_run, SIGNER, BOX, newest=1 << 10)
    assert len(ledger.deferred) == 1024 - 4 - 2  # not those with entries, not the newest
    assert ledger.head == Ledger(long_run, SIGNER, BOX).head
    files = tiles.Folder(long_run, BOX)
    assert bundles.padding_problem(files, ledger.tree, ledger.deferred[0]) is None
    assert bundles.padding_problem(files, ledger.tree, 700) is None
    for index in (0, 2, 300, 1 << 17, 200_000):  # proofs over what was not read
        path = merkle.inclusion_path(index, ledger.size, ledger.tree.read)
        n, offset = divmod(index, 256)
        octets = files.read(tiles.tile(0, n)) or b""
        leaf = octets[offset * 32 : offset * 32 + 32]
        assert merkle.root_from_inclusion(leaf, index, ledger.size, path) == ledger.head.root


@pytest.mark.parametrize("level", ["0", "entries", "1"])
def test_a_tile_of_old_padding_that_was_edited_is_found(long_run: Path, tmp_path: Path, level: str) -> None:
    n = 1 if level == "1" else 300
    path = long_run / tiles.tile(level, n)
    octets = path.read_bytes()
    edited = bytearray(octets)
    edited[7] ^= 1
    path.write_bytes(edited)
    try:
        if level == "1":
            with pytest.raises(LedgerError, match="not the one that was signed"):
                Ledger(long_run, SIGNER, BOX, newest=1 << 10)
        else:
            ledger = Ledger(long_run, SIGNER, BOX, newest=1 << 10)
            problem = bundles.padding_problem(tiles.Folder(long_run, BOX), ledger.tree, n)
            assert problem is not None and problem.index == n * 256
    finally:
        path.write_bytes(octets)


def test_a_record_taken_out_of_old_padding_is_found(long_run: Path) -> None:
    """With its line gone, and that of the run after it moved on by one file, the commitments still say so."""
    n = (1 << 17) // 256
    path, moved = (long_run / tiles.records(m) for m in (n, n + 1))
    octets = path.read_bytes()
    path.unlink()
    with pytest.raises(LedgerError, match="the record is missing"):  # the run that goes on is another one
        Ledger(long_run, SIGNER, BOX, newest=1 << 10)
    run = json.loads(tiles.opened(octets, BOX).splitlines()[1])
    ledger_lines.write(long_run, [{**run, "index": (n + 1) * 256}], tiles.records(n + 1))
    try:
        ledger = Ledger(long_run, SIGNER, BOX, newest=1 << 10)
        assert n in ledger.deferred
        problem = bundles.padding_problem(tiles.Folder(long_run, BOX), ledger.tree, n)
        assert problem == bundles.Problem(index=1 << 17, what=bundles.MISSING)
        with pytest.raises(LedgerError, match=f"entry {1 << 17}"):
            Ledger(long_run, SIGNER, BOX, newest=1 << 18)
    finally:
        path.write_bytes(octets)
        moved.unlink()


def test_a_line_has_one_of_three_forms() -> None:
    line = tiles.Line(3, destroyed=CERTIFICATE)
    assert msgspec.json.encode(line) == b'{"index":3,"destroyed":"' + CERTIFICATE.encode() + b'"}'
