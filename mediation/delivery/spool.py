"""The durable spool of one delivery link: every message is in it before it is sent, until the far side has it.

Order of things, and why it is safe (47 USC 1002(a), SEC-9):
 1. `append` writes the batch into the page cache with one pwrite(2). From here no crash of this process loses it.
 2. The caller sends it.
 3. `commit` wakes the thread that makes it durable (committer.py): one fdatasync(2) for all that was appended.
Sending does not wait for the device. Waiting costs 140 to 200 µs a batch at the median (inline or through a thread)
against 13 µs for the write alone; from X2 to the collection function, 1,000 events a second on two busy cores, p50 426
and p99 1114 µs became 674 and 11160. And it would protect nothing more: a message that was already sent survives a
power failure more often, not less, than one that still waits for the device. What a power failure can take is what
was neither acknowledged nor synced, some 2 ms of it. The one danger of sending first is that it makes us forget numbers
that the far side has seen. Therefore each opening begins a new epoch, durable before its first message; within an
epoch a number is never used twice, and the far side's position decides where the older epoch ended
(core/interface/link.py).

Accounting, which tests hold: received + recovered == acknowledged + queued. Every message takes a number; one that
cannot be kept takes it into a Loss that goes to the far side in its place, so that received == delivered + reported
lost once the queue is empty. A loss that cannot be recorded yet stands in the cursor, which needs no room on the disk.

Every record is sealed (core/interface/record.py, runtime/vault.py), and the files are chance from one end to the other
(segment.py, cursor.py): a stolen disk tells how many segments a link has, two unless more waits, and when they were
written. Measured: 6 µs a message for the seals on the loaded machine of bench/results, 0.5 µs an append for the rest.

Trust: whoever may write in this folder can hide undelivered messages of its agency, and bring back ones of the same
epoch that the far side has and drops; without the mediator's key he can make and change none. He gains no destination,
no order and no other agency.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from mediation.core.interface import record
from mediation.core.interface.link import MAX_MESSAGE_OCTETS, Data, Loss, LossClass, Position, Sent
from mediation.core.ledger.sealing import Namer
from mediation.delivery import segment as segments
from mediation.delivery.committer import MAX_UNSYNCED_OCTETS, CommitCounters, Committer
from mediation.delivery.cursor import Cursor, State
from mediation.delivery.segment import Segment, first_number, last_number
from mediation.runtime import durable

SEGMENT_OCTETS: Final = 4 << 20  # 13,000 messages: a roll every 13 s at 1,000 a second
MIN_SEGMENT_OCTETS: Final = 512 << 10  # holds the longest record
MIN_SEGMENTS: Final = 2  # one to write, one to wipe
OPENING_LIMIT_S: Final = 5.0  # a disk that needs longer for the first segment is treated as full until it is there
FIRST: Final = 1  # the first number of a link
CURSOR, SEGMENTS = "cursor", b"segments"  # the file; what the segments' key is derived under
MAX_U32: Final = (1 << 32) - 1


class Message(msgspec.Struct, frozen=True):
    """What is to be delivered. `octets` None: it could not be encoded and is lost, but keeps its number."""

    received_ns: int
    error_us: int
    disciplined: bool
    octets: bytes | None


class SpoolCounters(msgspec.Struct):
    """Of this process. `lost` is by class; `recovered` were found at the opening."""

    received: int = 0
    recovered: int = 0
    acknowledged: int = 0
    damaged: int = 0
    torn: int = 0
    improvised: int = 0  # segments that were not pre-written
    lost: dict[LossClass, int] = msgspec.field(default_factory=lambda: dict.fromkeys(LossClass, 0))


def octets_of_segments(bound_octets: int, segment_octets: int = SEGMENT_OCTETS) -> int:
    """The size of each segment of a spool with this bound."""
    return max(MIN_SEGMENT_OCTETS, min(segment_octets, bound_octets // 8))


class Spool:
    """See the head of this file. All methods are for one thread."""

    def __init__(
        self, folder: Path, box: Namer, *, now_s: int, bound_octets: int, segment_octets: int = SEGMENT_OCTETS
    ) -> None:
        """Opens `folder`, takes over what an earlier process left, begins a new epoch. Blocks for some 20 ms.

        `box` is the vault's for spools; the folder's name is the place of its records. `bound_octets` is the
        most that its segments may occupy, besides one spare. Raises ConfigurationError when another process holds the
        spool, OSError when the folder cannot be used; a full disk is no error here but a counted loss.
        """
        self.folder = folder
        self.counters = SpoolCounters()
        self._box = box
        self._forms: dict[int, record.Seals] = {}
        self._key = box.derived(SEGMENTS)
        self._segment_octets = octets_of_segments(bound_octets, segment_octets)
        self._max_segments = max(MIN_SEGMENTS, bound_octets // self._segment_octets)
        durable.make_folder(folder)
        cursor = Cursor(folder / CURSOR, box)
        self._segments, lost = segments.find(folder, self._key, self.seals)
        self._current: Segment | None = None
        self._known_damage: set[int] = set()
        self.counters.damaged = lost + sum(one.damaged for one in self._segments)
        self.counters.torn = sum(one.torn for one in self._segments)
        state = cursor.state
        sequence = self._segments[-1].next if self._segments else state.acknowledged.sequence if state else FIRST
        self.open_loss = state.loss if state and state.loss and state.loss.first >= sequence else None
        before = max(self._segments[-1].start.epoch if self._segments else 0, state.epoch if state else 0)
        # Seconds since 1970, so that a spool brought back from a copy does not repeat an epoch either.
        self._start = Position(max(before + 1, now_s), self.open_loss.first if self.open_loss else sequence)
        self.position = Position(self._start.epoch, self.open_loss.last + 1 if self.open_loss else sequence)
        self.acknowledged = self._normal(state.acknowledged if state else Position(0, 0))
        self.counters.recovered = self._between(self.acknowledged, self.stored_end) + self._open_count
        cursor.save(State(self.acknowledged, self._start.epoch, self.open_loss))
        cursor.sync()
        allowed = len(self._segments) < self._max_segments
        self._committer = Committer(folder, cursor, self._segment_octets, self._key, spare_allowed=allowed)
        self._committer.tried.wait(OPENING_LIMIT_S)
        self._begin()
        self._release()

    @property
    def stored_end(self) -> Position:
        """The position after the last record that may be sent."""
        return Position(self.position.epoch, self.open_loss.first) if self.open_loss else self.position

    @property
    def current(self) -> Segment | None:
        """The segment that is written to; its `end` is where the record of `stored_end` will go."""
        return self._current

    @property
    def queued(self) -> int:
        """Numbers that the far side has not acknowledged."""
        return self.counters.received + self.counters.recovered - self.counters.acknowledged

    @property
    def commit_counters(self) -> CommitCounters:
        return self._committer.counters

    @property
    def failing(self) -> bool:
        """The device refuses: what is not acknowledged would not survive a power failure."""
        return self._committer.failing

    # -- in -----------------------------------------------------------------------------------------------------------

    def append(self, messages: list[Message]) -> list[Sent]:
        """Numbers the messages and stores them; the events that may be sent now, in order. Raises nothing for a disk.

        Call `commit` when the events are on their way.
        """
        events: list[Sent] = []
        epoch, sequence = self.position
        for message in messages:
            octets = message.octets
            if octets is None or len(octets) > MAX_MESSAGE_OCTETS:
                events.append(Loss(sequence, sequence, LossClass.UNENCODABLE))
                self.counters.lost[LossClass.UNENCODABLE] += 1
            else:
                error_us = min(message.error_us, MAX_U32)
                events.append(Data(sequence, message.received_ns, error_us, message.disciplined, octets))
            sequence += 1
        self.counters.received += len(messages)
        self.position = Position(epoch, sequence)
        return self._store(events)

    def settle(self) -> list[Sent]:
        """Records the open loss if there is room now; what may be sent for it."""
        return self._store([]) if self.open_loss else []

    def damaged(self, loss: Loss) -> None:
        """A reader found that the records of these numbers no longer pass their check; counted once."""
        if loss.first not in self._known_damage:
            self._known_damage.add(loss.first)
            self.counters.damaged += 1
            self.counters.lost[LossClass.CORRUPT] += loss.count

    def commit(self) -> None:
        """Starts to make durable what was appended; returns at once."""
        self._committer.wake()

    def tick(self) -> None:
        """From time to time: brings the cursor in the file up to date when nothing else does."""
        if self._committer.unsaved:
            self._committer.wake()

    def drain(self, timeout_s: float) -> bool:
        """Blocks until all is durable and saved; False when the time is over first."""
        return self._committer.drain(timeout_s)

    def close(self) -> None:
        """Blocks for one last commit. What is not acknowledged stays for the next process."""
        self._committer.close()
        for one in self._segments:
            one.close()
        self._segments.clear()
        self._current = None

    # -- out ----------------------------------------------------------------------------------------------------------

    def extents(self) -> dict[int, int]:
        """Epoch -> number after the last record, of all that the far side may still speak of."""
        found = {one.start.epoch: one.next for one in self._segments}
        found.setdefault(self.acknowledged.epoch, self.acknowledged.sequence)
        found[self.position.epoch] = self.stored_end.sequence
        return found

    def segment_at(self, position: Position) -> Segment | None:
        """The segment that holds `position` or, when it is gone, the next one after it."""
        for one in self._segments:
            if one.next > one.start.sequence and Position(one.start.epoch, one.next) > position:
                return one
        return None

    def acknowledge(self, position: Position) -> None:
        """The far side has all before `position`: it is released, wiped by the thread, and the cursor is saved."""
        if position <= self.acknowledged:
            return
        self.counters.acknowledged += self._between(self.acknowledged, position)
        self.acknowledged = self._normal(position)
        self._release()

    def seals(self, epoch: int) -> record.Seals:
        """The form of the records of one epoch."""
        form = self._forms.get(epoch)
        if form is None:
            form = self._forms[epoch] = record.Seals(self._box, self.folder.name.encode(), epoch)
        return form

    # -- inside -------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """The first segment is there before the first message: a link that was never used looks like any other."""
        if self.open_loss is None and (spare := self._committer.take_spare()) is not None:
            try:
                self._current = segments.place(spare, self.position)
            except OSError:
                spare.close()
                spare.path.unlink(missing_ok=True)
                return
            self._segments.append(self._current)
            self._committer.wake()  # another spare

    @property
    def _open_count(self) -> int:
        return self.open_loss.count if self.open_loss else 0

    def _store(self, events: list[Sent]) -> list[Sent]:
        """Records `events`, after the open loss if there is one, and returns what it recorded; the rest is lost."""
        epoch = self.position.epoch
        if self.open_loss:
            events = [self.open_loss, *events]
        encode = self.seals(epoch).encode
        records = [encode(event) for event in events]
        done = 0
        while done < len(events):
            # A loss is recorded together with the message that ended it, or not yet: else each lost message would
            # have a record of its own.
            needed = sum(map(len, records[:2])) if done == 0 and self.open_loss else len(records[done])
            reason = self._make_room(needed, first_number(events[done]))
            if reason is not None:
                break
            assert self._current is not None
            fitting, octets = self._fitting(records, done)
            last = last_number(events[fitting - 1])
            try:
                at = self._current.append(octets, last + 1)
            except OSError:
                reason = LossClass.STORAGE
                break
            self._committer.keep(Position(epoch, last), self._current, at, octets)
            done = fitting
        if done == len(events):
            was_open, self.open_loss = self.open_loss, None
        else:
            assert reason is not None
            was_open = self.open_loss
            self._lose(events[done:], reason)
        if was_open is not self.open_loss:
            self._save([])
        return events[:done]

    def _fitting(self, records: list[bytes], done: int) -> tuple[int, bytes]:
        """As many records from `done` on as the current segment has room for: where they end, and their octets."""
        assert self._current is not None
        room = self._current.room
        end = done
        while end < len(records) and len(records[end]) <= room:
            room -= len(records[end])
            end += 1
        return end, b"".join(records[done:end])

    def _make_room(self, octets: int, first: int) -> LossClass | None:
        """Sees to it that the current segment has room; the reason when it cannot."""
        if self._committer.unsynced_octets > MAX_UNSYNCED_OCTETS:
            return LossClass.STORAGE
        if self._current is not None and self._current.room >= octets:
            return None
        following = self._next_segment(Position(self.position.epoch, first))
        if following is not None:
            self._current = following
            self._segments.append(following)
        self._release()
        if following is not None:
            return None
        return LossClass.SPOOL_FULL if len(self._segments) >= self._max_segments else LossClass.STORAGE

    def _next_segment(self, start: Position) -> Segment | None:
        """A spare, or one made in haste, or the current one if nothing in it is needed any more; None: no room."""
        spare = None
        try:
            if len(self._segments) < self._max_segments:
                spare = self._committer.take_spare()
                if spare is not None:
                    return segments.place(spare, start)
                made = segments.improvise(self.folder, start, self._segment_octets, self._key)
                self.counters.improvised += 1
                return made
        except OSError:  # the disk is full, or refuses
            if spare is not None:
                spare.close()
                spare.path.unlink(missing_ok=True)
        current = self._current
        # A failing thread may still write what it holds into its old place.
        if current is None or self.acknowledged < self._end_of(current) or self._committer.failing:
            return None
        self._segments.remove(current)
        self._current = None
        try:
            segments.wipe(current)
            return segments.place(current, start, named=False)
        except OSError:
            self._save([current])  # the thread tries again
            return None

    def _lose(self, events: list[Sent], reason: LossClass) -> None:
        """`events` find no room: their numbers join the open loss, under the class that it began with."""
        last = last_number(events[-1])
        if events[0] is self.open_loss:
            self.open_loss = Loss(self.open_loss.first, last, self.open_loss.loss_class)
        else:
            self.open_loss = Loss(first_number(events[0]), last, reason)
        self.counters.lost[self.open_loss.loss_class] += sum(type(event) is Data for event in events)

    def _release(self) -> None:
        """Hands to the thread what the far side has, and says whether another spare fits under the bound."""
        done = [one for one in self._segments if one is not self._current and self.acknowledged >= self._end_of(one)]
        self._segments = [one for one in self._segments if one not in done]
        self._save(done)

    def _save(self, released: list[Segment]) -> None:
        self._committer.allow_spare(len(self._segments) < self._max_segments)
        self._committer.save(State(self.acknowledged, self.position.epoch, self.open_loss), released)

    @staticmethod
    def _end_of(segment: Segment) -> Position:
        return Position(segment.start.epoch, segment.next)

    def _normal(self, position: Position) -> Position:
        """The first number from `position` on that is kept, or the one that comes next."""
        kept = self.segment_at(position)
        return max(position, kept.start if kept else self._start)

    def _between(self, first: Position, end: Position) -> int:
        """How many kept numbers lie from `first` up to `end`."""
        total = 0
        for one in self._segments:
            low, high = max(first, one.start), min(end, self._end_of(one))
            if low < high:
                total += high.sequence - (low.sequence if low.epoch == high.epoch else one.start.sequence)
        return total
