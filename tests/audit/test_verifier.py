"""The offline verifier: a genuine export is told in plain words, a forged one is refused by its first bad entry."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mediation.administration.ledger import tiles
from mediation.administration.ledger.ledger import Ledger
from mediation.audit import __main__ as program
from mediation.audit import archive, page
from mediation.audit.verdict import ANOMALIES, BAD, CLEAN
from mediation.core.ledger import entry, merkle, note
from tests.audit import exports as x
from tests.audit.alone import run
from tests.audit.exports import KEY, Files, judge
from tests.core.authority import private
from tests.ledger_lines import BOX

# --- genuine ----------------------------------------------------------------------------------------------------------


def test_a_genuine_export_is_clean(made: x.Made, files: dict[str, bytes]) -> None:
    found = judge(files)
    assert (found.result, found.forged, found.findings.anomalies) == (CLEAN, [], [])
    assert found.ledger.head.size == made.ledger.size
    assert found.ledger.head.root == made.ledger.head.root
    assert found.ledger.states["opened"] == 14 and found.ledger.states["padding"] == made.ledger.size - 14
    assert found.witnesses.quorums[-1] == (made.ledger.size, (x.NOW_S + 401) * 1_000_000)
    assert [each["reason"] for each in found.findings.readings] == ["audit 7"]
    assert found.roster is not None and {each.person for each in found.roster.appointments} == {
        "edda", "egon", "elsa", "lena", "carl", "olga", "aude",
    }  # fmt: skip


def test_the_page_says_it_in_words(files: dict[str, bytes]) -> None:
    text = page.page(judge(files), x.SEED, 2)
    for words in (
        "CLEAN", "Anomalies: none", "Who held which role", "olga: officer", "edda: executive (senior officer)",
        "aude show of CASE-1: audit 7", "a quorum cosigned", "your seed was committed by entry", "look at entry",
        "Gaps: none",
    ):  # fmt: skip
        assert words in text, words
    assert max(len(line) for line in text.splitlines()) <= page.COLUMNS


def test_both_implementations_agree(made: x.Made, files: dict[str, bytes]) -> None:
    """The daemon's own Merkle tree and this one, at every size that was signed."""
    found = judge(files)
    for head, text in found.ledger.cosigned:
        assert made.ledger.tree.root(head.size) == head.root
        assert note.open_checkpoint(text, x.SIGNER.verifier).root == head.root


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 255, 256, 257, 1000])
def test_the_root_of_any_size(size: int) -> None:
    from mediation.audit.merkle import Growing, leaf

    ours, theirs = Growing(range(size + 1)), merkle.Tree()
    for index in range(size):
        ours.add(leaf(bytes([index % 251]) * 32))
        theirs.append(merkle.leaf_hash(bytes([index % 251]) * 32))
        assert ours.roots[index + 1] == theirs.root()


# --- forged: each names the first bad entry ---------------------------------------------------------------------------


def nth(files: Files, index: int) -> int:
    """Which line of the records' file is of that entry."""
    return next(n for n, line in enumerate(x.records(files)) if line["index"] == index)


def edit_record(files: Files, index: int) -> None:
    lines = x.records(files)
    line = lines[nth(files, index)]
    line["record"] = line["record"].replace("CASE-", "CASF-")
    x.put_records(files, lines)


def edit_salt(files: Files, index: int) -> None:
    lines = x.records(files)
    lines[nth(files, index)]["salt"] = "00" * 32
    x.put_records(files, lines)


def drop_record(files: Files, index: int) -> None:
    x.put_records(files, [line for line in x.records(files) if line["index"] != index])


def swap_records(files: Files, index: int) -> None:
    lines, n = x.records(files), nth(files, index)
    one, other = lines[n], lines[n + 1]
    lines[n], lines[n + 1] = {**other, "index": one["index"]}, {**one, "index": other["index"]}
    x.put_records(files, lines)


def claim_destroyed(files: Files, index: int) -> None:
    lines = x.records(files)
    lines[nth(files, index)] = {"index": index, "destroyed": "ab" * 32}
    x.put_records(files, lines)


