"""Every kind of ledger entry × every kind of edit: 100 % found (SEC-2). Who must find what:

* Without the ledger's key, whatever is edited, deleted, inserted, swapped or cut in the files: by the offline verifier
  and by the start, which names an entry; both from the files alone.
* With the stolen key, a history that was rewritten and signed anew: files alone cannot show it. By the start, which
  compares with what the witness remembers; by the witness at the next contact, which cosigns no such head; and by an
  auditor's verifier that was given any head that was shown before.
* A snapshot, all files of the site of an earlier day: a good ledger, only an old one. By the start and by the witness.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mediation.administration.ledger import lab_witness, tiles, verify
from mediation.administration.ledger.heads import refuse_other
from mediation.administration.ledger.lab_witness import LabWitness
from mediation.administration.ledger.ledger import Ledger
from mediation.administration.ledger.witnesses import Witnesses
from mediation.core.errors import LedgerError
from mediation.core.ledger import entry, note, policy
from mediation.runtime import durable
from tests import ledger_lines
from tests.core.authority import NOW_S, SIGNER
from tests.faults.root_attacks import FILES, HISTORIES, KINDS, NOW_US, edited, fields_of, sample
from tests.ledger_lines import BOX

RECORDS = [entry.encode(sample(kind)) for kind in KINDS if kind is not entry.Destroyed]
DESTROYED = entry.encode(
    entry.Destroyed(time_us=NOW_US, xid="ab" * 16, certificate_sha256="ab" * 32, entries=(1_000, 1_001))
)
RECORDS.append(DESTROYED)
KIND = {entry.decode(record).__struct_config__.tag: index for index, record in enumerate(RECORDS, 1)}
FIRST = entry.encode(entry.SiteMade(time_us=NOW_US, origin=SIGNER.verifier.name, lab=True))
HISTORY = [FIRST, *RECORDS, FIRST]
tried = 0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody writes beside the readers here, and no power fails: what durable files cost is shown elsewhere."""
    monkeypatch.setattr(verify, "PAUSE_S", 0)
    monkeypatch.setattr(verify, "ATTEMPTS", 2)  # what does not hold together will not the next time
    monkeypatch.setattr(durable, "sync_folder", lambda _: None)
    monkeypatch.setattr(durable.os, "fsync", lambda _: None)


