"""A clock that a disk does not take ends no process: stops are heard, and what runs goes on and ends in its time."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from mediation.access.iap import AccessFunction
from mediation.administration.control import Administrator
from mediation.runtime import log

NOW_NS = 1_800_000_000_000_000_000
TURNS = 3


class Refused:
    """A clock that cannot be saved; `turns` counts the attempts."""

    def __init__(self) -> None:
        self.turns = 0

    def now_ns(self) -> int:
        return NOW_NS

    def save(self) -> None:
        self.turns += 1
        raise OSError(28, "No space left on device")


def administrator(clock: Refused) -> Any:
    made: Any = Administrator.__new__(Administrator)
    made._clock = clock
    made._orders = SimpleNamespace(advance=lambda _: None, next_moment_s=lambda: None)
    made._tasking = SimpleNamespace(disputes=SimpleNamespace(announce=lambda _: None))
    return made._keep_time


def access(clock: Refused) -> Any:
    made: Any = AccessFunction.__new__(AccessFunction)
    made.clock, made._log, made.reader = clock, log.get("iap"), nullcontext()
    made.calls = SimpleNamespace(tidy=lambda _: None)
    made.tasking = SimpleNamespace(expire=lambda _: 0, table=SimpleNamespace(next_end_ns=lambda: None))
    made.measure_clock = made._say_losses = lambda: None
    return made._tick


@pytest.mark.parametrize("made", [administrator, access], ids=["administrator", "access"])
async def test_it_goes_on(made: Any, autojump_clock: trio.testing.MockClock) -> None:
    clock = Refused()
    with trio.move_on_after(TURNS + 0.5) as ended:
        await made(clock)()
    assert ended.cancelled_caught and clock.turns > TURNS
