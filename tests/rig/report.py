"""Plays scenarios and compares; as a program, prints the table: `python -m tests.rig.report [NUMBER …]`."""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from mediation.cli.demo_network import possible
from mediation.core.errors import MediationError
from tests.rig.scenarios import SCENARIOS, Scenario, second_case
from tests.rig.stage import Rig, Stage, built

WIDTH = 48


@dataclass(frozen=True)
class Outcome:
    """What one scenario was to give and what it gave."""

    scenario: Scenario
    expected: list[str]
    received: list[str]
    error: str  # "" when the call itself and the scenario's own checks went well
    seconds: float
    latency_us: int  # the longest, from the tap's receipt to the agency

    @property
    def passed(self) -> bool:
        return not self.error and self.expected == self.received

    def table(self) -> str:
        """Expected and received side by side, the difference marked."""
        rows = [f"{self.scenario.number}: {self.scenario.title}", f"  {'expected':{WIDTH}} received"]
        for expected, received in zip_longest(self.expected, self.received, fillvalue="-"):
            rows.append(f"{' ' if expected == received else '!'} {expected:{WIDTH}} {received}")
        return "\n".join([*rows, *([f"! {self.error}"] if self.error else [])])


def play(rig: Rig, scenario: Scenario) -> Outcome:
    """One scenario from order to comparison."""
    began = time.monotonic()
    stage = Stage(rig, scenario.name)
    error = ""
    try:
        scenario.play(stage)
        rig.fence()
    except (AssertionError, MediationError) as problem:
        error = " ".join(str(problem).split())
    expected, received = list(scenario.expected), stage.received()
    lines = stage.lines()
    if scenario.second is not None:
        case = second_case(stage)
        lines += stage.lines(case)
        expected += [f"B: {text}" for text in scenario.second]
        received += [f"B: {text}" for text in stage.received(case)]
    longest = max((int(line.get("latency_us") or 0) for line in lines), default=0)
    return Outcome(scenario, expected, received, error, time.monotonic() - began, longest)


def main(numbers: list[str]) -> int:
    """Plays the scenarios whose number or name is given (all without one); 0 when every one matched."""
    missing = possible()
    if missing:
        print(f"live scenarios cannot be played: {missing}", file=sys.stderr)
        return 1
    chosen = [s for s in SCENARIOS if not numbers or s.number in numbers or s.name in numbers]
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="mediation-rig-") as folder, built(Path(folder)) as rig:
        for scenario in chosen:
            outcome = play(rig, scenario)
            outcomes.append(outcome)
            mark = "pass" if outcome.passed else "FAIL"
            print(f"{mark} {outcome.seconds:5.1f} s  longest {outcome.latency_us} us\n{outcome.table()}\n", flush=True)
    failed = [outcome.scenario.number for outcome in outcomes if not outcome.passed]
    print(f"{len(outcomes) - len(failed)} of {len(outcomes)} scenarios as expected; not: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
