"""An export is of one moment, whatever its ledger's writer does meanwhile."""

from __future__ import annotations

import threading
from pathlib import Path

from mediation.administration.ledger import tiles, verify
from mediation.administration.ledger.ledger import Ledger
from mediation.administration.ledger.snapshot import Snapshot
from mediation.administration.records import export
from mediation.core.interface.control import Export
from mediation.core.ledger import entry
from tests.administration.test_ledger import BOX, SIGNER, make, record

ROUNDS, EXPORTS = 2_000, 12


def folder_of(path: Path) -> tiles.Folder:
    return tiles.Folder(path, BOX)


def test_exports_beside_a_writer_are_good(tmp_path: Path) -> None:
    """Every one of them is a whole ledger: no record beyond its head, no head beyond its records."""
    ledger = make(tmp_path / "ledger", 250)  # a full tile takes the place of partial ones under way
    over = threading.Event()

    def write() -> None:
        for number in range(ROUNDS):
            ledger.append([record(number)])
            if number % 5 == 0:
                ledger.publish(8, 1_000 * number)
            if over.wait(0.03):
                return

    writer = threading.Thread(target=write)
    writer.start()
    sizes = []
    try:
        for number in range(EXPORTS):
            path = tmp_path / f"{number}.tar"
            path.write_bytes(export.of(folder_of(tmp_path / "ledger"), SIGNER.verifier, Export()))
            report = verify.examine(tiles.Archive(path), SIGNER.verifier)
            assert not report.problems
            sizes.append(report.head.size)
    finally:
        over.set()
        writer.join()
    assert sizes == sorted(sizes) and sizes[-1] > sizes[0]  # it went on


def test_what_was_entered_while_the_rest_was_read_is_in(tmp_path: Path) -> None:
    """What stands beside the ledger is of the same moment: it is read again when an entry came meanwhile."""
    ledger = make(tmp_path / "ledger", 3)
    read: list[int] = []

    def beside() -> list[tuple[str, bytes]]:
        read.append(ledger.size)
        if len(read) == 1:
            ledger.append([record(4)])
        return [("plans/size", str(read[-1]).encode())]

    path = tmp_path / "export.tar"
    path.write_bytes(export.of(folder_of(tmp_path / "ledger"), SIGNER.verifier, Export(), beside))
    archive = tiles.Archive(path)
    assert verify.examine(archive, SIGNER.verifier).head.size == ledger.size == 4
    assert read == [3, 4] and archive.read("plans/size") == b"4"


def test_padding_is_no_entry(tmp_path: Path) -> None:
    ledger: Ledger = make(tmp_path, 3)
    ledger.publish(8, 1)
    snapshot = Snapshot(folder_of(tmp_path))
    ledger.publish(8, 2)
    assert not snapshot.renew()
    assert verify.examine(snapshot, SIGNER.verifier).head.size == ledger.size
    ledger.append([entry.encode(entry.Padding(time_us=3))])
    assert snapshot.renew() and not snapshot.renew()
