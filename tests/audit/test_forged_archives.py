"""Archives that anybody can make of a genuine export, without a key: each is refused or named, and ends nothing."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mediation.audit import __main__ as program
from mediation.audit import archive, page, verdict
from mediation.audit.verdict import ANOMALIES, BAD
from tests.audit import exports as x
from tests.audit.alone import run
from tests.audit.exports import Files, judge

DEEP = b"[" * 3_000


def packed(tmp_path: Path, files: Files) -> Path:
    path = tmp_path / "export.tar"
    path.write_bytes(x.pack(files))
    return path


def verified(path: Path) -> verdict.Verdict:
    return verdict.judge(archive.load(path), key=x.KEY, policy=x.POLICY)


@pytest.mark.parametrize(
    "name",
    ["../../etc/cron.d/x", "/etc/passwd", "./checkpoint", "records/000.jsonl.bak", "records/001.jsonl", "Checkpoint",
     "checkpoint ", "keys/../checkpoint", "records/00\uff10.jsonl", "keys\u2215roster.jsonl", "tile/0/000.p/1000",
     "orders.csv"],
)  # fmt: skip
def test_a_file_that_nobody_judged_is_named(files: Files, tmp_path: Path, name: str) -> None:
    found = verified(packed(tmp_path, {**files, name: b"what a person would read there"}))
    assert found.result == ANOMALIES
    (said,) = [each.what for each in found.findings.anomalies]
    assert "nobody judged" in said and ascii(name) in said
    assert said.isascii() and ascii(name) in page.page(found).replace("\n    ", " ")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE])
def test_what_is_no_plain_file_is_read_by_nobody(files: Files, tmp_path: Path, kind: bytes) -> None:
    """A link to a file of the auditor's own machine, in the place of one that the export has."""
    path = packed(tmp_path, {name: octets for name, octets in files.items() if name != "checkpoint"})
    with tarfile.open(path, "a") as tar:
        member = tarfile.TarInfo("checkpoint")
        member.type, member.linkname = kind, str(tmp_path / "secret")
        tar.addfile(member)
    (tmp_path / "secret").write_bytes(files["checkpoint"])
    with pytest.raises(archive.Unreadable) as refused:
        verified(path)
    assert refused.value.forged
    assert program.main(["verify", str(path)]) == 1


def test_the_same_name_twice(files: Files, tmp_path: Path) -> None:
    """Other programs take the last, this one the first: it says so."""
    path = packed(tmp_path, files)
    with tarfile.open(path, "a") as tar:
        member = tarfile.TarInfo("records/000.jsonl")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"{}\n"))
    found = verified(path)
    assert found.result == ANOMALIES and any("stands twice" in each.what for each in found.findings.anomalies)


def put_surrogate(files: Files) -> None:
    lines = x.records(files)
    lines[3]["record"] = "\ud800"
    files["records/000.jsonl"] = "".join(json.dumps(line) + "\n" for line in lines).encode()


def index_twice(files: Files) -> None:
    lines = files["records/000.jsonl"].splitlines(keepends=True)
    lines[3] = lines[3].replace(b'{"index":', b'{"index":9,"index":', 1)
    files["records/000.jsonl"] = b"".join(lines)


def nest(name: str, line: int) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        lines = files[name].splitlines()
        lines[line] = DEEP
        files[name] = b"\n".join(lines) + b"\n"

    change.__name__ = f"nest {name}"
    return change


@pytest.mark.parametrize(
    "change",
    [put_surrogate, index_twice, nest("history.jsonl", 1), nest("witnessed.jsonl", 1), nest("keys/roster.jsonl", 1),
     nest("records/000.jsonl", 2)],
    ids=lambda each: each.__name__,
)  # fmt: skip
def test_what_would_end_a_reader_is_named(files: Files, change: Callable[[Files], None]) -> None:
    change(files)
    found = judge(files)
    assert found.result == BAD and page.page(found)


IMPOSSIBLE = [
    ("size", "1e999"), ("size", "NaN"), ("size", "9" * 5_000), ("withheld", "[[0,1e999]]"), ("withheld", "[" * 3_000),
    ("files", '{"checkpoint":1}'),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), IMPOSSIBLE)
def test_a_manifest_of_impossible_values(files: Files, tmp_path: Path, name: str, value: str) -> None:
    manifest = json.loads(files["manifest.json"])
    text = json.dumps({**manifest, name: "@@"}).replace('"@@"', value).encode()
    path = tmp_path / "export.tar"
    path.write_bytes(x.pack({**files, "manifest.json": text}, mend=False))
    with pytest.raises(archive.Unreadable, match="manifest"):
        archive.load(path)


def test_the_tiles_and_records_of_another_site(files: Files, tmp_path: Path) -> None:
    """Two sites of one carrier with the same story: nothing of one proves anything of the other."""
    other = x.Made(tmp_path / "other").files()
    for part in ("tile/", "records/", "history.jsonl", "witnessed"):
        mixed = {**files, **{name: octets for name, octets in other.items() if name.startswith(part)}}
        found = judge(mixed)
        assert found.result == BAD and found.forged[0].entries, part


@pytest.mark.parametrize("name", ["keys/roster.jsonl", "history.jsonl", "witnessed.jsonl"])
def test_what_every_export_has_is_missed(files: Files, name: str) -> None:
    """Nothing that is left is forged; without it whole questions could not be asked."""
    del files[name]
    found = judge(files)
    words = "has not" if name.startswith("keys/") else "is not in the export"
    assert found.result == ANOMALIES and any(words in each.what for each in found.findings.anomalies)


def test_the_cosignatures_of_a_former_witness(tmp_path: Path) -> None:
    """What he cosigned while he was one needs the policy of that day; today's says that it is no quorum's."""
    former = x.witness("former.example/w", 77)
    made = x.Made(tmp_path / "ledger", signers=[former, x.WITNESSES[0]])
    found = judge(made.files())
    assert found.result == ANOMALIES
    assert found.findings.anomalies[0].what.startswith("unwitnessed")


def test_a_failure_of_the_tool_is_no_verdict(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = packed(tmp_path, files)
    monkeypatch.setattr(page, "page", lambda *_: {}["nothing"])
    assert program.main(["verify", str(path)]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and "vouches for nothing" in said.err


def test_a_machine_without_cryptography_is_told_what_is_missing(files: Files, tmp_path: Path) -> None:
    """Nothing was judged: that is not the status of an export that is bad."""
    path = packed(tmp_path, files)
    assert run(tmp_path, "verify", str(path)).returncode in (0, 1)
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(tmp_path / "audit.pyz"), "verify", str(path)], capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and "cryptography" in done.stderr and "Traceback" not in done.stderr
