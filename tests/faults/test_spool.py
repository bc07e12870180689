"""A spool without room, and on devices that fail: what cannot be kept is reported, exactly, and all heals.

Faults of a sync come in pairs: failed and not persisted, failed but persisted.
"""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mediation.core.interface import record
from mediation.core.interface.link import Loss, LossClass, Position
from mediation.delivery import segment
from mediation.delivery.spool import MIN_SEGMENT_OCTETS, Spool
from tests import vault
from tests.delivery.support import (
    BOUND_OCTETS,
    NOW_S,
    balanced,
    found,
    losses,
    message,
    numbers,
    open_spool,
    read_all,
)


def wait_for(condition: threading.Event) -> None:
    assert condition.wait(30)


def test_the_bound_is_kept_and_what_does_not_fit_is_reported(tmp_path: Path) -> None:
    bound = 4 * MIN_SEGMENT_OCTETS
    spool = open_spool(tmp_path, bound=bound)
    given = 0
    for _ in range(60):
        spool.append([message(given + n + 1, 1000) for n in range(100)])
        given += 100
        assert spool.drain(10)
        assert sum(path.stat().st_size for path in tmp_path.glob("*.seg")) <= bound + MIN_SEGMENT_OCTETS  # and a spare
    assert spool.open_loss is not None
    assert spool.open_loss.loss_class is LossClass.SPOOL_FULL
    assert spool.open_loss.last == given
    assert spool.counters.lost[LossClass.SPOOL_FULL] == spool.open_loss.count
    assert balanced(spool)
    # The far side comes back: it gets what was kept, then the report, then what came after it.
    kept = numbers(read_all(spool))
    spool.acknowledge(Position(NOW_S, kept[-1] + 1))
    assert spool.drain(10)
    assert spool.settle() == [Loss(kept[-1] + 1, given, LossClass.SPOOL_FULL)]
    spool.append([message(given + 1)])
    events = read_all(spool)
    assert events[0] == Loss(kept[-1] + 1, given, LossClass.SPOOL_FULL)
    assert numbers(events) == [given + 1]
    assert len(kept) + losses(events)[0].count == given
    spool.close()


def test_an_open_loss_survives_kill_9_and_is_reported_first(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, bound=2 * MIN_SEGMENT_OCTETS)
    for start in range(1, 3001, 100):
        spool.append([message(start + n, 1000) for n in range(100)])
        assert spool.drain(10)
    loss = spool.open_loss
    assert loss is not None
    kept = numbers(read_all(spool))
    spool._committer.close()  # as the kernel leaves it: no orderly end
    again = Spool(tmp_path / "copy" / tmp_path.name, vault.box(), now_s=NOW_S, bound_octets=BOUND_OCTETS)
    again.close()
    for path in (tmp_path / "copy" / tmp_path.name).iterdir():
        path.unlink()
    for path in [*tmp_path.glob("*.seg"), tmp_path / "cursor"]:
        (tmp_path / "copy" / tmp_path.name / path.name).write_bytes(path.read_bytes())
    again = Spool(tmp_path / "copy" / tmp_path.name, vault.box(), now_s=NOW_S, bound_octets=BOUND_OCTETS)
    assert again.open_loss == loss
    assert again.queued == len(kept) + loss.count
    assert again.append([message(9999)])[0] == loss
    events = read_all(again)
    assert numbers(events) == [*kept, 9999]
    assert losses(events) == [loss]
    again.close()


