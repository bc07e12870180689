"""`python -m tests.guards [--sec N …] [--jobs N]`: the table of guards, each shown to be what makes its tests pass.

Exit status 0 when every test passes with its guard and fails without it, 1 otherwise.
"""

from __future__ import annotations

import argparse
import sys

from tests.guards.run import show
from tests.guards.table import GUARDS


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.guards")
    parser.add_argument("--sec", type=int, nargs="*", help="of these requirements alone")
    parser.add_argument("--jobs", type=int, default=1, help="copies at work at a time")
    words = parser.parse_args()
    guards = [guard for guard in GUARDS if not words.sec or guard.sec in words.sec]
    shown = show(guards, words.jobs)
    print("SEC | guard | test | with the guard | without it")
    for each in shown:
        sign = "" if each.proves else "   <<< proves nothing"
        test = each.test.removeprefix("tests/")
        print(f"{each.guard.sec} | {each.guard.requirement} | {test} | {each.guarded} | {each.unguarded}{sign}")
    bad = sum(not each.proves for each in shown)
    print(f"{len(guards)} guards, {len(shown)} tests, {bad} that prove nothing")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