def garble(files: Files, index: int) -> None:
    lines = files["records/000.jsonl"].splitlines(keepends=True)
    lines[nth(files, index)] = b"\xff\n"
    files["records/000.jsonl"] = b"".join(lines)


def put_leaf(files: Files, level: str, each: int, index: int, octets: bytes) -> None:
    """The same in every copy of the tile that is wide enough."""
    for name in list(files):
        if name.startswith(f"tile/{level}/") and len(files[name]) > index * each:
            files[name] = files[name][: index * each] + octets + files[name][(index + 1) * each :]


def edit_commitment(files: Files, index: int) -> None:
    put_leaf(files, "entries", 34, index, b"\x00\x20" + b"\xee" * 32)


def edit_leaf(files: Files, index: int) -> None:
    put_leaf(files, "0", 32, index, b"\xee" * 32)


def rewrite_consistently(files: Files, index: int) -> None:
    """The best that somebody without the key can do: record, commitment and leaf changed alike."""
    edit_record(files, index)
    line = x.records(files)[nth(files, index)]
    commitment = entry.commitment(bytes.fromhex(line["salt"]), line["record"])
    put_leaf(files, "entries", 34, index, b"\x00\x20" + commitment)
    put_leaf(files, "0", 32, index, merkle.leaf_hash(commitment))


def cut_off(files: Files, index: int) -> None:
    """The newest head is taken away, and all that it covered."""
    del index
    heads = [json.loads(line) for line in files["history.jsonl"].splitlines()]
    files["checkpoint"] = heads[2].encode()
    files["history.jsonl"] = b"".join(json.dumps(each).encode() + b"\n" for each in heads[:3])


def forge_cosignature(files: Files, index: int) -> None:
    del index
    for name in ("witnessed", "witnessed.jsonl"):
        lines = [json.loads(line) for line in files[name].splitlines()] if name.endswith("jsonl") else [
            files[name].decode()]  # fmt: skip
        lines[-1] = x.flip(lines[-1])
        files[name] = lines[-1].encode() if name == "witnessed" else b"".join(
            json.dumps(each).encode() + b"\n" for each in lines)  # fmt: skip


FORGERIES = [
    edit_record, edit_salt, drop_record, swap_records, claim_destroyed, garble, edit_commitment, edit_leaf,
]  # fmt: skip


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda each: each.__name__)
@pytest.mark.parametrize("kind", ["order-filed", "certificate-signed"])
def test_a_forged_entry_is_named(
    made: x.Made, files: Files, tmp_path: Path, forge: Callable[[Files, int], None], kind: str
) -> None:
    index = x.indexes(made.folder, kind)[0]
    forge(files, index)
    found = judge(files)
    assert found.result == BAD
    assert found.forged[0].entries == (index,), found.forged[:3]
    path, key = tmp_path / "forged.tar", tmp_path / "ledger.pub"
    path.write_bytes(x.pack(files))
    key.write_text(KEY)
    done = run(tmp_path, "verify", str(path), "--key", str(key))
    assert done.returncode == 1
    assert done.stderr.startswith(f"audit: entry {index}: ") and done.stderr.count("\n") == 1
    assert f"First bad entry: entry {index}:" in done.stdout


def test_a_consistent_rewriting_is_found_by_the_heads(made: x.Made, files: Files) -> None:
    index = x.indexes(made.folder, "order-filed")[0]
    rewrite_consistently(files, index)
    found = judge(files)
    assert found.result == BAD and found.forged[0].entries[0] <= index
    assert "not those that were signed" in found.forged[0].what


def test_a_ledger_that_was_cut_off(made: x.Made, files: Files) -> None:
    cut_off(files, 0)
    found = judge(files)
    assert found.result == BAD and any("cut off or rolled back" in each.what for each in found.forged)


def test_a_forged_cosignature(files: Files) -> None:
    forge_cosignature(files, 0)
    found = judge(files)
    assert found.result == BAD and "forged" in found.forged[0].what


