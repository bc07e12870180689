"""The durable spool: nothing lost without a report, nothing kept that was delivered, bounded whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mediation.core.errors import ConfigurationError
from mediation.core.interface import record
from mediation.core.interface.link import Data, Epoch, Loss, LossClass, Position
from mediation.delivery import committer
from mediation.delivery.cursor import Cursor, State
from mediation.delivery.segment import HEADER_OCTETS, SPARE, Segment
from mediation.delivery.spool import MIN_SEGMENT_OCTETS, SEGMENTS, Message, Spool
from tests import vault
from tests.delivery.support import (
    NOW_S,
    balanced,
    damage,
    found,
    losses,
    message,
    newest,
    numbers,
    open_spool,
    read_all,
)  # fmt: skip


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = open_spool(tmp_path / "agency")
    yield made
    made.close()


# -- the ordinary way --------------------------------------------------------------------------------------------------


def test_messages_are_numbered_from_one_and_read_in_order(spool: Spool) -> None:
    events = spool.append([message(1), message(2)]) + spool.append([message(3)])
    assert [event.sequence for event in events if isinstance(event, Data)] == [1, 2, 3]
    assert read_all(spool) == events
    assert spool.queued == 3
    assert spool.acknowledged == Position(NOW_S, 1)


def test_acknowledged_messages_are_gone(spool: Spool) -> None:
    spool.append([message(number) for number in range(1, 6)])
    spool.acknowledge(Position(NOW_S, 4))
    assert numbers(read_all(spool)) == [4, 5]
    assert spool.queued == 2
    spool.acknowledge(Position(NOW_S, 2))  # what is behind us moves nothing
    assert spool.queued == 2
    spool.acknowledge(Position(NOW_S, 6))
    assert read_all(spool) == []
    assert spool.queued == 0


def test_many_segments_roll_and_are_released_and_wiped(spool: Spool, tmp_path: Path) -> None:
    size = 2000
    sent = 0
    for _ in range(40):
        sent += len(spool.append([message(sent + n + 1, size) for n in range(100)]))
        spool.acknowledge(Position(NOW_S, sent - 10))
        assert spool.drain(10)
    assert sent == 4000
    assert spool.queued == 11
    assert spool.commit_counters.wiped >= 2
    assert numbers(read_all(spool)) == list(range(3990, 4001))
    files = sorted((tmp_path / "agency").iterdir())
    assert len(files) == 3  # the cursor, the segment in use, a spare
    used = found(tmp_path / "agency")
    assert len(used) == 1
    (path,) = {path for path in files if path.suffix == ".seg"} - {used[0].path}
    spare = Segment(path, os.open(path, os.O_RDONLY), SPARE, path.stat().st_size, vault.box().derived(SEGMENTS))
    assert not any(spare.show(HEADER_OCTETS, spare.size - HEADER_OCTETS))  # nothing delivered stays behind
    assert not sum(spool.counters.lost.values())


def test_a_batch_larger_than_a_segment_is_split(spool: Spool) -> None:
    events = spool.append([message(number, 200_000) for number in range(1, 8)])
    assert spool.drain(10)
    events += spool.append([message(number, 200_000) for number in range(8, 60)])  # outruns the thread
    assert numbers(list(events)) == numbers(read_all(spool)) == list(range(1, 60))
    assert spool.counters.improvised >= 1
    assert balanced(spool)


def test_a_message_that_cannot_be_encoded_keeps_its_number(spool: Spool) -> None:
    bad = Message(1, 1, True, None)
    long = message(3, (1 << 18) + 1)
    events = spool.append([message(1), bad, long, message(4)])
    assert events[1:3] == [Loss(2, 2, LossClass.UNENCODABLE), Loss(3, 3, LossClass.UNENCODABLE)]
    assert numbers(read_all(spool)) == [1, 4]
    assert spool.counters.lost[LossClass.UNENCODABLE] == 2
    assert balanced(spool)


def test_one_spool_one_process(spool: Spool, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="another process"):
        open_spool(tmp_path / "agency")


# -- restarts ----------------------------------------------------------------------------------------------------------


def test_a_restart_goes_on_in_a_new_epoch(tmp_path: Path) -> None:
    first = open_spool(tmp_path)
    first.append([message(1), message(2), message(3)])
    first.acknowledge(Position(NOW_S, 2))
    first.close()
    second = open_spool(tmp_path)  # in the same second
    assert second.position == Position(NOW_S + 1, 4)
    assert second.acknowledged == Position(NOW_S, 2)
    assert second.counters.recovered == second.queued == 2
    second.append([message(4)])
    events = read_all(second)
    assert numbers(events) == [2, 3, 4]
    assert events[2] == Epoch(Position(NOW_S + 1, 4))
    assert second.extents() == {NOW_S: 4, NOW_S + 1: 5}
    second.acknowledge(Position(NOW_S, 4))
    assert second.acknowledged == Position(NOW_S + 1, 4)  # the old epoch is over
    assert second.queued == 1
    second.close()


def test_restarts_without_traffic_keep_the_numbering(tmp_path: Path) -> None:
    first = open_spool(tmp_path)
    first.append([message(1), message(2)])
    first.acknowledge(Position(NOW_S, 3))
    first.close()
    for again in range(1, 4):
        spool = open_spool(tmp_path, NOW_S + again * 10)
        assert spool.position == spool.acknowledged == Position(NOW_S + again * 10, 3)
        assert spool.queued == 0
        spool.close()
    assert len(list(tmp_path.glob("*.seg"))) == 2


def test_a_clock_set_back_does_not_repeat_an_epoch(tmp_path: Path) -> None:
    open_spool(tmp_path, NOW_S).close()
    again = open_spool(tmp_path, NOW_S - 86_400)
    assert again.position.epoch > NOW_S
    again.close()


def test_numbers_the_far_side_has_seen_are_not_given_again_after_a_power_failure(tmp_path: Path) -> None:
    """The far side got 1 to 5; the disk kept 1 to 3. Message 4 of the new epoch is not message 4 of the old."""
    first = open_spool(tmp_path)
    first.append([message(number) for number in range(1, 6)])
    first.close()
    segment = newest(tmp_path)
    octets = segment.show(0, segment.size)
    kept = record.scan(octets, record.Seals(vault.box(), tmp_path.name.encode(), NOW_S), 1, at=64, limit=3).end
    damage(segment, bytes(segment.size - kept), kept)
    second = open_spool(tmp_path)
    assert second.position == Position(NOW_S + 1, 4)
    assert second.extents() == {NOW_S: 4, NOW_S + 1: 4}
    second.acknowledge(Position(NOW_S, 6))  # its WELCOME
    assert second.queued == 0
    second.append([message(104)])
    events = read_all(second, Position(NOW_S, 6))
    assert events[0] == Epoch(Position(NOW_S + 1, 4))
    assert numbers(events) == [104]
    second.close()


CRASHING = """
import os, sys
from pathlib import Path
from mediation.delivery.spool import Spool
from tests import vault
from tests.delivery.support import message
spool = Spool(Path(sys.argv[1]), vault.box(), now_s=1_700_000_000, bound_octets=16 << 20)
number = 0
while True:
    batch = [message(number + n + 1) for n in range(number % 7 + 1)]
    spool.append(batch)
    number += len(batch)
    spool.commit()
    os.write(1, b"%d\\n" % number)
