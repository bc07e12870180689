"""`python -m tests.guards [--sec N …] [--jobs N]`: the table of guards, each shown to be what makes its tests pass.

A line for each row as soon as it is known, with its time. Exit status 0 when every test of every row passes with the
guard and fails without it, 1 otherwise.
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.guards.run import Shown, show
from tests.guards.table import GUARDS


def tell(row: Shown) -> None:
    sign = "" if row.proves else "   <<< proves nothing"
    print(f"SEC-{row.guard.sec} | {row.guard.requirement} | {row.seconds:.1f} s{sign}", flush=True)
    for test in row.guard.tests:
        print(f"    {test.removeprefix('tests/')}: {row.guarded[test]}, without {row.unguarded[test]}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.guards")
    parser.add_argument("--sec", type=int, nargs="*", help="of these requirements alone")
    parser.add_argument("--jobs", type=int, default=1, help="copies at work at a time")
    words = parser.parse_args()
    guards = [guard for guard in GUARDS if not words.sec or guard.sec in words.sec]
    began = time.monotonic()
    shown = show(guards, words.jobs, tell)
    proven = sum(each.proves for each in shown)
    tests = len({test for guard in guards for test in guard.tests})
    print(f"{proven} of {len(guards)} guards, by {tests} tests, in {time.monotonic() - began:.0f} s")
    return 0 if proven == len(guards) else 1


if __name__ == "__main__":
    sys.exit(main())
