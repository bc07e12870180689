"""`targets`: what one core can take through the ring and the match table, at 10 to 1,000,000 targets.

The ring is filled while nobody reads it, then drained at once and the drain is timed: so neither the sender's speed nor
the wake-ups are in the figure, and nothing but the number of targets differs. Sizes take turns in every round, and the
figures are medians. A virtual core changes its speed by half from one second to the next, so `growth` is paired: the
median, over the rounds, of the smallest size's rate over the largest's of the same round. Afterwards the largest size
takes live traffic.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import network, programs, report, signalling, tap, traffic
from mediation.access import opener
from mediation.access._matcher import Matcher
from mediation.access._walker import RingWalker

SIZES = (10, 1_000, 100_000, 1_000_000)
CALLS = 4000  # 28,000 frames: the ring holds 32,768
FILL_PER_SECOND = 300_000
QUICK_ROUNDS, FULL_ROUNDS = 11, 21
FILLS = 3  # of a round; one more before them makes the ring's pages present
LIVE_S = 2.0


@contextmanager
def _undisturbed(priority: int) -> Iterator[None]:
    """On the tap's core, before other programs of the machine."""
    os.sched_setaffinity(0, {signalling.TAP_CORE})
    if priority:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(0, range(os.cpu_count() or 1))


class Size:
    """One table of targets, with its load."""

    def __init__(self, folder: Path, targets: int, wire: network.Wire) -> None:
        self._site = tap.site(wire.tap, wire.near)
        self._wire = wire
        self.targets = targets
        self.frames = folder / f"mix{targets}"
        self.count, self._matching = traffic.mix(
            self.frames, calls=CALLS, targets=targets, share=signalling.SHARE_OF_SUBJECTS
        )
        self.matcher = Matcher(self._site.iaps, self._site.dial_plan)
        tap.arm(self.matcher, targets)
        self._base = 0

    def fill(self) -> int:
        self._base += CALLS  # the calls that are up go on in the next fill
        sent = programs.run(
            "sender", namespace=self._wire.sender, interface=self._wire.far, file=self.frames, rate=FILL_PER_SECOND,
            count=self.count, core=signalling.SENDER_CORE, base=self._base,
        )  # fmt: skip
        return int(sent["sent"])

    def round(self, priority: int) -> list[float]:
        """Messages per second of each fill. Raises RuntimeError when one message is missing."""
        iap = self._site.iaps[0]
        described, socket, _filter = opener.open_tap(iap)
        rates = []
        with socket:
            walker = RingWalker(
                self.matcher, 0, iap.ports, socket.fileno(), described.frame_size, described.frame_count
            )
            for fill in range(1 + FILLS):
                sent = self.fill()
                matched = self.matcher.counters()
                with _undisturbed(priority):
                    start = time.perf_counter_ns()
                    drained = walker.drain(time.time_ns())
                    spent = time.perf_counter_ns() - start
                found = self.matcher.counters()
                self.matcher.take()
                if drained != sent or found["messages"] - matched["messages"] != sent:
                    raise RuntimeError(f"{sent} sent, {drained} drained")
                if fill and found["matched"] - matched["matched"] != self._matching:
                    raise RuntimeError(f"{found['matched'] - matched['matched']} of {self._matching} matched")
                if fill:
                    rates.append(sent * 1e9 / spent)
        return rates


def measure(chosen: argparse.Namespace) -> report.Result:
    programs.build()
    rounds = QUICK_ROUNDS if chosen.quick else FULL_ROUNDS
    with tempfile.TemporaryDirectory() as folder, network.wire() as wire:
        sizes = [Size(Path(folder), targets, wire) for targets in SIZES]
        rates: dict[int, list[float]] = {size.targets: [] for size in sizes}
        ratios = []
        for number in range(rounds):
            found = {size.targets: size.round(chosen.priority) for size in (sizes if number % 2 else sizes[::-1])}
            for targets, of_round in found.items():
                rates[targets] += of_round
            ratios.append(statistics.median(found[SIZES[0]]) / statistics.median(found[SIZES[-1]]))
            print({targets: round(statistics.median(all_of)) for targets, all_of in rates.items()}, file=sys.stderr)
        live = _live(wire, sizes[-1], chosen.priority)
    medians = {targets: statistics.median(found) for targets, found in rates.items()}
    return {
        "messages_per_second": {str(targets): round(rate) for targets, rate in medians.items()},
        "nanoseconds_per_message": {str(targets): round(1e9 / rate, 1) for targets, rate in medians.items()},
        "spread": {
            str(targets): [round(min(found)), round(max(found))] for targets, found in rates.items()
        },
        "growth": round(statistics.median(ratios), 3),
        "growth_of_medians": round(medians[SIZES[0]] / medians[SIZES[-1]], 3),
        "lost": live["lost"],
        "live": live,
        "fills_per_size": rounds * FILLS,
        "messages_per_fill": sizes[0].count,
        "realtime_priority": chosen.priority,
    }  # fmt: skip


def _live(wire: network.Wire, largest: Size, priority: int) -> report.Result:
    """Live traffic at the required rate against the largest table."""
    wire.steer(signalling.TAP_CORE)
    bench = signalling.Bench(wire, largest.frames, LIVE_S, priority)
    with bench.tap(largest.targets) as running:
        return {"targets": largest.targets, **bench.at_required(running, 1)}


if __name__ == "__main__":
    report.main("targets", (__doc__ or "").splitlines()[0], measure, signalling.options)
