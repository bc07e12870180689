"""A real peer as a process in a namespace: started, awaited by an event, ended by its id whatever happened.

Readiness is a line of output or a port that answers, never a time that passed. A peer that does not come up says what
it printed.
"""

from __future__ import annotations

import select
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from mediation.cli.demo.network import inside
from mediation.core.errors import MediationError
from tests.rig.wire import datagram_socket

READY_LIMIT_S = 30.0
STOP_LIMIT_S = 3.0
ASK_AGAIN_S = 0.02
LINES_KEPT = 4000


class PeerError(MediationError):
    """A peer of the rig did not start or did not do what it was told; the text is its own complaint."""


def readable(descriptor: int, limit_s: float) -> bool:
    """Waits for something to read; select(2) knows a thousand descriptors, and a long run of tests has more."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(1000 * limit_s))


class Output:
    """The lines that a peer printed; may be awaited. Bounded: only the last `LINES_KEPT` are kept."""

    def __init__(self, stream: object) -> None:
        self._stream, self._changed = stream, threading.Condition()
        self._lines: list[str] = []
        self._first = 0  # number of the first line that is kept
        self._ended = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for raw in self._stream:  # type: ignore[attr-defined]
            with self._changed:
                self._lines.append(raw.decode(errors="replace").rstrip())
                if len(self._lines) > LINES_KEPT:
                    self._first += 1
                    del self._lines[0]
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def mark(self) -> int:
        """A position: what comes after it is new."""
        with self._changed:
            return self._first + len(self._lines)

    def wait(self, wanted: Callable[[str], bool], limit: float = READY_LIMIT_S, *, since: int = 0) -> str | None:
        """The first line from `since` on that is wanted, None when the time is up or the peer has ended."""
        end = time.monotonic() + limit
        with self._changed:
            while True:
                for line in self._lines[max(since - self._first, 0) :]:
                    if wanted(line):
                        return line
                since = self._first + len(self._lines)
                left = end - time.monotonic()
                if left <= 0 or self._ended:
                    return None
                self._changed.wait(left)

    def tail(self, count: int = 12) -> str:
        with self._changed:
            return " | ".join(self._lines[-count:])


class Peer:
    """A process of the rig. Use as a context manager."""

    name = "peer"

    def __init__(self, namespace: str, program: list[str], folder: Path, *, with_input: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.namespace, self.folder = namespace, folder
        self.process = subprocess.Popen(
            inside(namespace, program), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            stdin=subprocess.PIPE if with_input else subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self.output = Output(self.process.stdout)

    def until(self, wanted: Callable[[str], bool], what: str, limit: float = READY_LIMIT_S, *, since: int = 0) -> str:
        """Awaits a line of output. Raises PeerError."""
        line = self.output.wait(wanted, limit, since=since)
        if line is None:
            raise PeerError(f"{self.name}: no {what}; it said: {self.output.tail()}")
        return line

    def until_answered(self, address: str, port: int, question: bytes, *, own: tuple[str, int]) -> bytes:
        """Sends `question` by UDP until something comes back. `own` lies in the peer's namespace. Raises PeerError."""
        limit = time.monotonic() + READY_LIMIT_S
        with datagram_socket(self.namespace, *own) as asking:
            asking.connect((address, port))
            while time.monotonic() < limit and self.process.poll() is None:
                try:
                    asking.send(question)
                    if readable(asking.fileno(), ASK_AGAIN_S):
                        return asking.recv(65_535)
                except ConnectionRefusedError:  # the port is not open yet: ask again when a moment has passed
                    time.sleep(ASK_AGAIN_S)
        raise PeerError(f"{self.name}: does not answer on port {port}; it said: {self.output.tail()}")

    def stop(self) -> None:
        """Ends the process and those that it started."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdin is not None:
            with suppress(BrokenPipeError):  # it had ended by itself
                self.process.stdin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def connected(namespace: str, address: str, port: int, kind: int = socket.SOCK_STREAM) -> bool:
    """Whether a TCP port of a namespace accepts a connection now."""
    from tests.rig.wire import inside_of

    with inside_of(namespace, lambda: socket.socket(socket.AF_INET, kind)) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((address, port)) == 0
