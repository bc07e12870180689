"""The witness program by a clock that a test turns: its first argument names a file with the nanoseconds that it is
ahead. Nothing in the daemon lets anybody move time; this replaces its clock in a process of the tests' own."""

from __future__ import annotations

import struct
import sys
import time
from pathlib import Path

from mediation.cli import witness
from mediation.cli.main import main
from mediation.runtime.clock import AuthorityClock, HighWater

AHEAD = struct.Struct("!q")


def turn(file: Path, ahead_ns: int) -> None:
    """From now on the witnesses of `file` are so far ahead of the machine's clock."""
    file.write_bytes(AHEAD.pack(ahead_ns))


class TurnedClock(AuthorityClock):
    def __init__(self, high_water: HighWater) -> None:
        super().__init__(high_water, wall=now_ns, monotonic=now_ns)


def now_ns() -> int:
    return time.time_ns() + int(AHEAD.unpack(FILE.read_bytes())[0])


if __name__ == "__main__":
    FILE = Path(sys.argv.pop(1))
    witness.AuthorityClock = TurnedClock  # type: ignore[misc]
    main()