def test_signed_again_without_the_witnesses(tmp_path: Path, made: x.Made) -> None:
    """Whoever holds the ledger's key makes another ledger; the witnesses' word he cannot make."""
    lines = made.lines
    other = Ledger.create(
        tmp_path / "other", x.SIGNER, BOX, [entry.encode(each) for step in x.story(lines) for each in step]
    )
    other.publish(8, x.T0_US)
    forged = made.files()
    for name in [name for name in forged if not name.startswith(("keys/", "ledger.pub", "manifest"))]:
        del forged[name]
    folder = tiles.Folder(tmp_path / "other", BOX)
    forged |= {name: folder.read(name) or b"" for name in folder.all()}
    found = judge(forged)
    assert found.result == ANOMALIES
    assert found.findings.anomalies[0].what.startswith("unwitnessed")
    # With the old cosigned heads beside it, it is a forgery.
    genuine = made.files()
    forged |= {name: genuine[name] for name in ("witnessed", "witnessed.jsonl")}
    found = judge(forged)
    assert found.result == BAD and "not those that were signed" in found.forged[0].what


def test_another_key_and_another_policy(tmp_path: Path, made: x.Made, files: Files) -> None:
    stranger = note.Signer(x.ORIGIN, private(77))
    with pytest.raises(archive.Unreadable, match="entry 0"):
        judge(files, key=str(stranger.verifier))
    mine = x.witness("forger.example/w", 99)
    files["keys/witness.policy"] = x.policy(mine)
    assert judge(files).result == CLEAN  # the auditor's own policy is what counts
    found = judge(files, policy=None)
    assert found.result == ANOMALIES and found.findings.anomalies[0].what.startswith("unwitnessed")
    assert any("whose witnesses they are" in each for each in found.not_checked)
    del files["keys/witness.policy"]
    assert "no policy" in judge(files, policy=None).findings.anomalies[0].what


def test_a_record_beyond_the_head(made: x.Made, files: Files) -> None:
    line = {"index": made.ledger.size, "salt": "00" * 32, "record": "{}"}
    files["records/000.jsonl"] += json.dumps(line).encode() + b"\n"
    found = judge(files)
    assert (found.result, found.forged[0].entries) == (BAD, (made.ledger.size,))


def test_the_manifest_is_held_to(files: Files, tmp_path: Path) -> None:
    files["keys/extra.json"] = b"{}"
    path = tmp_path / "export.tar"
    path.write_bytes(x.pack(files, mend=False))
    assert any("does not name" in each for each in archive.load(path).problems)
    del files["keys/extra.json"], files["keys/founding"]
    path.write_bytes(x.pack(files, mend=False))
    assert any("not there" in each for each in archive.load(path).problems)


@pytest.mark.parametrize("octets", [b"", b"no tar", b"\x00" * 2048, b"\x1f\x8b" + b"\x00" * 64])
def test_what_cannot_be_judged(tmp_path: Path, octets: bytes) -> None:
    path = tmp_path / "export.tar"
    path.write_bytes(octets)
    assert program.main(["verify", str(path)]) == 2


def test_numbers_that_the_archive_cannot_hold(files: Files, tmp_path: Path) -> None:
    """Whoever makes an export writes what he likes into it; it takes no more memory or time than there is of it."""
    path = tmp_path / "export.tar"
    manifest = json.loads(files["manifest.json"])
    for first, last in ((0, 1 << 20), (1 << 20, 1 << 20)):
        said = manifest | {"size": (1 << 20) + 1, "withheld": [[first, last]] * (1 if first == 0 else 100_000)}
        path.write_bytes(x.pack({**files, "manifest.json": json.dumps(said).encode()}))
        with pytest.raises(archive.Unreadable, match="manifest"):
            archive.load(path)
    huge = x.SIGNER.sign(note.Checkpoint(origin=x.ORIGIN, size=1 << 40, root=bytes(32)).text())
    with pytest.raises(archive.Unreadable, match="is not here"):
        judge({**files, "checkpoint": huge.encode()})


def test_what_an_export_says_does_not_reach_the_terminal_as_it_is(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "export.tar"
    path.write_bytes(x.pack({**files, "statements/\x1b[2J\x1b]0;CLEAN\x07\u202e.jws": b""}))
    assert program.main(["verify", str(path)]) == 1
    said = capsys.readouterr()
    assert "no entry says that it was signed" in said.err
    assert all(c.isprintable() or c == "\n" for c in said.out + said.err)
