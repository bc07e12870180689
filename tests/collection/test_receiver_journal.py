"""What a collection function stored is what it expects next, whatever happened in between."""

from __future__ import annotations

from pathlib import Path

import pytest

from mediation.collection.journal import Journal
from mediation.core.interface import record
from mediation.core.interface.link import Data, Loss, LossClass, Position, Sent


def message(sequence: int) -> Data:
    return Data(sequence, 5, 6, True, sequence.to_bytes(8, "big") * 10)


def stored(folder: Path) -> list[Sent]:
    found: list[Sent] = []
    for path in sorted(folder.glob("*.journal")):
        start = record.parse_segment_header(path.read_bytes())
        found += record.scan(path.read_bytes(), record.Clear(start.epoch), start.sequence, at=64).events
    return found


def test_a_journal_knows_what_comes_next(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.position is None
    journal.begin(Position(7, 3))
    journal.append([message(3), Loss(4, 9, LossClass.CORRUPT), message(10)])
    journal.sync()
    journal.close()
    again = Journal(tmp_path)
    assert again.position == Position(7, 11)
    again.append([message(11)])
    again.begin(Position(8, 12))
    again.append([message(12)])
    again.sync()
    again.close()
    assert Journal(tmp_path).position == Position(8, 13)
    assert stored(tmp_path) == [message(3), Loss(4, 9, LossClass.CORRUPT), message(10), message(11), message(12)]


@pytest.mark.parametrize("cut", range(64, 64 + 2 * 116 + 1, 29))
def test_a_torn_tail_is_asked_for_again(tmp_path: Path, cut: int) -> None:
    journal = Journal(tmp_path)
    journal.begin(Position(7, 1))
    journal.append([message(1), message(2)])
    journal.close()
    (path,) = tmp_path.glob("*.journal")
    path.write_bytes(path.read_bytes()[:cut])
    again = Journal(tmp_path)
    whole = (cut - 64) // 116
    assert again.position == Position(7, 1 + whole)
    again.append([message(1 + whole)])
    again.close()
    assert stored(tmp_path) == [message(number) for number in range(1, whole + 2)]


def test_it_rolls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mediation.collection.journal.ROLL_OCTETS", 1000)
    journal = Journal(tmp_path)
    journal.begin(Position(7, 1))
    for number in range(1, 101):
        journal.append([message(number)])
        journal.sync()
    journal.close()
    assert len(list(tmp_path.glob("*.journal"))) > 5
    assert stored(tmp_path) == [message(number) for number in range(1, 101)]
    assert Journal(tmp_path).position == Position(7, 101)