"""


def test_kill_9_loses_nothing_that_was_appended(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CRASHING, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(500)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
    said = int([line for line in lines if line.endswith(b"\n")][-1])
    spool = open_spool(tmp_path)
    there = numbers(read_all(spool))
    assert there == list(range(1, len(there) + 1))
    assert said <= len(there) <= said + 7  # at most the batch that was appended and not yet told
    assert spool.counters.recovered == len(there)
    spool.close()


RECORD = record.SEALED_OVERHEAD_OCTETS + 240  # of one message of these tests


@pytest.mark.parametrize("cut", [64, 65, 70, 100, 64 + RECORD, 65 + RECORD, 63 + 2 * RECORD, 64 + 3 * RECORD])
def test_a_torn_tail_is_cut_and_the_rest_is_kept(tmp_path: Path, cut: int) -> None:
    first = open_spool(tmp_path)
    first.append([message(number) for number in range(1, 4)])
    first.close()
    segment = newest(tmp_path)
    damage(segment, bytes(segment.size - cut), cut)
    second = open_spool(tmp_path)
    whole = (cut - 64) // RECORD
    assert numbers(read_all(second)) == list(range(1, min(whole, 3) + 1))
    assert second.position.sequence == min(whole, 3) + 1
    second.append([message(9)])
    assert numbers(read_all(second))[-1] == 9
    assert balanced(second)
    second.close()


def test_a_hole_before_the_tail_is_reported_and_what_follows_is_kept(tmp_path: Path) -> None:
    """A power failure may write a later page and not an earlier one: failed but persisted."""
    first = open_spool(tmp_path)
    first.append([message(number) for number in range(1, 60)])
    first.close()
    os.pwrite(newest(tmp_path).descriptor, bytes(4096), 4096)
    second = open_spool(tmp_path)
    events = read_all(second)
    (loss,) = losses(events)
    assert loss.loss_class is LossClass.CORRUPT
    assert sorted([*numbers(events), *range(loss.first, loss.last + 1)]) == list(range(1, 60))
    assert second.position.sequence == 60
    assert second.counters.lost[LossClass.CORRUPT] == loss.count
    assert balanced(second)
    read_all(second)
    assert second.counters.lost[LossClass.CORRUPT] == loss.count  # reading again does not count again
    second.close()


def test_a_changed_record_is_never_delivered(tmp_path: Path) -> None:
    first = open_spool(tmp_path)
    first.append([message(number) for number in range(1, 6)])
    first.close()
    octets = bytearray(newest(tmp_path).path.read_bytes())
    octets[64 + 2 * RECORD + 100] ^= 0x20
    newest(tmp_path).path.write_bytes(octets)
    second = open_spool(tmp_path)
    events = read_all(second)
    assert numbers(events) == [1, 2, 4, 5]
    assert losses(events) == [Loss(3, 3, LossClass.CORRUPT)]
    second.close()


def test_a_missing_segment_is_one_reported_loss(tmp_path: Path) -> None:
    first = open_spool(tmp_path, bound=8 * MIN_SEGMENT_OCTETS)
    for start in range(1, 901, 100):
        first.append([message(start + n, 2000) for n in range(100)])
        assert first.drain(10)
    first.close()
    found(tmp_path)[1].path.unlink()
    second = open_spool(tmp_path)
    events = read_all(second)
    (loss,) = losses(events)
    assert sorted([*numbers(events), *range(loss.first, loss.last + 1)]) == list(range(1, 901))
    assert second.counters.lost[LossClass.CORRUPT] == loss.count
    second.close()


@pytest.mark.parametrize("damage", ["empty", "garbage", "one-slot"])
def test_a_damaged_cursor_resends_but_loses_nothing(tmp_path: Path, damage: str) -> None:
    first = open_spool(tmp_path)
    first.append([message(number) for number in range(1, 6)])
    first.acknowledge(Position(NOW_S, 4))
    first.close()
    octets = bytearray((tmp_path / "cursor").read_bytes())
    if damage == "empty":
        octets[:] = bytes(len(octets))
    elif damage == "garbage":
        octets[:] = os.urandom(len(octets))
    else:
        octets[0] ^= 1  # whichever slot it is, the other one alone must do
    (tmp_path / "cursor").write_bytes(octets)
    second = open_spool(tmp_path)
    assert set(numbers(read_all(second))) >= {4, 5}
    assert second.position.sequence == 6
    assert second.position.epoch > NOW_S
    second.close()


def test_the_cursor_survives_a_torn_write(tmp_path: Path) -> None:
    cursor = Cursor(tmp_path / "cursor", vault.box())
    loss = Loss(5, 6, LossClass.STORAGE)
    states = [State(Position(9, number), 9, loss if number % 2 else None) for number in range(9)]
    for state in states:
        cursor.save(state)
    cursor.close()
    whole = (tmp_path / "cursor").read_bytes()
    for slot, expected in ((4096, states[-2]), (0, states[-1])):
        torn = bytearray(whole)
        torn[slot + 20 : slot + 40] = os.urandom(20)
        (tmp_path / "cursor").write_bytes(torn)
        again = Cursor(tmp_path / "cursor", vault.box())
        assert again.state == expected
        again.close()


def test_group_commit_makes_fewer_syncs_than_records(spool: Spool) -> None:
    assert spool.drain(10)
    before = spool.commit_counters.commits
    for number in range(1, 2001):
        spool.append([message(number)])
        spool.commit()
    assert spool.drain(10)
    assert spool.commit_counters.commits - before < 1000
    assert committer.MAX_UNSYNCED_OCTETS > spool._committer.unsynced_octets == 0
