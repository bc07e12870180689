"""Finds the highest rate at which nothing is lost: steps up, halves the interval, then must hold several times.

One trial at a rate is luck on a shared machine; the answer is a rate that held every time it was repeated.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from typing import NamedTuple

STEP = 1.4  # between the rates of the climb
CLOSE_ENOUGH = 1.05  # the interval that halving leaves
BACK_OFF = 0.94  # after a rate that did not hold again
SHORTFALL = 0.97  # a sender that reaches less of its rate is itself the limit


class Trial(NamedTuple):
    """One load: what the sender reached, and what of it was lost."""

    offered_per_second: float
    sent: int
    lost: int


class Found(NamedTuple):
    """The rate is the median of the repetitions, none of which lost anything.

    `sender_limited`: nothing was lost at the fastest that the sender can send, so the reader's own limit is higher.
    """

    offered_per_second: float
    sent: int
    lost: int
    trials: int
    sender_limited: bool
    lost_above: int  # lost in the trials of higher rates that did lose: proof that the limit was reached


def highest_without_loss(trial: Callable[[float], Trial], first: float, repeats: int, most: int = 24) -> Found:
    """`trial(rate)` runs one load. Raises RuntimeError when even a low rate loses."""
    held, failed = 0.0, 0.0
    lost_above = trials = 0
    ceiling: float | None = None

    def run(rate: float) -> Trial:
        nonlocal trials, lost_above
        trials += 1
        done = trial(rate)
        lost_above += done.lost
        print(f"  offered {done.offered_per_second:,.0f}/s: lost {done.lost} of {done.sent}", file=sys.stderr)
        return done

    rate = first
    while trials < most:
        done = run(rate)
        if done.lost:
            failed = rate
        else:
            held = max(held, min(rate, done.offered_per_second))
            if done.offered_per_second < SHORTFALL * rate:
                ceiling = done.offered_per_second
                break
        if not failed:
            rate *= STEP
        elif not held:
            rate /= STEP
        elif failed / held <= CLOSE_ENOUGH:
            break
        else:
            rate = (held + failed) / 2
    rate = held
    while rate and trials < 2 * most:
        confirmed = []
        for _ in range(repeats):
            confirmed.append(run(rate))
            if confirmed[-1].lost:
                break
        if not any(done.lost for done in confirmed):
            return Found(
                offered_per_second=statistics.median(done.offered_per_second for done in confirmed),
                sent=sum(done.sent for done in confirmed),
                lost=0,
                trials=trials,
                sender_limited=ceiling is not None,
                lost_above=lost_above,
            )
        rate *= BACK_OFF
        ceiling = None
    raise RuntimeError("something is lost at any rate")