class FailingDevice:
    """os.fdatasync that fails while told to, with the pages really written or really not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, persists: bool) -> None:
        self.failing = False
        self.failed = threading.Event()
        self.real = os.fdatasync
        self.persists = persists
        self.lost: dict[int, tuple[int, bytes]] = {}
        monkeypatch.setattr(os, "fdatasync", self)

    def __call__(self, descriptor: int) -> None:
        if not self.failing:
            self.real(descriptor)
            return
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(".seg"):
            if not self.persists:  # what a device that dropped the pages leaves in the file: zeros behind the header
                os.pwrite(descriptor, bytes(4096 - record.SEGMENT_HEADER_OCTETS), record.SEGMENT_HEADER_OCTETS)
            self.failed.set()
        raise OSError(errno.EIO, "input/output error")


@pytest.mark.parametrize("persists", [True, False], ids=["failed-but-persisted", "failed-and-not-persisted"])
def test_a_sync_that_fails_is_repeated_with_the_octets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, persists: bool
) -> None:
    device = FailingDevice(monkeypatch, persists=persists)
    spool = open_spool(tmp_path)
    assert spool.drain(10)
    device.failing = True
    spool.append([message(number) for number in range(1, 6)])
    spool.commit()
    wait_for(device.failed)
    device.failing = False
    assert spool.drain(10)
    assert spool.commit_counters.failed_commits >= 1
    assert not spool.failing
    assert numbers(read_all(spool)) == [1, 2, 3, 4, 5]
    spool.close()
    again = open_spool(tmp_path)
    assert numbers(read_all(again)) == [1, 2, 3, 4, 5]
    again.close()


def test_a_device_that_stays_broken_costs_nothing_while_the_far_side_acknowledges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = FailingDevice(monkeypatch, persists=True)
    spool = open_spool(tmp_path)
    device.failing = True
    for number in range(1, 400):
        assert len(spool.append([message(number, 60_000)])) == 1
        spool.acknowledge(Position(NOW_S, number + 1))
    spool.append([message(400)])
    spool.commit()
    for _ in range(100):  # a later attempt comes after the first was noted; a wiped segment's sync fails as well
        if spool.failing:
            break
        device.failed.clear()
        wait_for(device.failed)
    assert spool.failing
    assert not sum(spool.counters.lost.values())
    device.failing = False
    spool.close()


def test_a_device_that_stays_broken_with_the_far_side_away_is_a_bounded_reported_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mediation.delivery.spool.MAX_UNSYNCED_OCTETS", 200_000)
    device = FailingDevice(monkeypatch, persists=True)
    spool = open_spool(tmp_path)
    device.failing = True
    for number in range(1, 21):
        spool.append([message(number, 20_000)])
    assert spool.open_loss is not None
    assert spool.open_loss.loss_class is LossClass.STORAGE
    assert spool.open_loss.last == 20
    assert balanced(spool)
    device.failing = False
    assert spool.drain(10)
    reported = spool.append([message(21)])[0]
    assert isinstance(reported, Loss)
    assert (reported.count, reported.last) == (spool.counters.lost[LossClass.STORAGE], 20)
    assert len(numbers(read_all(spool))) + reported.count == 21
    spool.close()


def test_a_write_that_fails_is_a_reported_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = open_spool(tmp_path)
    spool.append([message(1)])

    def fails(self: segment.Segment, octets: bytes, following: int) -> int:
        raise OSError(errno.EIO, "input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(segment.Segment, "append", fails)
        assert spool.append([message(2), message(3)]) == []
    assert spool.append([message(4)])[0] == Loss(2, 3, LossClass.STORAGE)
    assert numbers(read_all(spool)) == [1, 4]
    assert balanced(spool)
    spool.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], check=False)
    if done.returncode:
        pytest.skip("cannot mount a tmpfs here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.root
def test_a_full_disk_is_a_reported_loss_and_heals(small_disk: Path) -> None:
    spool = open_spool(small_disk / "agency", bound=8 * MIN_SEGMENT_OCTETS)
    given = 0
    while spool.open_loss is None:
        spool.append([message(given + n + 1, 1000) for n in range(50)])
        given += 50
        spool.drain(0.05)
        assert given < 10_000
    assert spool.open_loss.loss_class is LossClass.STORAGE
    assert spool.commit_counters.failed_spares >= 1
    kept = numbers(read_all(spool))
    assert len(kept) + spool.open_loss.count == given
    spool.acknowledge(Position(NOW_S, kept[-1] + 1))
    spool.drain(0.05)
    events = spool.append([message(given + 1)])
    assert losses(list(events)) == [Loss(kept[-1] + 1, given, LossClass.STORAGE)]
    assert numbers(list(events)) == [given + 1]
    assert balanced(spool)
    spool.close()


@pytest.mark.root
def test_one_segment_is_enough_while_the_far_side_acknowledges(small_disk: Path) -> None:
    """Nothing is lost for want of a second one: what is acknowledged makes room at once."""
    spool = open_spool(small_disk / "agency", bound=4 * MIN_SEGMENT_OCTETS)
    spool.append([message(1, 1000)])
    assert spool.drain(10)
    ballast = os.open(small_disk / "ballast", os.O_WRONLY | os.O_CREAT)
    used = {one.path for one in found(small_disk / "agency")}
    for path in set((small_disk / "agency").glob("*.seg")) - used:
        path.unlink()
    with pytest.raises(OSError, match="No space"):
        while True:
            os.write(ballast, bytes(4096))
    os.close(ballast)
    for number in range(2, 3001):
        events = spool.append([message(number, 1000)])
        assert numbers(list(events)) == [number]
        spool.acknowledge(Position(NOW_S, number + 1))
    assert not sum(spool.counters.lost.values())
    assert spool.queued == 0
    spool.close()


@pytest.mark.root
def test_a_spool_that_opens_on_a_full_disk_reports_until_there_is_room(small_disk: Path) -> None:
    open_spool(small_disk / "agency").close()
    for path in (small_disk / "agency").glob("*.seg"):
        path.unlink()
    ballast = small_disk / "ballast"
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    with pytest.raises(OSError, match="No space"):
        while True:
            os.write(descriptor, bytes(4096))
    os.close(descriptor)
    spool = open_spool(small_disk / "agency", bound=4 * MIN_SEGMENT_OCTETS)
    assert spool.append([message(1), message(2)]) == []
    assert spool.open_loss == Loss(1, 2, LossClass.STORAGE)
    ballast.unlink()
    assert spool.drain(10)
    assert spool.append([message(3)])[0] == Loss(1, 2, LossClass.STORAGE)
    assert numbers(read_all(spool)) == [3]
    assert balanced(spool)
    spool.close()


def in_use(folder: Path) -> int:
    """How many segments hold something."""
    used = found(folder)
    for one in used:
        one.close()
    return len(used)


@pytest.mark.parametrize("waits", [True, False], ids=["two-segments", "many-segments"])
def test_nothing_delivered_stays_on_the_disk(tmp_path: Path, waits: bool) -> None:
    """With two segments the acknowledged one is used again, with more it goes; wiped in either case."""
    spool = open_spool(tmp_path, bound=(2 if waits else 8) * MIN_SEGMENT_OCTETS)
    number = 0
    while in_use(tmp_path) < 2:
        number += 1
        spool.append([message(number, 1000)])
        assert spool.drain(10)
    # Also what is removed shows through these. Sealed octets: the first message's, and those of the last, in use.
    held = [one.path.open("rb") for one in found(tmp_path)]
    size = record.SEALED_OVERHEAD_OCTETS + 1000
    written = [file.read() for file in held]
    end = len(found(tmp_path)[1].show(0, MIN_SEGMENT_OCTETS - 64).rstrip(b"\0"))
    first, last = written[0][64 : 64 + size], written[1][end - size + 16 : end]
    spool.acknowledge(Position(NOW_S, number + 1))
    assert spool.drain(10)
    left = [file.seek(0) or file.read() for file in held]
    assert not any(message(1, 1000).octets in octets for octets in (*written, *left))
    assert sum(first in octets for octets in left) == 0
    assert sum(last in octets for octets in left) == 1
    for file in held:
        file.close()
    spool.close()
