"""Structured logs, one JSON object a line, on standard error.

A line that standard error does not take (a full disk, a reader that has gone) is lost, and the next that it takes says
how many were: no function ends for want of a place to say something.

No target identity ever comes here: callers pass case identities, check names and counters. As a second fence this
module refuses fields whose names could carry one; a refusal is a bug and raises in tests.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

# Field names that would hold a subject, an associate or their words. Not a filter for values: a fence for writers.
FORBIDDEN = frozenset(
    {"subject", "subjects", "target", "targets", "uri", "number", "calling", "called", "digits", "from_", "to", "sdp"}
)


def _fence(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if not FORBIDDEN.isdisjoint(event):
        raise ValueError(f"log: field {sorted(FORBIDDEN & set(event))[0]} may hold a target's identity")
    return event


class Output:
    """One line for each call, on `file`. `lost` counts those that it has not taken since the last that it has."""

    def __init__(self, file: TextIO) -> None:
        self.lost = 0
        self._file = file

    def msg(self, line: str) -> None:
        try:
            if self.lost:
                self._file.write(f'{{"event": "log_lines_lost", "level": "error", "count": {self.lost}}}\n')
                self._file.flush()
            self._file.write(f"{line}\n")
            self._file.flush()
            self.lost = 0
        except (OSError, ValueError):  # ValueError: the file is closed
            self.lost += 1

    debug = info = warning = error = critical = exception = msg


def configure(function: str) -> None:
    """Sets logs up for this process. `function` is the program's name (administrator, iap, mediator …)."""
    output = Output(sys.stderr)
    structlog.configure(
        processors=[
            _fence,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=lambda *_: output,
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.clear_contextvars()
    structlog.get_logger().debug("log_configured", function=function)


def configure_command() -> None:
    """For a command that acts in a function's place: what a person must know goes to standard error, a line each.
    Standard output is the command's own."""
    structlog.configure(
        processors=[_fence, _words],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )


def _words(_: object, __: str, event: MutableMapping[str, Any]) -> str:
    said = [str(value) for name, value in event.items() if name not in ("event", "function") and value != ""]
    return f"mediation: {event.get('event', '')}: {', '.join(said)}"


def get(function: str) -> Any:
    """A logger that names the function on each line."""
    return structlog.get_logger().bind(function=function)
