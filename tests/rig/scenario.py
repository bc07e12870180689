"""One row of the table of acceptance scenarios, and how rows are added to it.

`expected` is the whole sequence of a case, written from the standards' message definitions before the product's answer
was looked at; one that ends in "?" may be absent, where it depends on what was on the wire first. `needs` names the
part of the product that a scenario waits for; the pytest list takes only rows without one, the report shows all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mediation.cli.demo.site import Line

RINGBACK = "networkSignal ringbackTone"
ALERT = "networkSignal alertingPattern0"
OUT = ("origination", RINGBACK, "answer")
IN = ("termAttempt", ALERT, "answer")


@dataclass(frozen=True)
class Scenario:
    """One row. `second` is what a second case must get; every access point of `points` must report the same."""

    number: str
    title: str
    expected: tuple[str, ...]
    play: Callable[[Any], None]
    second: tuple[str, ...] | None = None
    needs: str = ""
    points: tuple[str, ...] = ("span",)
    wants: Callable[[], str] = str  # "" when the row can be played here, otherwise what is missing
    by_time: bool = False  # compared in the order of the time stamps: calls may overtake each other on their way

    @property
    def name(self) -> str:
        return f"{self.number}-{self.play.__name__.replace('_', '-')}"


Add = Callable[[Callable[[Any], None]], Callable[[Any], None]]


def settled(expected: Iterable[str], received: Sequence[str]) -> list[str]:
    """`expected` without those optional messages ("ccChange?") that did not come at their place."""
    found: list[str] = []
    for text in expected:
        name, _, _ = text.partition("?")
        if not text.endswith("?") or received[len(found) : len(found) + 1] == [name]:
            found.append(name)
    return found


def calls(value: Any) -> Iterator[str]:
    """Every call that a decoded message names."""
    match value:
        case {"main": str(main)}:
            yield main
        case dict():
            for inner in value.values():
                yield from calls(inner)
        case list():
            for inner in value:
                yield from calls(inner)


def overtaken(lines: Iterable[Line]) -> list[str]:
    """The messages that came behind a later event of the same call: there must be none."""
    latest: dict[str, str] = {}
    found = []
    for line in lines:
        stamp = str(line.get("timestamp", ""))
        for call in set(calls(line.get("fields"))):
            if stamp < latest.get(call, ""):
                found.append(str(line["message"]))
            latest[call] = max(stamp, latest.get(call, ""))
    return found


class Table:
    """The rows of one module, in its order. Use as a decorator."""

    def __init__(self) -> None:
        self.rows: list[Scenario] = []

    def __call__(self, number: str, title: str, *expected: str, second: tuple[str, ...] | None = None,
                 needs: str = "", points: tuple[str, ...] = ("span",),
                 wants: Callable[[], str] = str, by_time: bool = False) -> Add:  # fmt: skip
        def add(play: Callable[[Any], None]) -> Callable[[Any], None]:
            self.rows.append(Scenario(number, title, expected, play, second, needs, points, wants, by_time))
            return play

        return add

    def ready(self) -> list[Scenario]:
        """The rows that wait for nothing."""
        return [row for row in self.rows if not row.needs]


def second_case(stage: Any) -> str:
    """The name of a scenario's second case."""
    return f"{stage.case[:23]}-B"
