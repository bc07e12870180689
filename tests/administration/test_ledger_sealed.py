"""SEC-19: a ledger's records tell nothing to whoever has its files without the vault, not even by their lengths."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from mediation.administration.keys import ledger_files
from mediation.administration.ledger import bundles, tiles, verify
from mediation.administration.ledger.ledger import Ledger
from mediation.administration.records import export
from mediation.cli.main import group
from mediation.core.errors import LedgerError, LocalProtocolError
from mediation.core.interface.control import Export
from mediation.core.ledger import entry
from mediation.core.ledger.sealing import PREFIX_OCTETS, Box
from mediation.runtime import vault
from tests import ledger_lines
from tests.administration import site as s
from tests.core.authority import NOW_S, SIGNER
from tests.ledger_lines import BOX

NOW_US = NOW_S * 1_000_000
CASE, AGENCY, PERSON = "CASE-SEALED", "Bureau of Sealing", "lab.officer"
CERTIFICATE = "cd" * 32
FIRST = entry.encode(entry.SiteMade(time_us=NOW_US, origin=SIGNER.verifier.name, lab=True))


def records() -> list[str]:
    """Of different lengths."""
    return [
        entry.encode(
            entry.CaseRead(
                time_us=NOW_US, case=CASE, what="show", person=PERSON, reason=AGENCY + "!" * n, request_sha256="ab" * 32
            )
        )
        for n in (0, 1, 100, 300)
    ]


def make(folder: Path) -> Ledger:
    ledger = Ledger.create(folder, SIGNER, BOX, [FIRST])
    ledger.append(records())
    ledger.publish(4, NOW_US)
    return ledger


def lines(folder: Path) -> list[bytes]:
    return (folder / ledger_lines.FILE).read_bytes().splitlines()


def test_no_line_can_be_told_from_another(tmp_path: Path) -> None:
    ledger = make(tmp_path)
    ledger.append(
        [entry.encode(entry.Destroyed(time_us=NOW_US, xid="ab" * 16, certificate_sha256=CERTIFICATE, entries=(1,)))]
    )
    before = lines(tmp_path)
    ledger.destroy([1], CERTIFICATE)
    after = lines(tmp_path)
    assert len(before) == len(after) == 1 + 4 + 1 + 1, "entry 0, the records, the run of padding, the destruction"
    assert len({len(line) for line in before[1:] + after[1:]}) == 1
    assert not set(before[1:]) & set(after[1:]), "all lines are sealed anew: which was destroyed does not show"
    assert len(set(after)) == len(after)
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for word in (CASE, AGENCY, PERSON, CERTIFICATE, "seed"):
        assert word.encode() not in everything
        assert word.encode() in ledger_lines.opened(tmp_path)
    assert verify.examine(tiles.Folder(tmp_path, BOX), SIGNER.verifier).problems == ()


def test_without_the_vault_the_rest_is_verified(tmp_path: Path) -> None:
    make(tmp_path)
    files = tiles.Folder(tmp_path)
    report = verify.examine(files, SIGNER.verifier)
    assert report.problems == () and not report.opened and report.kinds == {}
    with pytest.raises(LedgerError, match="sealed"):
        verify.line(files, 1, report.head.size)
    path = tmp_path / f"tile/0/000.p/{report.head.size}"
    octets = bytearray(path.read_bytes())
    octets[70] ^= 1
    path.write_bytes(octets)
    assert verify.examine(files, SIGNER.verifier).problems


def test_another_key_opens_nothing(tmp_path: Path) -> None:
    make(tmp_path)
    other = Box(os.urandom(32), os.urandom(PREFIX_OCTETS))
    report = verify.examine(tiles.Folder(tmp_path, other), SIGNER.verifier)
    assert bundles.Problem(index=1, what="the record's line is not readable") in report.problems
    with pytest.raises(LedgerError, match="entry 1"):
        Ledger(tmp_path, SIGNER, other)


def test_only_entry_0_may_lie_in_clear(tmp_path: Path) -> None:
    make(tmp_path)
    held = lines(tmp_path)
    assert held[0].startswith(b'{"index":0') and all(line.startswith(b'"') for line in held[1:])
    clear = ledger_lines.opened(tmp_path).splitlines()
    for index in range(1, len(held)):
        changed = [*held[:index], clear[index], *held[index + 1 :]]
        (tmp_path / ledger_lines.FILE).write_bytes(b"".join(line + b"\n" for line in changed))
        assert verify.examine(tiles.Folder(tmp_path, BOX), SIGNER.verifier).problems[0].index == index


def test_nothing_is_entered_without_a_vault(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path, SIGNER, None, [FIRST])
    with pytest.raises(LocalProtocolError, match="no vault"):
        ledger.append([records()[0]])
    assert len(lines(tmp_path)) == 1


def test_an_export_is_opened(tmp_path: Path) -> None:
    make(tmp_path)
    octets = export.of(tiles.Folder(tmp_path, BOX), SIGNER.verifier, Export())
    (tmp_path / "export.tar").write_bytes(octets)
    archive = tiles.Archive(tmp_path / "export.tar")
    report = verify.examine(archive, SIGNER.verifier)
    assert report.problems == () and report.opened and report.kinds["case-read"] == 4
    assert CASE.encode() in (archive.read(ledger_lines.FILE) or b"")


def test_a_site_verifies_with_its_vault_and_says_so_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = s.make(tmp_path)
    desk = s.Desk(site)
    desk.submit(s.filing(site, "CASE-SEALED"))
    desk.orders.close()
    raw = b"".join(path.read_bytes() for path in site.ledger_dir.rglob("*") if path.is_file())
    assert b"CASE-SEALED" not in raw
    assert b"CASE-SEALED" in (ledger_files(site).read(ledger_lines.FILE) or b"")
    said = CliRunner().invoke(group, ["ledger", "verify", "--site", str(site.path)])
    assert said.exit_code == 0 and "each as it was entered" in said.output and "NOT OPENED" not in said.output
    monkeypatch.setattr(vault, "_open", {})
    (site.lab_dir / vault.LAB_KEY).unlink()
    said = CliRunner().invoke(group, ["ledger", "verify", "--site", str(site.path)])
    assert said.exit_code == 0 and "NOT OPENED" in said.output and "each as it was entered" not in said.output
