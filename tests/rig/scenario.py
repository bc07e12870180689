"""One row of the table of acceptance scenarios, and how rows are added to it.

`expected` is the whole sequence of a case, written from the standards' message definitions before the product's answer
was looked at; one that ends in "?" may be absent, where it depends on what was on the wire first. `needs` names the
part of the product that a scenario waits for; the pytest list takes only rows without one, the report shows all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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

    @property
    def name(self) -> str:
        return f"{self.number}-{self.play.__name__.replace('_', '-')}"


Add = Callable[[Callable[[Any], None]], Callable[[Any], None]]


class Table:
    """The rows of one module, in its order. Use as a decorator."""

    def __init__(self) -> None:
        self.rows: list[Scenario] = []

    def __call__(self, number: str, title: str, *expected: str, second: tuple[str, ...] | None = None,
                 needs: str = "", points: tuple[str, ...] = ("span",),
                 wants: Callable[[], str] = str) -> Add:  # fmt: skip
        def add(play: Callable[[Any], None]) -> Callable[[Any], None]:
            self.rows.append(Scenario(number, title, expected, play, second, needs, points, wants))
            return play

        return add

    def ready(self) -> list[Scenario]:
        """The rows that wait for nothing."""
        return [row for row in self.rows if not row.needs]


def second_case(stage: Any) -> str:
    """The name of a scenario's second case."""
    return f"{stage.case[:23]}-B"
