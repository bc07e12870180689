"""SEC-19: the spool's folder tells the class of the number of links, and not which is one or what it sent."""

from __future__ import annotations

import os
import zlib
from collections import Counter
from pathlib import Path

import pytest

from mediation.core.interface.link import Position
from mediation.delivery import decoy_links, segment
from mediation.delivery.decoy_links import FILES, LEAST_LINKS, DecoyLinks
from mediation.delivery.spool import MIN_SEGMENT_OCTETS, Spool
from tests import vault
from tests.delivery.support import NOW_S, message, numbers, read_all

BOUND = 8 * MIN_SEGMENT_OCTETS
TURNS = 10


def names() -> bytes:
    return vault.derived().name_key("spool")


def links(folder: Path, count: int, *, sent: int = 0) -> list[Spool]:
    """So many spools, each of which has sent so many messages."""
    made = []
    for number in range(count):
        one = Spool(folder / vault.derived().name("spool", str(number)), vault.box(), now_s=NOW_S, bound_octets=BOUND)
        if sent:
            one.append([message(n) for n in range(sent)])
            one.acknowledge(Position(one.position.epoch, sent // 2))
        assert one.drain(30)
        made.append(one)
    return made


def decoys(folder: Path) -> DecoyLinks:
    made = DecoyLinks(folder, names(), vault.box(), MIN_SEGMENT_OCTETS)
    for _ in range(TURNS):
        made.turn()
    return made


def seen(folder: Path) -> Counter[tuple[tuple[str, int], ...]]:
    """What the thief sees: of each folder its files by the form of their names and their sizes; no octets tell more."""
    found = Counter[tuple[tuple[str, int], ...]]()
    blocks = Counter[bytes]()
    times = set()
    for place in folder.iterdir():
        assert len(bytes.fromhex(place.name)) == 16
        files = []
        for path in sorted(place.iterdir(), key=lambda path: path.suffix):
            octets = path.read_bytes()
            assert len(zlib.compress(octets, 1)) > len(octets)
            blocks.update(octets[at : at + 16] for at in range(0, len(octets), 16))
            files.append((path.suffix or path.name, len(octets)))
            times.add(path.stat().st_mtime_ns // 10**10)
        found[tuple(files)] += 1
    assert max(blocks.values()) == 1
    assert len(times) <= 2  # seconds apart at most
    return found


@pytest.mark.parametrize("ended", [False, True], ids=["running", "ended"])
def test_one_link_or_four_used_or_not(tmp_path: Path, ended: bool) -> None:
    """The same folders, the same files of the same sizes, all octets chance."""
    shown = []
    for name, count, sent in (("none", 0, 0), ("one", 1, 0), ("used", 1, 500), ("four", 4, 3)):
        folder = tmp_path / name
        folder.mkdir()
        spools = links(folder, count, sent=sent)
        for path in folder.rglob("*"):
            os.utime(path, (1, 1))
        hiding = decoys(folder)
        if ended:
            for spool in spools:
                spool.close()
            hiding.touch()
        shown.append(seen(folder))
        for spool in spools if not ended else ():
            spool.close()
    assert shown == [Counter({(("cursor", 8192), *[(".seg", MIN_SEGMENT_OCTETS)] * FILES): LEAST_LINKS})] * 4


def test_the_class_grows_and_shrinks(tmp_path: Path) -> None:
    for count, places in ((5, 8), (8, 8), (9, 16)):
        for number in range(count):
            (tmp_path / vault.derived().name("spool", str(number))).mkdir(exist_ok=True)
        hiding = decoys(tmp_path)
        assert len(list(tmp_path.iterdir())) == places
        assert sum(not hiding.is_decoy(path) for path in tmp_path.iterdir()) == count
    for number in range(1, 9):
        (tmp_path / vault.derived().name("spool", str(number))).rmdir()
    assert len(list(tmp_path.iterdir())) == 8
    decoys(tmp_path)
    assert len(list(tmp_path.iterdir())) == LEAST_LINKS
    assert (tmp_path / vault.derived().name("spool", "0")).is_dir()


def test_over_a_restart_every_file_is_another(tmp_path: Path) -> None:
    """A copy of before and one of after tell no link from a decoy: all names stay, and no octets."""
    (spool,) = links(tmp_path, 1, sent=9)
    decoys(tmp_path)
    before = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    spool.close()
    (spool,) = links(tmp_path, 1)
    assert numbers(read_all(spool)) == list(range(3, 9))
    spool.acknowledge(spool.position)
    assert spool.drain(30)
    decoys(tmp_path)
    after = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.parent for path in before} == {path.parent for path in after}
    old = {octets[at : at + 16] for octets in before.values() for at in range(0, len(octets), 16)}
    changed = Counter[tuple[int, ...]]()  # of each cursor: which blocks
    for path, octets in after.items():
        fresh = tuple(at for at in range(0, len(octets), 16) if octets[at : at + 16] not in old)
        if path.name == "cursor":
            changed[fresh] += 1
        else:
            assert path not in before
            assert len(fresh) * 16 == len(octets)
    assert len(changed) == 1
    spool.close()


def test_a_disk_that_is_nearly_full_keeps_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (spool,) = links(tmp_path, 1)
    decoys(tmp_path)
    free = os.statvfs(tmp_path)
    fields = list(free)
    fields[4] = (decoy_links.ROOM_NEEDED - 1) * MIN_SEGMENT_OCTETS // free.f_frsize  # f_bavail
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(fields))
    decoys(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [spool.folder.name]
    fields[4] = (decoy_links.ROOM_TO_SPARE - 1) * MIN_SEGMENT_OCTETS // free.f_frsize
    decoys(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    spool.close()


# -- one segment -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["posix_fallocate", "pwrite", "fsync", "rename"])
def test_a_preparation_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(*((Path, "rename", full) if step == "rename" else (os, step, full)))
        with pytest.raises(OSError, match="no space"):
            segment.prepare_spare(tmp_path, MIN_SEGMENT_OCTETS, bytes(32))
        assert list(tmp_path.iterdir()) == []
    made = segment.prepare_spare(tmp_path, MIN_SEGMENT_OCTETS, bytes(32))
    assert made.path.stat().st_blocks * 512 >= MIN_SEGMENT_OCTETS == made.octets  # really written, no hole
    made.close()


@pytest.mark.parametrize("header", [0, MIN_SEGMENT_OCTETS - 64])
def test_a_damaged_header_does_not_hide_what_the_file_holds(tmp_path: Path, header: int) -> None:
    (spool,) = links(tmp_path, 1, sent=5)
    assert spool.current is not None
    path = spool.current.path
    spool.close()
    with path.open("r+b") as file:
        file.seek(header)
        file.write(bytes(64))
    (spool,) = links(tmp_path, 1)
    assert spool.counters.damaged == 1
    assert numbers(read_all(spool)) == [1, 2, 3, 4]
    spool.close()


def test_what_a_crash_left_half_made_or_half_wiped_is_nobody_s(tmp_path: Path) -> None:
    (spool,) = links(tmp_path, 1, sent=5)
    spool.close()
    half = segment.another(spool.folder)
    half.write_bytes(os.urandom(5000))
    (spool,) = links(tmp_path, 1)
    assert not half.exists()
    assert spool.counters.damaged == 0
    assert numbers(read_all(spool)) == [1, 2, 3, 4]
    spool.close()
    lost = half.with_suffix(".seg")
    lost.write_bytes(os.urandom(5000))
    (spool,) = links(tmp_path, 1)
    assert not lost.exists()
    assert spool.counters.damaged == 1  # it may have held something
    spool.close()