class Host:
    """A ledger and its witness, which is beyond root's reach: it remembers what it cosigned."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "ledger"
        self._lab = folder / "witness"
        self._lab.mkdir()
        self._policy = policy.parse(lab_witness.make(self._lab, SIGNER.verifier), lab=True)
        ledger = Ledger.create(self.folder, SIGNER, BOX, [FIRST])
        self.snapshot = folder / "snapshot"
        ledger.append(HISTORY[1:])
        self.show(ledger)
        shutil.copytree(self.folder, self.snapshot)
        ledger.append(RECORDS[:3])
        self.show(ledger)
        ledger.append(RECORDS[3:5])
        self.kept = ledger.witnessed.text

    def _witnesses(self) -> Witnesses:
        return Witnesses(self._policy, SIGNER.verifier, lab=LabWitness(self._lab, SIGNER.verifier))

    def show(self, ledger: Ledger) -> bool:
        """Has the witness cosign the head; whether it did, and said nothing loud."""
        # All kinds, and the padding behind them, in tiles that are not full yet.
        text = ledger.publish(8, NOW_US)
        found = self._witnesses().cosign_at_once(text, ledger.consistency, now_s=NOW_S)
        if found.judgement.quorum and not found.loud:
            return ledger.accept_cosigned(found.note, NOW_US)
        assert found.loud and not found.judgement.quorum, "it neither cosigned nor alarmed"
        return False

    # --- the three who find it ---

    @staticmethod
    def verifier(folder: Path, known: str | None = None) -> bool:
        try:
            return bool(verify.examine(tiles.Folder(folder, BOX), SIGNER.verifier, known=known).problems)
        except LedgerError:
            return True

    def start(self, folder: Path, *, compare: bool) -> str:
        """What the start says; "" when it opens."""
        try:
            ledger = Ledger(folder, SIGNER, BOX)
            if compare:
                refuse_other(self._witnesses().states_at_once(now_s=NOW_S), ledger)
        except LedgerError as error:
            return str(error)
        return ""

    def witness(self, folder: Path) -> bool:
        return not self.show(Ledger(folder, SIGNER, BOX))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    yield Host(tmp_path_factory.mktemp("host"))
    sys.stdout.write(f"\nroot attacks: {tried} tried, {tried} found\n")


def copy(host: Host, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(host.folder, folder)
    return folder


def test_the_untouched_ledger_is_good(host: Host, tmp_path: Path) -> None:
    folder = copy(host, tmp_path / "copy")
    assert not host.verifier(folder) and not host.verifier(folder, host.kept)
    assert host.start(folder, compare=True) == ""
    assert {entry.decode(record).__struct_config__.tag for record in HISTORY} == {
        k.__struct_config__.tag for k in KINDS
    }


@pytest.mark.parametrize("kind", KIND)
def test_without_the_key_every_edit_is_found_in_the_files(host: Host, tmp_path: Path, kind: str) -> None:
    global tried  # noqa: PLW0603
    index, missed = KIND[kind], []
    attacks = dict(FILES)
    for name in fields_of(HISTORY[index]):
        attacks[f"field {name}"] = _field(name)
    for name, attack in attacks.items():
        folder = copy(host, tmp_path / "copy")
        attack(folder, index)
        said = host.start(folder, compare=False)
        if not host.verifier(folder):
            missed.append(f"verifier: {name}")
        if not said:
            missed.append(f"start: {name}")
        if not said.startswith(("entry ", "checkpoint: ")):  # of a head that nobody signed, it says that
            missed.append(f"start names no entry: {name}: {said}")
        tried += 1
    assert not missed


def _field(name: str) -> Callable[[Path, int], None]:
    def attack(folder: Path, index: int) -> None:
        lines = ledger_lines.read(folder)
        lines[index] = {**lines[index], "record": edited(lines[index]["record"], name)}
        ledger_lines.write(folder, lines)

    return attack


def rewritten(host: Host, folder: Path, records: list[str]) -> Path:
    """What a thief of the key makes: a ledger without a flaw, of another history; nothing cosigned is left."""
    shutil.rmtree(folder, ignore_errors=True)
    ledger = Ledger.create(folder, SIGNER, BOX, records[:1])
    if records[1:]:
        ledger.append(records[1:])
    return folder


@pytest.mark.parametrize("kind", KIND)
def test_with_the_stolen_key_every_other_history_is_found_outside(host: Host, tmp_path: Path, kind: str) -> None:
    global tried  # noqa: PLW0603
    missed = []
    for name, other in HISTORIES.items():
        folder = rewritten(host, tmp_path / "copy", other(HISTORY, KIND[kind]))
        assert not host.verifier(folder), "the attack is not the best one: its files show it"
        assert host.start(folder, compare=False) == ""
        if not host.verifier(folder, host.kept):
            missed.append(f"verifier with a head that was kept: {name}")
        if not host.start(folder, compare=True):
            missed.append(f"start: {name}")
        if not host.witness(folder):
            missed.append(f"witness: {name}")
        tried += 1
    assert not missed


def test_a_snapshot_is_found_by_the_start_and_by_the_witness(host: Host, tmp_path: Path) -> None:
    """All files of an earlier day, and the store's memory with them; also when it has grown since."""
    global tried  # noqa: PLW0603
    folder = tmp_path / "copy"
    shutil.copytree(host.snapshot, folder)
    assert not host.verifier(folder) and host.start(folder, compare=False) == ""
    assert "put back" in host.start(folder, compare=True)
    assert host.witness(folder)
    assert host.verifier(folder, host.kept)
    Ledger(folder, SIGNER, BOX).append([FIRST] * 100)
    assert "rewritten" in host.start(folder, compare=True)
    assert host.witness(folder)
    tried += 2


def test_the_witness_refuses_for_good(host: Host, tmp_path: Path) -> None:
    """A refusal changes nothing: the honest ledger is cosigned after it."""
    folder = rewritten(host, tmp_path / "copy", [FIRST] * 300)
    assert host.witness(folder) and host.witness(folder)
    assert not host.witness(copy(host, tmp_path / "honest"))
    assert note.open_checkpoint(host.kept, SIGNER.verifier).size == 72
