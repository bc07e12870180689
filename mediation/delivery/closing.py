"""The ends of content channels: what of a call is on its way is delivered before the agency reads that it is over.

Call-identifying information and content come by two sockets, and the access point goes on for TAIL_NS after the call's
last message. So a call's CCClose, and whatever is said of that call after it, wait until its content is through, or
for LIMIT_NS at most: what comes later still is delivered too, and counted as late. A whole call that came in one read
of X2 is opened, delivered and closed in that order (T1.678 CCOpen and CCClose; 47 CFR 1.20007(a)(2)).

A channel closes at once, and only what was captured until then belongs to it, when its call goes on (the keys are not
known) or the others may go on without the subject, who left a conference or moved the call to somebody else (47 CFR
1.20007(a)(3): while its facility has a connection). Other calls never wait.

A process that is killed meanwhile leaves the end unsaid: `on_said` is told of each that was said, so that the next
process, which plays the call again (`replay`), says what is left.

May not: keep anything of a task that has ended.

Times are nanoseconds of the clock that the packets are stamped with.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, Protocol

import msgspec

from mediation.core.channel.content import Verb
from mediation.core.message import cdc
from mediation.core.message.ccc import CCClose
from mediation.delivery.content import Bound
from mediation.delivery.tracker import Outgoing

TAIL_NS: Final = 100_000_000  # CONTENT_TAIL_MS of the access function (ext/dialog.pxd)
TRANSIT_NS: Final = 20_000_000  # from the ring to this process, on a busy machine
LIMIT_NS: Final = 1_000_000_000  # an eighth of the 8 s of 1.20007(a)(14)
AGAIN_NS: Final = 5_000_000
MAX_CLOSING: Final = 4_096  # calls; beyond them the one that waited longest goes first

Place = tuple[bytes, str, str]  # XID, access point, call


class Content(Protocol):
    """What is asked of the content's side (delivery/content.py)."""

    def ending(self, bound: Bound, last_ns: int) -> None: ...
    def apply(self, bounds: Iterable[Bound]) -> None: ...
    def catch_up(self) -> bool: ...
    def settled(self, bound: Bound) -> bool: ...


class _Step:
    """One CCClose, and what comes after it of the same call."""

    def __init__(self, bound: Bound) -> None:
        self.bound = bound
        self.messages: list[Outgoing] = []
        self.after: list[Bound] = []
        self.over = False  # the call is, for everybody
        self.due_ns = self.limit_ns = 0

    @property
    def last_ns(self) -> int:
        """The stamp of the last packet that can be the call's."""
        return self.bound.binding.at_ns + (TAIL_NS if self.over else 0)


class Gone(NamedTuple):
    """What may go now: messages first, then what the content channels do."""

    messages: list[Outgoing]
    bounds: list[Bound]


