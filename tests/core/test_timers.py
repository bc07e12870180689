"""Deadlines: due in order, postponed for nothing, never piling up."""

from __future__ import annotations

import dataclasses

from mediation.core.timers import SLACK, Timers


@dataclasses.dataclass(eq=False)
class Thing:
    due_ns: int | None
    armed_ns: int | None = None


def due(thing: Thing) -> int | None:
    return thing.due_ns


def test_due_in_order_and_only_once() -> None:
    timers = Timers(due)
    late, soon, never = Thing(20), Thing(10), Thing(None)
    for thing in (late, soon, never):
        timers.arm(thing)
    assert timers.next_ns() == 10
    assert list(timers.due(9)) == []
    assert list(timers.due(25)) == [soon, late]
    assert list(timers.due(99)) == []
    assert timers.next_ns() is None


def test_a_postponed_deadline_comes_at_its_new_time() -> None:
    timers = Timers(due)
    thing = Thing(10)
    timers.arm(thing)
    thing.due_ns = 30
    timers.arm(thing)
    assert list(timers.due(20)) == []
    assert timers.next_ns() == 30
    assert list(timers.due(30)) == [thing]


def test_a_nearer_deadline_comes_first_and_the_old_entry_is_void() -> None:
    timers = Timers(due)
    thing = Thing(30)
    timers.arm(thing)
    thing.due_ns = 10
    timers.arm(thing)
    assert list(timers.due(10)) == [thing]
    assert list(timers.due(50)) == []


def test_what_is_gone_is_never_due() -> None:
    timers = Timers(due)
    thing = Thing(10)
    timers.arm(thing)
    timers.disarm(thing)
    assert timers.next_ns() is None
    assert list(timers.due(50)) == []


def test_the_queue_stays_short() -> None:
    timers = Timers(due)
    things = [Thing(1_000_000) for _ in range(10)]
    for nearer in range(10_000):
        for thing in things:
            thing.due_ns = 1_000_000 - nearer
            timers.arm(thing)
    assert len(timers._queue) <= 2 * len(things) + SLACK
    assert list(timers.due(1_000_000)) == things
