"""Time: how good the clock is, and the clock that orders' windows are judged by.

`stamp_quality` asks the kernel (adjtimex(2)) for the proven bound of the clock's error; every event carries it
(47 CFR 1.20007(a)(14): events stamped to 200 ms). `AuthorityClock` is the wall clock that never runs backwards: not
when somebody sets the clock back, not across a restart. Turning the clock back can therefore not prolong an order;
turning it forward ends orders early, which is the safe side.

May not: claim an accuracy that the kernel does not prove. A clock without discipline is said to be one.
"""

from __future__ import annotations

import ctypes
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

from mediation.core.errors import ConfigurationError
from mediation.runtime import durable

ALARM_NS = 100_000_000  # half of the rule's bound: time to act before it is broken (ours)
LIMIT_NS = 200_000_000  # 47 CFR 1.20007(a)(14)

STA_UNSYNC = 0x0040  # linux/timex.h
TIME_ERROR = 5
LATEST_NS = 1 << 62  # in 2116: a later time in a file is none, for it would grow beyond what anything here can count
UNKNOWN_NS = (1 << 32) * 1000  # more than any bound the kernel states (16 s when it knows nothing)


class _Timex(ctypes.Structure):
    """struct timex of linux/timex.h."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time", ctypes.c_long * 2),
        ("tick", ctypes.c_long),
        ("ppsfreq", ctypes.c_long),
        ("jitter", ctypes.c_long),
        ("shift", ctypes.c_int),
        ("stabil", ctypes.c_long),
        ("jitcnt", ctypes.c_long),
        ("calcnt", ctypes.c_long),
        ("errcnt", ctypes.c_long),
        ("stbcnt", ctypes.c_long),
        ("tai", ctypes.c_int),
        ("reserved", ctypes.c_int * 11),
    )


_libc = ctypes.CDLL(None, use_errno=True)


def stamp_quality() -> tuple[int, bool]:
    """(bound of the system clock's error in ns, whether it is under discipline). 2 µs; UNKNOWN_NS if nobody knows."""
    state = _Timex()
    answer = _libc.adjtimex(ctypes.byref(state))
    if answer < 0:
        return UNKNOWN_NS, False
    return state.maxerror * 1000, answer != TIME_ERROR and not state.status & STA_UNSYNC


def may_arm(*, lab: bool, accept_undisciplined: bool, error_ns: int, disciplined: bool) -> bool:
    """Whether a tap may be armed with such a clock: a production site's must hold the rule's 200 ms."""
    return lab or accept_undisciplined or (disciplined and error_ns <= LIMIT_NS)


class HighWater:
    """The latest time a function has seen, in a file that stays open (a confined process can open none).

    Two slots of 16 octets, a sector apart, written in turn: value and its complement, so that a torn write shows and
    leaves the other slot. Not trusted: who can write it can only end orders early, or, by deleting it, take back the
    protection against a clock set back while the function was down.
    """

    SLOT_OCTETS = 512
    RECORD = struct.Struct("!QQ")
    MASK = (1 << 64) - 1

    def __init__(self, path: Path) -> None:
        """Opens or makes the file. Raises ConfigurationError."""
        try:
            self._fd = durable.keep_open(path)
        except OSError as error:
            raise ConfigurationError(f"clock: {path.name}: {error.strerror}") from error
        self._slot = 0

    def fileno(self) -> int:
        return self._fd

    def read(self) -> int:
        """Nanoseconds; 0 when nothing valid is there."""
        found = [0]
        for slot in (0, 1):
            octets = os.pread(self._fd, self.RECORD.size, slot * self.SLOT_OCTETS)
            if len(octets) == self.RECORD.size:
                value, complement = self.RECORD.unpack(octets)
                if value ^ complement == self.MASK and value <= LATEST_NS:
                    found.append(value)
        return max(found)

    def write(self, now_ns: int) -> None:
        """pwrite64 fdatasync. Raises OSError."""
        os.pwrite(self._fd, self.RECORD.pack(now_ns, now_ns ^ self.MASK), self._slot * self.SLOT_OCTETS)
        os.fdatasync(self._fd)
        self._slot ^= 1

    def close(self) -> None:
        os.close(self._fd)


class AuthorityClock:
    """Wall time that only goes forward, at least as fast as the monotonic clock.

    `wall` and `monotonic` are clocks in ns (tests turn them). Without a high-water mark it forgets across restarts.
    """

    def __init__(
        self,
        high_water: HighWater | None = None,
        *,
        wall: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._high_water = high_water
        self._now = max(wall(), high_water.read() if high_water else 0)
        self._at = monotonic()

    def now_ns(self) -> int:
        """UTC nanoseconds since 1970, never less than any answer before."""
        at = self._monotonic()
        self._now = max(self._wall(), self._now + at - self._at)
        self._at = at
        return self._now

    def ahead_ns(self) -> int:
        """How far it is ahead of the wall clock: more than 0 after the clock was set back; status says it."""
        return self.now_ns() - self._wall()

    def save(self) -> None:
        """Makes the present moment outlive a restart; once a second is the daemon's habit. Raises OSError."""
        if self._high_water is not None:
            self._high_water.write(self.now_ns())
