"""Plays scenarios and compares; as a program, prints the table: `python -m tests.rig.report [NUMBER …]`."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from mediation.cli.demo import network
from mediation.core.errors import MediationError
from tests.rig import (
    exchange,
    scenarios,
    scenarios_content,
    scenarios_dialogs,
    scenarios_faults,
    scenarios_peers,
    scenarios_phones,
    scenarios_services,
    scenarios_transport,
    stage,
)
from tests.rig.scenario import Scenario, Table, overtaken, second_case, settled

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


def play(rig: Any, scenario: Scenario) -> Outcome:
    """One scenario from order to comparison. `rig` is a `stage.Rig` or an `exchange.Exchange`."""
    began = time.monotonic()
    errors: list[str] = []

    @contextmanager
    def complaints() -> Iterator[None]:
        try:
            yield
        except (AssertionError, MediationError, OSError) as problem:
            errors.append(" ".join(str(problem).split()) or repr(problem))

    with complaints(), rig.stage(scenario.name) as floor:
        with complaints():
            scenario.play(floor)
            floor.settle(scenario)
            rig.fence()
        expected, received = list(scenario.expected), floor.received()
        expected, lines = settled(expected, received), floor.lines()
        late = overtaken(lines)
        for point in scenario.points[1:]:
            there = floor.received(point=point)
            late += overtaken(floor.lines(point=point))
            expected += [f"{point}: {text}" for text in settled(scenario.expected, there)]
            received += [f"{point}: {text}" for text in there]
        if scenario.second is not None:
            case = second_case(floor)
            lines += floor.lines(case)
            late += overtaken(floor.lines(case))
            expected += [f"B: {text}" for text in scenario.second]
            received += [f"B: {text}" for text in floor.received(case)]
    errors += [f"{each} came behind a later message of its call" for each in late]
    longest = max((int(line.get("latency_us") or 0) for line in lines), default=0)
    return Outcome(scenario, expected, received, "; ".join(errors), time.monotonic() - began, longest)


@dataclass(frozen=True)
class Part:
    """One rig and the tables that are played on it."""

    missing: str  # empty when the rig can be built here
    built: Any
    tables: tuple[Table, ...]

    def rows(self) -> Iterable[Scenario]:
        for table in self.tables:
            yield from table.rows


def exchange_tables() -> tuple[Table, ...]:
    """What is played on the exchange of real peers."""
    modules = (
        scenarios_phones, scenarios_dialogs, scenarios_services, scenarios_transport, scenarios_content,
        scenarios_peers,
    )  # fmt: skip
    return tuple(module.scenario for module in modules)


def parts() -> list[Part]:
    """Everything there is to play."""
    return [
        Part(network.possible(), stage.built, (scenarios.scenario,)),
        Part(exchange.possible(), exchange.built, exchange_tables()),
        Part(exchange.possible(), exchange.built, (scenarios_faults.scenario,)),
    ]


def report(part: Part, chosen: list[Scenario]) -> list[Outcome]:
    """Plays and prints the chosen rows of one part."""
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="mediation-rig-") as folder:
        rig: AbstractContextManager[Any] = part.built(Path(folder))
        with rig as up:
            for scenario in chosen:
                outcome = play(up, scenario)
                outcomes.append(outcome)
                mark = "pass" if outcome.passed else "FAIL"
                print(
                    f"{mark} {outcome.seconds:5.1f} s  longest {outcome.latency_us} us\n{outcome.table()}\n", flush=True
                )
    return outcomes


def main(words: list[str]) -> int:
    """Plays the scenarios whose number or name is given (all without one); 0 when every one matched."""
    waiting = "--all" in words  # also the rows that wait for a part of the product
    names = [word for word in words if not word.startswith("-")]
    outcomes: list[Outcome] = []
    for part in parts():
        chosen = [row for row in part.rows() if not names or row.number in names or row.name in names]
        for row in chosen:
            if row.needs and not (waiting or names):
                print(f"wait  needs {row.needs}: {row.number}: {row.title}\n")
        for row in chosen:
            if row.wants():
                print(f"not played, {row.wants()}: {row.number}: {row.title}\n")
        chosen = [row for row in chosen if (not row.needs or waiting or names) and not row.wants()]
        if chosen and part.missing:
            print(f"these scenarios cannot be played: {part.missing}", file=sys.stderr)
            return 1
        if chosen:
            outcomes += report(part, chosen)
    failed = [outcome.scenario.number for outcome in outcomes if not outcome.passed]
    print(f"{len(outcomes) - len(failed)} of {len(outcomes)} scenarios as expected; not: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