class Closings:
    """The calls whose content is being closed."""

    def __init__(self, content: Content, on_said: Callable[[Place], None] = lambda place: None) -> None:
        self.unsettled = 0  # closes that were told of while content of the call was still on its way
        self._content = content
        self._on_said = on_said  # what waited for one close of this call's channel is handed on now
        self._calls: dict[Place, deque[_Step]] = {}
        self._next: list[_Step] = []  # whose turn has come, and whose content has not been told so

    def __len__(self) -> int:
        return len(self._calls)

    def sort(self, outgoing: list[Outgoing], bounds: list[Bound], now_ns: int) -> Gone:
        """What of this moment need not wait; the rest is kept."""
        if not self._calls and not any(each.binding.verb is Verb.CLOSE for each in bounds):
            return Gone(outgoing, bounds)
        gone = Gone([], [])
        fresh: dict[Place, deque[_Step]] = {}
        made: list[_Step] = []
        for bound in bounds:
            place = (bound.task.xid, bound.iap, bound.binding.call)
            if bound.binding.verb is Verb.CLOSE and bound.binding.call:
                made.append(_Step(bound))
                fresh.setdefault(place, deque()).append(made[-1])
            else:
                steps = fresh.get(place) or self._calls.get(place)
                (steps[-1].after if steps else gone.bounds).append(bound)
        for one in outgoing:
            self._place(one, fresh, gone.messages)
        for place, steps in fresh.items():  # no message tells of these
            for step in steps:
                self._add(place, step)
        for step in made:
            step.due_ns = now_ns + (TAIL_NS + TRANSIT_NS if step.over else 0)
            step.limit_ns = now_ns + LIMIT_NS
        return gone

    def _add(self, place: Place, step: _Step) -> None:
        steps = self._calls.setdefault(place, deque())
        if not steps:
            self._next.append(step)
        steps.append(step)

    def _place(self, one: Outgoing, fresh: dict[Place, deque[_Step]], now: list[Outgoing]) -> None:
        """A message to those that may go, or to the step of its call that it belongs to."""
        for place in _places(one):
            if place in fresh and isinstance(one.about, CCClose | cdc.Release):
                self._add(place, fresh[place].popleft())
                if not fresh[place]:
                    del fresh[place]
            steps = self._calls.get(place)
            if steps:
                steps[-1].messages.append(one)
                if isinstance(one.about, cdc.Release) and one.about.call_id.leg is None:
                    steps[-1].over = not steps[-1].bound.binding.apart
                return
        now.append(one)

    def replay(self, outgoing: list[Outgoing], bounds: list[Bound], now_ns: int) -> list[Bound]:
        """As `sort`, of a moment of an earlier process: what need not wait it has said, and its bounds are left. What
        waits does so here until `said`, or is said in its turn."""
        return self.sort(outgoing, bounds, now_ns).bounds

    def said(self, place: Place) -> list[Bound]:
        """The earlier process has said the end of this call that waits longest: its bounds."""
        steps = self._calls.get(place)
        if not steps:
            return []
        step = steps.popleft()
        if not steps:
            del self._calls[place]
        if step in self._next:
            self._next.remove(step)
            self._next += list(steps)[:1]
        return [step.bound, *step.after]

    def take(self, now_ns: int) -> Gone | None:
        """The next that may go, when all before is gone; None: nothing more for now."""
        for step in self._next:  # from here on the stamps decide what belongs to these calls
            self._content.ending(step.bound, step.last_ns)
        self._next.clear()
        crowded = len(self._calls) > MAX_CLOSING
        due = [place for place, steps in self._calls.items() if steps[0].due_ns <= now_ns or crowded]
        caught_up = bool(due) and self._content.catch_up()
        for place in due:
            if place not in self._calls:  # a link that failed while it caught up had its say first
                continue
            step = self._calls[place][0]
            settled = caught_up and self._content.settled(step.bound)
            if settled or now_ns >= step.limit_ns or crowded:
                self.unsettled += not settled
                return self._gone(place)
            step.due_ns = now_ns + AGAIN_NS
        return None

    def _gone(self, place: Place) -> Gone:
        step = self._calls[place].popleft()
        if self._calls[place]:
            self._next.append(self._calls[place][0])
        else:
            del self._calls[place]
        if step.messages:
            self._on_said(place)
        closed = msgspec.structs.replace(step.bound.binding, at_ns=step.last_ns)
        return Gone(step.messages, [step.bound._replace(binding=closed), *step.after])

    def end(self, xid: bytes | None = None) -> list[Outgoing]:
        """The task is over, or (None) all are: its messages, and nothing is kept of it."""
        found: list[Outgoing] = []
        for place in [each for each in self._calls if xid is None or each[0] == xid]:
            for step in self._calls.pop(place):
                found += step.messages
                if step.messages:
                    self._on_said(place)
        self._next = [step for step in self._next if xid is not None and step.bound.task.xid != xid]
        return found

    def next_ns(self) -> int | None:
        """When `take` is wanted."""
        return min((steps[0].due_ns for steps in self._calls.values()), default=None)


def _places(one: Outgoing) -> list[Place]:
    """The calls that a message names."""
    about = one.about
    if about is None:
        return []
    call = getattr(about, "call_id", None)
    names = [call] if call is not None else getattr(about, "call_ids", ())
    return [(one.task.xid, about.iap_system_id or "", each.main) for each in names]
