"""What an auditor does with the page: looks up its numbers, asks for a case, draws the sample, cites the file."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from mediation.audit import __main__ as program
from mediation.audit import certifications, forms, look, page, words
from mediation.core.case import Authority
from mediation.core.interface.control import Export
from mediation.core.ledger import entry
from mediation.core.records.alarm import Alarm
from tests.audit import exports as x
from tests.audit.exports import Files, judge


def test_there_is_a_word_for_each_name() -> None:
    assert words.KINDS.keys() == forms.FORMS.keys()
    assert {str(each): each.sentence for each in Alarm} == words.ALARMS
    assert tuple(words.FIELDS) == certifications.NUMBERS
    assert words.AUTHORITIES.keys() == {each.value for each in Authority}


@pytest.fixture
def export(files: Files, tmp_path: Path) -> Path:
    (tmp_path / "ledger.pub").write_text(x.KEY)
    (tmp_path / "witness.policy").write_bytes(x.POLICY)
    (tmp_path / "seed").write_text(x.SEED + "\n")
    path = tmp_path / "export.tar"
    path.write_bytes(x.pack(files))
    return path


def said(capsys: pytest.CaptureFixture[str], command: str, export: Path, *more: str, status: int = 0) -> str:
    folder = export.parent
    given = ["--key", str(folder / "ledger.pub"), "--policy", str(folder / "witness.policy")]
    assert program.main([command, str(export), *given, *more]) == status
    return capsys.readouterr().out.replace("\n    ", " ").replace("\n  ", "\n")


def test_the_page_names_the_file_and_each_order(capsys: pytest.CaptureFixture[str], export: Path, made: x.Made) -> None:
    text = said(capsys, "verify", export)
    assert hashlib.sha256(export.read_bytes()).hexdigest() in text and "All times are UTC" in text
    filed, signed = (x.indexes(made.folder, kind) for kind in ("order-filed", "certificate-signed"))
    for n, case in enumerate(("CASE-1", "CASE-2")):
        row = next(line for line in text.splitlines() if line.startswith(f"case {case}:"))
        assert "Title III (18 USC 2518) for AGENCY" in row and "reviewed by lena, authorized by carl" in row
        assert f"(entry {filed[n]})" in row and f"signed by olga (entry {signed[n]})" in row
        assert "NOT SIGNED" not in row


def test_what_is_not_signed_yet_is_said(tmp_path: Path) -> None:
    found = judge(x.Made(tmp_path / "ledger", steps=lambda lines: [*x.story(lines), x.act(900, "CASE-3")[:4]]).files())
    assert "1 CERTIFICATIONS NOT SIGNED" in page.page(found).replace("\n    ", " ")


def test_an_entry_is_looked_up(capsys: pytest.CaptureFixture[str], export: Path, made: x.Made) -> None:
    index, size = x.indexes(made.folder, "command-accepted")[0], made.ledger.size
    text = said(capsys, "show", export, "--entry", str(index), "--entry", str(size))
    assert f"entry {index}, " in text and "an officer's act" in text and "officer: olga" in text
    assert f"entry {size}: there is none" in text


def test_no_record_is_told_from_what_is_not_shown(
    capsys: pytest.CaptureFixture[str], export: Path, made: x.Made
) -> None:
    assert "no record of it" in said(capsys, "show", export, "--case", "CASE-9")
    assert "nothing else of it" in said(capsys, "show", export, "--case", "CASE-1")
    partial = judge(made.files(Export(kinds=(), cases=("CASE-2",)))).ledger
    (none, unknown) = look.case(partial, "CASE-1")
    assert "no opened entry" in none and f"{len(partial.withheld)} entries are withheld" in unknown
    assert "was not opened for this export" in look.entry(partial, partial.withheld[0])[0]


def test_a_destroyed_entry_names_its_certificate(tmp_path: Path) -> None:
    made = x.Made(tmp_path / "ledger")
    gone = x.indexes(made.folder, "certificate-drafted")[0]
    destroyed = entry.Destroyed(time_us=x.T0_US + 500_000_000, xid="00" * 16, certificate_sha256="cd" * 32,
                                entries=(gone,))  # fmt: skip
    made.ledger.append([entry.encode(destroyed)])
    made.ledger.destroy([gone], "cd" * 32)
    made.cosign([destroyed])
    ledger = judge(made.files()).ledger
    assert f"destroyed, by certificate {'cd' * 32} (entry " in look.entry(ledger, gone)[0]
    assert "were destroyed: one of them may name it" in look.case(ledger, "CASE-9")[-1]


def test_the_seed_in_its_file(capsys: pytest.CaptureFixture[str], export: Path) -> None:
    """As `mediation audit seed` leaves it; and never fewer than one or a number that means something else."""
    from_file = said(capsys, "sample", export, "--seed-file", str(export.parent / "seed"))
    assert from_file == said(capsys, "sample", export, "--seed", x.SEED) and from_file.count("\n") == 2
    said(capsys, "sample", export, "--seed", "another", status=1)
    for number in ("0", "-3", "1e3", "\u0663"):
        with pytest.raises(SystemExit) as refused:
            program.main(["sample", str(export), "--seed", x.SEED, "--number", number])
        assert refused.value.code == 2


def test_what_is_not_there_is_said_plainly(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert program.main(["verify", str(tmp_path / "nothing.tar")]) == 2
    assert capsys.readouterr().err == "audit: nothing.tar: No such file or directory\n"


def test_a_terminal_of_few_letters(tmp_path: Path) -> None:
    """A reason in letters that a machine cannot print is no reason to fail."""
    read = entry.CaseRead(time_us=x.T0_US + 900_000_000, case="CASE-1", what="show", person="aude",
                          reason="\u0160\u010deglov v. \u0141odz", request_sha256=x.HASH)  # fmt: skip
    path = tmp_path / "export.tar"
    path.write_bytes(x.pack(x.Made(tmp_path / "ledger", steps=lambda lines: [*x.story(lines), [read]]).files()))
    done = subprocess.run(
        [sys.executable, "-m", "mediation.audit", "verify", str(path)], capture_output=True, timeout=60,
        check=False, env={"PYTHONIOENCODING": "cp1252:strict", "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert b"vouches for nothing" not in done.stderr and b"\\u010d" in done.stdout
