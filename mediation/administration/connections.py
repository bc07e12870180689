"""The connections of a socket that several processes may use: a bounded number, and always room for one more.

Answers for no process keeping the others out by holding connections that it does not use: a stop must be heard whoever
else is there. Where one more comes than there may be, the one that has waited longest for its other side ends; what it
asked for before stands. It knows nothing of what is said.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio


class Connections:
    """At most `most` at a time; `ended` counts those that had to make room."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: dict[trio.CancelScope, None] = {}
        self._waiting: dict[trio.CancelScope, None] = {}  # those that wait for their other side, the longest first
        self.ended = 0

    def __len__(self) -> int:
        return len(self._open)

    @contextmanager
    def one(self) -> Iterator[trio.CancelScope]:
        """A new connection, for as long as it is served; it ends by its scope."""
        if len(self._open) >= self._most:
            longest = next(iter(self._waiting or self._open))
            self._leave(longest)
            self.ended += 1
            longest.cancel()
        with trio.CancelScope() as scope:
            self._open[scope] = None
            try:
                yield scope
            finally:
                self._leave(scope)

    @contextmanager
    def waiting(self, scope: trio.CancelScope) -> Iterator[None]:
        """Around what is for the other side to do: to ask, or to take its answer."""
        if scope in self._open:
            self._waiting[scope] = None
        try:
            yield
        finally:
            self._waiting.pop(scope, None)

    def _leave(self, scope: trio.CancelScope) -> None:
        self._open.pop(scope, None)
        self._waiting.pop(scope, None)
