"""What every benchmark does around its measurement: options, percentiles, and the result as one JSON object."""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench import machine, network

RESULTS = Path(__file__).parent / "results"
QUANTILES = (("p50_us", 0.50), ("p95_us", 0.95), ("p99_us", 0.99), ("p999_us", 0.999))

Result = dict[str, Any]


def percentiles(nanoseconds: Sequence[int]) -> dict[str, float]:
    """p50_us … p999_us and max_us of a sample, by nearest rank; microseconds. The sample must not be empty."""
    ordered = sorted(nanoseconds)
    found = {name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1000 for name, share in QUANTILES}
    return {**found, "max_us": ordered[-1] / 1000}


def medians(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    """Of each figure its median over the rounds; of `max_us` the maximum, for a tail may not be hidden."""
    return {
        name: round((max if name == "max_us" else statistics.median)([one[name] for one in rounds]), 1)
        for name in rounds[0]
    }


def main(name: str, about: str, measure: Callable[[argparse.Namespace], Result],
         add: Callable[[argparse.ArgumentParser], None] = lambda _parser: None) -> None:  # fmt: skip
    """Runs `measure` and prints its result as the last line; `--save` also writes it to bench/results."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.{name}", description=about)
    parser.add_argument("--quick", action="store_true", help="under a minute")
    parser.add_argument("--json", action="store_true", help="one JSON object only; progress goes to standard error")
    parser.add_argument("--save", action="store_true", help=f"also write bench/results/{name}.json")
    add(parser)
    options = parser.parse_args()
    noise = machine.Noise()
    with network.quiet_exit():
        result = measure(options)
    result = {"benchmark": name, "quick": options.quick, **result, "machine": machine.facts(), "noise": noise.report()}
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=None if options.json else 1), flush=True)
