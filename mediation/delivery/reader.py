"""Reads a spool in order, from any position: what a link sends after a reconnection or a stall.

What cannot be read any more becomes a Loss of exactly its numbers, so the far side never sees a gap without its reason
(SEC-9). `request` and `take` are quick and belong to the link's thread; `Request.load` touches the disk and may go to
another thread.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from mediation.core.interface import record
from mediation.core.interface.link import Epoch, Loss, LossClass, Position, Sent
from mediation.delivery.segment import Segment, first_number, last_number
from mediation.delivery.spool import Spool

CHUNK_OCTETS: Final = 64 << 10  # some 200 messages: 1.5 ms of this thread, in which other links wait


class Request(NamedTuple):
    """A piece of a segment to read, as the segment stood when it was made."""

    segment: Segment
    offset: int
    size: int
    first: int  # number of the record at `offset`
    next: int  # number after the segment's last record
    whole: bool  # the piece reaches the segment's end

    def load(self) -> bytes:
        """pread64. Raises OSError."""
        return self.segment.read(self.offset, self.size)


class Reader:
    def __init__(self, spool: Spool, position: Position) -> None:
        self.position = position  # of the next event that `take` will give
        self._spool = spool
        self._segment: Segment | None = None
        self._offset = 0
        self._first = 0  # number of the record at `_offset` of `_segment`
        self._chunk = CHUNK_OCTETS

    def request(self) -> Request | None:
        """What to read next; None at the end of the spool."""
        segment = self._spool.segment_at(self.position)
        if segment is None:
            return None
        if segment is not self._segment or not segment.start.sequence <= self._first <= self.position.sequence:
            self._segment, self._offset = segment, record.SEGMENT_HEADER_OCTETS
            self._first = segment.start.sequence
        left = segment.end - self._offset
        size = min(self._chunk, left)
        return Request(segment, self._offset, size, self._first, segment.next, size == left)

    def take(self, request: Request, octets: bytes) -> list[Sent | Epoch]:
        """The events in what `request` loaded, none before the position. May be empty: ask again."""
        start = request.segment.start
        events: list[Sent | Epoch] = []
        if self.position.epoch < start.epoch:
            events.append(Epoch(start))
            self.position = start
        elif self.position.sequence < start.sequence:
            events.append(Loss(self.position.sequence, start.sequence - 1, LossClass.RELEASED))
            self.position = start
        scanned = record.scan(octets, self._spool.seals(start.epoch), request.first)
        found = scanned.events
        if not found and request.whole:
            # Records were here and nothing of them is left.
            found = [Loss(request.first, request.next - 1, LossClass.CORRUPT)]
            self._offset = request.segment.end
        else:
            self._offset = request.offset + scanned.end
        self._chunk = CHUNK_OCTETS if found else request.segment.size
        for event in found:
            if isinstance(event, Loss) and event.loss_class is LossClass.CORRUPT:
                self._spool.damaged(event)
        if found:
            self._first = last_number(found[-1]) + 1
        for event in found:
            if last_number(event) < self.position.sequence:
                continue
            if isinstance(event, Loss) and event.first < self.position.sequence:
                event = Loss(self.position.sequence, event.last, event.loss_class)  # noqa: PLW2901
            events.append(event)
        self.position = Position(start.epoch, max(self.position.sequence, self._first))
        return events

    def passed(self, events: list[Sent]) -> None:
        """`events`, the newest that the spool stored, went out by a shorter way: go on behind them."""
        self.position = Position(self.position.epoch, last_number(events[-1]) + 1)
        self._segment = self._spool.current
        self._offset = self._segment.end if self._segment else 0
        self._first = self.position.sequence

    def is_at(self, events: list[Sent]) -> bool:
        """Whether `events`, just appended in the spool's epoch, come next."""
        return self.position == (self._spool.position.epoch, first_number(events[0]))
