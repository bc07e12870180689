"""The one plain thread of a spool: makes durable what was appended, saves the cursor, wipes, keeps a spare ready.

Group commit: one fdatasync(2) covers whatever was appended before it began, never one a record. The thread runs beside
the sending, not before it (spool.py says why that is safe and what it gains); nothing waits for it. It gathers for
GATHER_S first: what the far side has acknowledged by then needs no sync, and each turn of the thread takes the
interpreter and a core from the next event.

A failed fdatasync leaves pages clean in memory that may not be on the disk, so the thread keeps every octet until it
is durable or acknowledged, writes it again and tries again. What it keeps is bounded by MAX_UNSYNCED_OCTETS: beyond
that the spool refuses messages, which is a loss and is reported.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections import deque
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from mediation.core.interface.link import Position
from mediation.delivery import segment as segments
from mediation.delivery.cursor import Cursor, State
from mediation.delivery.segment import Segment
from mediation.runtime import durable

MAX_UNSYNCED_OCTETS: Final = 32 << 20  # about 100,000 messages; a device that lags further has failed
GATHER_S: Final = 0.002
RETRY_S: Final = 0.25  # after a failed write or sync, and while the disk has no room for a spare


class CommitCounters(msgspec.Struct):
    commits: int = 0
    failed_commits: int = 0
    slowest_commit_ns: int = 0
    cursor_saves: int = 0
    failed_cursor_saves: int = 0
    wiped: int = 0
    failed_wipes: int = 0
    failed_spares: int = 0  # the disk had no room for the next segment


class _Entry(NamedTuple):
    position: Position  # of the last record in it
    segment: Segment
    at: int
    octets: bytes


class Committer:
    """Owns the spares and everything on the way to the disk. Its methods are called from the thread of the spool."""

    def __init__(self, folder: Path, cursor: Cursor, segment_octets: int, key: bytes, *, spare_allowed: bool) -> None:
        """Starts the thread; `tried` is set when it has made the first segment, or could not. `key` is for segments."""
        self.counters = CommitCounters()
        self.unsynced_octets = 0
        self.failing = False
        self._folder = folder
        self._cursor = cursor
        self._segment_octets = segment_octets
        self._key = key
        self._lock = threading.Lock()
        self.tried = threading.Event()
        self._wake = os.eventfd(1, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._woken = True  # the thread has not looked since: another write would tell it nothing
        self._entries: deque[_Entry] = deque()
        self._released: list[Segment] = []
        self._state: State | None = None
        self._spare: Segment | None = None
        self._spare_allowed = spare_allowed
        self._stopping = False
        self._hurried = False
        self._idle = threading.Condition(self._lock)
        self._busy = False
        self._thread = threading.Thread(target=self._run, name="spool-commit", daemon=True)
        self._thread.start()

    # -- called by the spool ------------------------------------------------------------------------------------------

    def keep(self, position: Position, segment: Segment, at: int, octets: bytes) -> None:
        """`octets` stand in the page cache at `at`; they are held here until they are durable. Call `wake` after."""
        with self._lock:
            self._entries.append(_Entry(position, segment, at, octets))
            self.unsynced_octets += len(octets)

    def wake(self) -> None:
        if not self._woken:
            self._woken = True
            os.eventfd_write(self._wake, 1)

    @property
    def unsaved(self) -> bool:
        """The cursor in the file is behind; `wake` saves it."""
        return self._state is not None

    def save(self, state: State, released: list[Segment]) -> None:
        """The new cursor, and what it makes superfluous: what is acknowledged need not become durable any more.

        The cursor goes to the file with the next turn of the thread; an old one costs nothing but a question to the
        far side. A loss that stands nowhere else, and a segment to wipe, are a turn of their own.
        """
        with self._lock:
            while self._entries and self._entries[0].position < state.acknowledged:
                self.unsynced_octets -= len(self._entries.popleft().octets)
            self._state = state
            self._released += released
        if released or state.loss is not None:
            self.wake()

    def take_spare(self) -> Segment | None:
        """The prepared segment, if there is one; the thread makes the next."""
        with self._lock:
            spare, self._spare = self._spare, None
        return spare

    def allow_spare(self, allowed: bool) -> None:
        """Whether the bound of the spool leaves room for another segment."""
        with self._lock:
            self._spare_allowed = allowed

    def drain(self, timeout_s: float) -> bool:
        """Waits until everything asked for is done; False when it is not within the time. For tests and `close`."""
        deadline = time.monotonic() + timeout_s
        self._hurried = True
        self.wake()
        with self._lock:
            while self._busy or self._pending():
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    return False
                self._idle.wait(remaining)
        return True

    def close(self) -> None:
        """One last commit, then the end of the thread and of its files: the cursor, the spare, what was released."""
        with self._lock:
            self._stopping = self._hurried = True
        self.wake()
        self._thread.join()
        os.close(self._wake)
        self._cursor.close()
        for one in self._released:  # could not be wiped: the next process tries again
            one.close()
        if self._spare is not None:  # stays, so that no file less tells of a process that ended
            self._spare.close()

    # -- the thread ---------------------------------------------------------------------------------------------------

    def _pending(self) -> bool:
        return bool(self._entries or self._released or self._state) or (self._spare is None and self._spare_allowed)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        retry = False
        while True:
            poll.poll(RETRY_S * 1000 if retry else None)
            if not self._hurried:
                time.sleep(GATHER_S)
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._wake)
            self._woken = False  # before it looks: what is asked for from here on wakes it again
            with self._lock:
                self._busy = True
                self._hurried = False
                stopping = self._stopping
            # Messages first: the rest can wait for them, never they for the rest.
            retry = not self._commit()
            retry = not self._save() or retry
            retry = not self._wipe() or retry
            retry = (not stopping and not self._replenish()) or retry
            with self._lock:
                self._busy = False
                self._idle.notify_all()
            self.tried.set()
            if stopping:
                return

    def _commit(self) -> bool:
        with self._lock:
            entries = list(self._entries)
        if not entries:
            return True
        started = time.monotonic_ns()
        try:
            if self.failing:
                for entry in entries:
                    entry.segment.write(entry.octets, entry.at)
            for one in dict.fromkeys(entry.segment for entry in entries):
                one.sync()
        except OSError:
            self.failing = True
            self.counters.failed_commits += 1
            return False
        self.failing = False
        self.counters.commits += 1
        self.counters.slowest_commit_ns = max(self.counters.slowest_commit_ns, time.monotonic_ns() - started)
        last = entries[-1].position
        with self._lock:
            while self._entries and self._entries[0].position <= last:
                self.unsynced_octets -= len(self._entries.popleft().octets)
        return True

    def _save(self) -> bool:
        with self._lock:
            state, self._state = self._state, None
            releasing = bool(self._released)
        if state is None:
            return True
        try:
            self._cursor.save(state)
            if releasing:
                self._cursor.sync()
        except OSError:
            # An old cursor is no loss: the far side's WELCOME says what it has.
            self.counters.failed_cursor_saves += 1
            with self._lock:
                self._state = self._state or state
            return False
        self.counters.cursor_saves += 1
        return True

    def _wipe(self) -> bool:
        with self._lock:
            released = list(self._released)
        for one in released:
            try:
                segments.wipe(one)
            except OSError:
                self.counters.failed_wipes += 1
                return False
            try:
                os.fdatasync(one.descriptor)
                durable.sync_folder(self._folder)
            except OSError:
                # Used again all the same: a device that refuses to sync must not stop a delivery that needs none.
                self.counters.failed_wipes += 1
            with self._lock:
                self._released.remove(one)
                reuse = self._spare is None and one.octets == self._segment_octets
                if reuse:
                    self._spare = one
            if not reuse:
                one.close()
                one.path.unlink(missing_ok=True)
            self.counters.wiped += 1
        return True

    def _replenish(self) -> bool:
        with self._lock:
            wanted = self._spare is None and self._spare_allowed
        if not wanted:
            return True
        try:
            spare = segments.prepare_spare(self._folder, self._segment_octets, self._key)
        except OSError:
            self.counters.failed_spares += 1
            return False
        with self._lock:
            self._spare = spare
        return True
