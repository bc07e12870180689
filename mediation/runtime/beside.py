"""A thread beside trio's, for what needs no interpreter: the mathematics of signatures (core/authority/ahead.py).

Made once and kept, because a sealed process can start none (runtime/confine.py). Answers for one job after the other,
in the order in which they were asked for. May not: touch what the trio thread uses; a job has what it needs.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress

import trio

SWITCH_S = 0.0001  # sys.setswitchinterval: the thread asks for the interpreter twice for some hundred signatures, 6 ms

_Job = tuple[Callable[[], None], Callable[[], None]]


class Beside:
    """`start` before the process is sealed."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Nothing when it was started before."""
        if not self._thread.is_alive():
            self._thread.start()

    def do(self, job: Callable[[], None]) -> trio.Event:
        """Set when the job is over, done or not: what waits behind it may be a stop. From a trio task."""
        done, token = trio.Event(), trio.lowlevel.current_trio_token()
        self._jobs.put((job, lambda: token.run_sync_soon(done.set)))
        return done

    def _run(self) -> None:
        while True:
            job, answer = self._jobs.get()
            with suppress(Exception):  # no memory: what was not done ahead is done when it is needed
                job()
            del job  # what it was made of
            try:
                answer()
            except trio.RunFinishedError:
                return
