"""The authority clock under steps and restarts, and what is said of a clock nobody governs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mediation.core.errors import ConfigurationError
from mediation.runtime import clock

S = 1_000_000_000
START = 1_700_000_000 * S


class Turned:
    """Two clocks that a test turns."""

    def __init__(self) -> None:
        self.wall_ns = START
        self.monotonic_ns = 5 * S

    def go(self, ns: int) -> None:
        self.wall_ns += ns
        self.monotonic_ns += ns

    def clock(self, high_water: clock.HighWater | None = None) -> clock.AuthorityClock:
        return clock.AuthorityClock(high_water, wall=lambda: self.wall_ns, monotonic=lambda: self.monotonic_ns)


def test_it_follows_the_wall_clock() -> None:
    turned = Turned()
    subject = turned.clock()
    turned.go(3 * S)
    assert subject.now_ns() == START + 3 * S
    assert subject.ahead_ns() == 0


def test_a_step_forward_is_followed_at_once() -> None:
    turned = Turned()
    subject = turned.clock()
    turned.wall_ns += 3600 * S
    assert subject.now_ns() == START + 3600 * S


def test_a_step_back_does_not_win_time() -> None:
    turned = Turned()
    subject = turned.clock()
    turned.go(10 * S)
    assert subject.now_ns() == START + 10 * S
    turned.wall_ns -= 3600 * S
    turned.go(5 * S)
    assert subject.now_ns() == START + 15 * S  # goes on by the monotonic clock
    assert subject.ahead_ns() == 3600 * S
    turned.wall_ns += 7200 * S
    assert subject.now_ns() == START + 3615 * S  # and follows the wall clock once that is ahead


def test_a_restart_with_the_clock_set_back(tmp_path: Path) -> None:
    turned = Turned()
    high_water = clock.HighWater(tmp_path / "clock")
    subject = turned.clock(high_water)
    turned.go(100 * S)
    subject.save()
    high_water.close()
    turned.wall_ns -= 86400 * S
    turned.monotonic_ns = 0  # a reboot
    again = turned.clock(clock.HighWater(tmp_path / "clock"))
    assert again.now_ns() == START + 100 * S
    turned.go(S)
    assert again.now_ns() == START + 101 * S


@pytest.mark.parametrize("torn", [0, 7, 15])
def test_a_torn_write_leaves_the_slot_before(tmp_path: Path, torn: int) -> None:
    path = tmp_path / "clock"
    high_water = clock.HighWater(path)
    high_water.write(START)
    high_water.write(START + S)
    with path.open("r+b") as file:  # the second slot, torn in the middle
        file.seek(512 + torn)
        file.write(b"\xa5" * (16 - torn))
    assert clock.HighWater(path).read() == START


def test_rubbish_is_no_time(tmp_path: Path) -> None:
    (tmp_path / "clock").write_bytes(os.urandom(600))
    assert clock.HighWater(tmp_path / "clock").read() == 0


@pytest.mark.parametrize("value", [clock.LATEST_NS + 1, (1 << 64) - 1])
def test_a_time_beyond_all_times_is_none(tmp_path: Path, value: int) -> None:
    """Who can write the file ended the process by it, at each start: a second later it was no 64-bit number."""
    record = clock.HighWater.RECORD.pack(value, value ^ clock.HighWater.MASK)
    (tmp_path / "clock").write_bytes(record)
    turned = Turned()
    kept = turned.clock(clock.HighWater(tmp_path / "clock"))
    assert kept.now_ns() == turned.wall_ns
    kept.save()
    assert clock.HighWater(tmp_path / "clock").read() == turned.wall_ns


def test_no_place_for_the_high_water(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="clock: clock: No such file"):
        clock.HighWater(tmp_path / "missing" / "clock")


def test_the_kernel_states_a_bound() -> None:
    error_ns, disciplined = clock.stamp_quality()
    assert 0 <= error_ns <= 17 * S  # the kernel's own ceiling is 16 s (NTP_PHASE_LIMIT)
    assert isinstance(disciplined, bool)
    if error_ns >= 16 * S:
        assert not disciplined


@pytest.mark.parametrize(
    ("lab", "accept", "error_ns", "disciplined", "allowed"),
    [
        (False, False, 200_000_000, True, True),
        (False, False, 200_000_001, True, False),
        (False, False, 1000, False, False),
        (False, True, 16 * S, False, True),
        (True, False, 16 * S, False, True),
    ],
)
def test_who_may_arm(lab: bool, accept: bool, error_ns: int, disciplined: bool, allowed: bool) -> None:
    assert clock.may_arm(lab=lab, accept_undisciplined=accept, error_ns=error_ns, disciplined=disciplined) is allowed
