"""Builds and runs the C programs of bench/baseline; each prints one JSON object a line."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import IO, Any, Self

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


def run(name: str, **options: object) -> dict[str, Any]:
    """Runs to the end and returns its JSON object."""
    done = subprocess.run(arguments(name, options), check=True, stdout=subprocess.PIPE, timeout=PATIENCE_S)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
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

    def line(self) -> dict[str, Any]:
        """Its next line of output; raises RuntimeError when it has ended instead."""
        text = self._output.readline()
        if not text:
            raise RuntimeError(f"{self.process.args!r} ended with {self.process.wait()}")
        result: dict[str, Any] = json.loads(text)
        return result

    def ask(self, number: int) -> dict[str, Any]:
        """Sends a signal that asks for a report, and returns it."""
        self.process.send_signal(number)
        return self.line()
