"""What the demo shows on the terminal: chapters, events as they happen, and checks that held or did not.

Colours only on a terminal that wants them (https://no-color.org); the words say everything the colours say. Only the
demo prints identities, and only those of its own invented people.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from typing import Any, TextIO

from mediation.cli.demo.site import Line, texts

WIDTH = 100
NAME = 20  # the longest name of a message and some room
BOLD, DIM, GREEN, RED, CYAN, RESET = (f"\x1b[{code}m" for code in (1, 2, 32, 31, 36, 0))

WORDS = {
    "origination": "the subject calls",
    "termAttempt": "the subject is called",
    "networkSignal": "the network signals to the subject",
    "answer": "the call is answered",
    "release": "the call is over",
    "redirection": "the call is sent on",
    "dialedDgtExtrn": "keys pressed after the answer:",
    "connection": "parties connected",
    "connectionBreak": "a party is put on hold",
    "mediaAndAddressReporting": "media changed",
    "subjectSignal": "the subject signals to the network",
    "surveillanceStatus": "surveillance status",
    "ccOpen": "a content channel is opened",
    "ccChange": "the media of the content changed",
    "ccClose": "the content channel is closed",
    "ccUnavailable": "content cannot be had",
}


def _clean(text: str) -> str:
    """Nothing of what was decoded may steer the terminal."""
    return "".join(character if character.isprintable() else "·" for character in text)


def detail(line: Line) -> str:
    """One message in plain words."""
    fields: dict[str, Any] = line["fields"]
    words = WORDS.get(line["message"], "")
    match line["message"]:
        case "origination" | "termAttempt":
            named = [text for text in texts(fields.get("called")) if text.lstrip("+").isdigit()]
            words += f" {named[0]}" if named and line["message"] == "origination" else ""
        case "networkSignal":
            kinds = ("alertingSignal", "subjectAudibleSignal")
            words = ", ".join(str(fields[kind]) for kind in kinds if fields.get(kind) not in (None, "notUsed"))
        case "dialedDgtExtrn":
            words += f" {fields['digits']}"
        case "surveillanceStatus":
            words = f"{words}: {fields['statusEventType']}"
    return _clean(words)


class Screen:
    """Standard output of the demo, and the count of what did not hold."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._colour = self._stream.isatty() and "NO_COLOR" not in os.environ
        self._began = time.monotonic()
        self._chapter = 0
        self.failed: list[str] = []
        self.held = 0

    def _paint(self, text: str, *codes: str) -> str:
        return f"{''.join(codes)}{text}{RESET}" if self._colour else text

    def line(self, text: str = "") -> None:
        self._stream.write(text + "\n")
        self._stream.flush()

    def title(self, name: str, claim: str) -> None:
        self.line()
        self.line(f"  {self._paint(name, BOLD)}")
        self.line(f"  {self._paint(claim, DIM)}")

    def chapter(self, name: str) -> None:
        self._chapter += 1
        clock = f"{time.monotonic() - self._began:5.1f} s"
        rule = "─" * (WIDTH - len(name) - len(clock) - 8)
        self.line()
        self.line(f" {self._paint(f'{self._chapter}  {name}', BOLD, CYAN)} {self._paint(f'{rule} {clock}', DIM)}")

    def say(self, text: str) -> None:
        self.line(f"    {text}")

    def note(self, text: str) -> None:
        self.line(f"    {self._paint(text, DIM)}")

    def head(self) -> None:
        """The columns of the events that follow."""
        columns = f"{'message':{NAME}} {'event time, UTC':16} {'latency':>10}   in words"
        self.line(f"    {self._paint(columns, DIM)}")

    def event(self, line: Line, mark: str = "") -> None:
        """One message that the agency received, as it arrives; `mark` when it is of another case."""
        stamp = str(line["timestamp"])[11:26]
        latency = f"{int(line['latency_us']):,} µs" if line.get("latency_us") is not None else "-"
        name = self._paint(f"{line['message']:{NAME}}", GREEN)
        self.line(f"    {name} {stamp:16} {latency:>10}   {detail(line)}{self._paint(mark, DIM)}")

    def check(self, claim: str, held: bool, proof: str = "") -> bool:
        """A claim and whether it held. The demo fails when one did not."""
        if held:
            self.held += 1
        else:
            self.failed.append(claim)
        mark = self._paint("✓", BOLD, GREEN) if held else self._paint("✗ did not hold:", BOLD, RED)
        self.line(f"    {mark} {claim}{self._paint(f'  ({proof})', DIM) if proof else ''}")
        return held

    def end(self) -> int:
        """The last word; the exit status."""
        seconds = time.monotonic() - self._began
        self.line()
        if self.failed:
            self.line(f"  {self._paint(f'{len(self.failed)} checks did not hold', BOLD, RED)}, {self.held} held")
            for claim in self.failed:
                self.line(f"    ✗ {claim}")
            return 1
        self.line(f"  {self._paint(f'All {self.held} checks held', BOLD, GREEN)} in {seconds:.1f} s")
        return 0


def grouped(numbers: list[int]) -> Iterator[str]:
    """Median and longest of latencies in µs, in words."""
    if numbers:
        ordered = sorted(numbers)
        yield f"median {ordered[len(ordered) // 2]:,} µs"
        yield f"longest {ordered[-1]:,} µs"
