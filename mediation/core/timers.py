"""Deadlines of many things at once, cheap to postpone: one queue, no clock.

Answers for finding what is due; the time is an argument. Postponing costs nothing: an entry that comes up too early is
put back when it does, so a call whose limit every message renews has one entry, not one for each message.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from typing import Final, Generic, Protocol, TypeVar

SLACK: Final = 64  # stale entries are swept out when they outnumber the live ones by this; ours


class Armed(Protocol):
    armed_ns: int | None  # the queue's own mark: the earliest entry of this thing


ThingT = TypeVar("ThingT", bound=Armed)


class Timers(Generic[ThingT]):
    """`deadline` tells when a thing is due (UTC nanoseconds), or None for never."""

    def __init__(self, deadline: Callable[[ThingT], int | None]) -> None:
        self._deadline = deadline
        self._order = itertools.count()
        self._queue: list[tuple[int, int, ThingT]] = []
        self._live = 0

    def arm(self, thing: ThingT) -> None:
        """To be called whenever the deadline of `thing` may have come nearer."""
        due = self._deadline(thing)
        if due is None or (thing.armed_ns is not None and thing.armed_ns <= due):
            return
        self._live += thing.armed_ns is None
        thing.armed_ns = due
        heapq.heappush(self._queue, (due, next(self._order), thing))
        if len(self._queue) > 2 * self._live + SLACK:
            self._queue = [each for each in self._queue if each[2].armed_ns == each[0]]
            heapq.heapify(self._queue)

    def disarm(self, thing: ThingT) -> None:
        """The thing is gone."""
        self._live -= thing.armed_ns is not None
        thing.armed_ns = None

    def due(self, now_ns: int) -> Iterator[ThingT]:
        """Each thing whose deadline has passed, earliest first; the caller deals with it, then arms it again."""
        while self._queue and self._queue[0][0] <= now_ns:
            at, _, thing = heapq.heappop(self._queue)
            if thing.armed_ns != at:
                continue  # armed earlier meanwhile, or gone
            self.disarm(thing)
            due = self._deadline(thing)
            if due is not None and due > now_ns:
                self.arm(thing)
            elif due is not None:
                yield thing

    def next_ns(self) -> int | None:
        """When to ask again: at the latest then something may be due."""
        while self._queue and self._queue[0][2].armed_ns != self._queue[0][0]:
            heapq.heappop(self._queue)
        return self._queue[0][0] if self._queue else None
