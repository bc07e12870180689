"""Builds and runs the C programs of bench/baseline; each prints one JSON object a line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol, Self

Answer = dict[str, Any]  # one line of JSON

BASELINE = Path(__file__).parent / "baseline"
PATIENCE_S = 60.0  # nothing here runs longer


def build() -> None:
    """Raises CalledProcessError when gcc or OpenSSL's headers are missing."""
    subprocess.run(["make", "-s", "-C", str(BASELINE)], check=True)


def arguments(name: str, options: dict[str, object]) -> list[str]:
    words = [str(BASELINE / "bin" / name)]
    for key, value in options.items():
        words += [f"--{key.replace('_', '-')}", str(value)]
    return words


def run(name: str, **options: object) -> Answer:
    """Runs to the end and returns its JSON object."""
    done = subprocess.run(arguments(name, options), check=True, stdout=subprocess.PIPE, timeout=PATIENCE_S)
    result: Answer = json.loads(done.stdout.splitlines()[-1])
    return result


class Program:
    """A program that runs until it is stopped; as a context manager it is ready inside and gone after."""

    def __init__(self, name: str, **options: object) -> None:
        self.process = subprocess.Popen(arguments(name, options), stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        self.line()  # {"ready": true}
        return self

    def __exit__(self, *_exc: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._output.close()

    @property
    def _output(self) -> IO[str]:
        assert self.process.stdout is not None
        return self.process.stdout

    def line(self) -> Answer:
        """Its next line of output; raises RuntimeError when it has ended instead."""
        text = self._output.readline()
        if not text:
            raise RuntimeError(f"{self.process.args!r} ended with {self.process.wait()}")
        result: Answer = json.loads(text)
        return result

    def ask(self, number: int) -> Answer:
        """Sends a signal that asks for a report, and returns it."""
        self.process.send_signal(number)
        return self.line()


class Counts(NamedTuple):
    """Since the last time it was asked: messages the reader had, what the kernel dropped, what found no room on the
    way to the mediator, and the reader's time on a processor."""

    messages: int
    kernel_drops: int
    x2_lost: int
    cpu_ns: int


class Reader(Protocol):
    def counts(self) -> Counts: ...

    def settled(self, expected: int) -> Counts: ...


SETTLE_S = 0.5  # a ring is empty within milliseconds of the last frame; what is missing then is lost


class Settling:
    """Waits until the reader has had everything, or nothing more comes."""

    def counts(self) -> Counts:
        raise AssertionError("of the subclass")

    def settled(self, expected: int) -> Counts:
        total = Counts(0, 0, 0, 0)
        deadline = time.monotonic() + SETTLE_S
        while True:
            total = Counts(*(have + more for have, more in zip(total, self.counts(), strict=True)))
            if total.messages >= expected or time.monotonic() > deadline:
                return total
            time.sleep(0.02)


class Drain(Settling, Program):
    """baseline/drain."""

    def __init__(self, **options: object) -> None:
        Program.__init__(self, "drain", **options)
        self._spent = 0

    def counts(self) -> Counts:
        said = self.ask(signal.SIGUSR1)
        spent, self._spent = said["cpu_ns"] - self._spent, said["cpu_ns"]
        return Counts(said["drained"], said["drops"], 0, spent)


class Tap(Settling, Program):
    """bench.tap."""

    def __init__(
        self, namespace: str, interface: str, targets: int, *, priority: int, core: int, content: bool = False
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.tap", namespace, interface, str(targets), str(priority), str(core)]
            + ["content"] * content,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._last = Counts(0, 0, 0, 0)

    def total(self) -> Answer:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.line()

    def counts(self) -> Counts:
        said = self.total()
        now = Counts(
            said["matcher"]["messages"], said["frames"]["kernel_drops"], said["reader"]["x2_lost"], said["cpu_ns"]
        )
        since = Counts(*(new - old for new, old in zip(now, self._last, strict=True)))
        self._last = now
        return since
