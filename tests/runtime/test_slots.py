"""SEC-19: what a function remembers of orders is there after a restart, and its file does not tell how much it is."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from pathlib import Path

import pytest

from mediation.runtime import durable
from mediation.runtime.slots import PAGE_SLOTS, RECORD_OCTETS, SLOT_OCTETS, Slots
from mediation.runtime.suspended import SuspendedTasks

KEY = bytes(range(32))
PAGE_OCTETS = PAGE_SLOTS * SLOT_OCTETS


def some(count: int) -> list[bytes]:
    return [os.urandom(RECORD_OCTETS) for _ in range(count)]


def test_sizes_are_classes_and_octets_are_chance(tmp_path: Path) -> None:
    """No block stands twice, in no file and in no two of them, whatever is remembered."""
    sizes, blocks = [], Counter[bytes]()
    for count in (0, 1, 30, 64, 65, 257):
        path = tmp_path / str(count)
        slots = Slots(path, KEY)
        slots.add([bytes(RECORD_OCTETS - 1) + bytes([n % 256]) for n in range(count)])
        octets = path.read_bytes()
        sizes.append(len(octets))
        blocks.update(octets[at : at + 16] for at in range(0, len(octets), 16))
        assert (max(blocks.values()), len(blocks) * 16) == (1, sum(sizes))
    assert sizes == [4096, 4096, 4096, 4096, 16384, 65536]


def test_a_copy_of_before_tells_no_slot(tmp_path: Path) -> None:
    """Not within one life: all of the page that is written is other. Not over a restart: all of the file is."""
    slots = Slots(tmp_path / "file", KEY)
    slots.add(some(300))
    copies = [(tmp_path / "file").read_bytes()]
    for count in (1, 3):
        slots.add(some(count))
        copies.append((tmp_path / "file").read_bytes())
    Slots(tmp_path / "file", KEY)
    copies.append((tmp_path / "file").read_bytes())
    for before, after in itertools.pairwise(copies):
        for at in range(0, len(after), PAGE_OCTETS):
            page = after[at : at + PAGE_OCTETS]
            if page != before[at : at + PAGE_OCTETS]:
                same = sum(page[n : n + 16] == before[at + n : at + n + 16] for n in range(0, PAGE_OCTETS, 16))
                assert same == 0
    assert copies[-2] != copies[-1]
    changed = [copies[-2][at : at + 16] == copies[-1][at : at + 16] for at in range(0, len(copies[-1]), 16)]
    assert not any(changed)


@pytest.mark.parametrize("count", [1, 64, 65, 1000])
def test_all_is_there_after_a_restart_also_after_a_torn_page(tmp_path: Path, count: int) -> None:
    path = tmp_path / "file"
    records = some(count)
    slots = Slots(path, KEY)
    slots.add(records)
    before = path.read_bytes()
    more = some(1)
    slots.add(more)
    after = path.read_bytes()
    assert set(Slots(path, KEY).records) == {*records, *more}
    for at in range(0, len(before), 512):  # a sector of the old page between those of the new
        path.write_bytes(after[:at] + before[at : at + 512] + after[at + 512 :])
        if len(before) == len(after):
            assert set(records) <= set(Slots(path, KEY).records) <= {*records, *more}


def test_another_key_or_name_reads_nothing(tmp_path: Path) -> None:
    Slots(tmp_path / "file", KEY).add(some(3))
    (tmp_path / "other").write_bytes((tmp_path / "file").read_bytes())
    assert Slots(tmp_path / "other", KEY).records == ()
    assert Slots(tmp_path / "file", bytes(32)).records == ()


def test_a_disk_that_refuses_takes_no_slot_and_no_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    records = some(60)
    slots = Slots(path, KEY)
    slots.add(records)

    def full(*_: object) -> None:
        raise OSError(28, "full")

    with monkeypatch.context() as patch:
        patch.setattr(durable, "write", full)
        for _ in range(3):
            with pytest.raises(OSError, match="full"):
                slots.add(some(10))  # also grows
        again = Slots(path, KEY)
        assert set(again.records) == set(records)
        with pytest.raises(OSError, match="full"):
            Slots(tmp_path / "new", KEY)
    more = some(10)
    again.add(more)
    assert set(Slots(path, KEY).records) == {*records, *more}


def test_of_an_order_the_newest_suspension_stays(tmp_path: Path) -> None:
    path = tmp_path / "suspended"
    suspended = SuspendedTasks(path, KEY)
    xid = os.urandom(16)
    for sequence in range(2, 200, 2):
        suspended.add(xid, sequence)
    assert path.stat().st_size == 4 * PAGE_OCTETS
    assert list(SuspendedTasks(path, KEY)) == [(xid, 198)]
    assert path.stat().st_size == PAGE_OCTETS
