"""How long each type of legal authorization can run: the statutes' limits, and the words for what is left.

Answers for the table and for judging a window and an extension against it. A configuration can make a limit shorter,
never longer (`Terms`). What is longer than its limit is refused by the check `term`, by each function for itself.

    Title III              30 days                    18 USC 2518(5)
    pen register, trap and trace   60 days            18 USC 3123(c)(1), (2)
    FISA                   90, 120 or 365 days, as the order states      50 USC 1805(d)(1), (2)
    emergency, Title III and pen/trap   48 hours      18 USC 2518(7), 3125(a)
    emergency, FISA        7 days                     50 USC 1805(e)(3)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from mediation.core.case import Authority
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError

HOUR_S: Final = 3_600
DAY_S: Final = 24 * HOUR_S
# Others than these, 90 days; an agent of a foreign power who is no United States person, 120; a foreign power, a year.
FISA_PERIODS_DAYS: Final = (90, 120, 365)


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """The longest that one order, and each extension of it, can run."""

    seconds: int
    citation: str
    renewable: bool = True  # else an extension can only use up what the first window left of the limit


LIMITS: Final[Mapping[Authority, Limit]] = {
    Authority.TITLE_III: Limit(seconds=30 * DAY_S, citation="18 USC 2518(5)"),
    Authority.PEN_REGISTER: Limit(seconds=60 * DAY_S, citation="18 USC 3123(c)"),
    Authority.TRAP_AND_TRACE: Limit(seconds=60 * DAY_S, citation="18 USC 3123(c)"),
    Authority.FISA: Limit(seconds=FISA_PERIODS_DAYS[-1] * DAY_S, citation="50 USC 1805(d)"),
    Authority.EMERGENCY_TITLE_III: Limit(seconds=48 * HOUR_S, citation="18 USC 2518(7)", renewable=False),
    Authority.EMERGENCY_PEN_REGISTER: Limit(seconds=48 * HOUR_S, citation="18 USC 3125(a)", renewable=False),
    Authority.EMERGENCY_TRAP_AND_TRACE: Limit(seconds=48 * HOUR_S, citation="18 USC 3125(a)", renewable=False),
    Authority.EMERGENCY_FISA: Limit(seconds=7 * DAY_S, citation="50 USC 1805(e)", renewable=False),
}


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one site: `shorter` in seconds by type. Raises ValueError for one that is not shorter."""

    shorter: dict[Authority, int] = {}

    def __post_init__(self) -> None:
        for authority, seconds in self.shorter.items():
            if not 0 < seconds <= LIMITS[authority].seconds:
                raise ValueError(f"term of {authority}: at most {LIMITS[authority].seconds} s")

    def limit_s(self, authority: Authority, stated_days: int = 0) -> int:
        """The longest window in seconds. Raises AuthorizationError `term` for a period that no statute knows."""
        seconds = LIMITS[authority].seconds
        if authority is Authority.FISA:
            days = stated_days or FISA_PERIODS_DAYS[0]
            if days not in FISA_PERIODS_DAYS:
                raise AuthorizationError(Check.TERM)
            seconds = days * DAY_S
        elif stated_days:
            raise AuthorizationError(Check.TERM)
        return min(seconds, self.shorter.get(authority, seconds))

    def check_window(self, authority: Authority, stated_days: int, begin_s: int, end_s: int) -> None:
        """Raises AuthorizationError `term`."""
        if end_s - begin_s > self.limit_s(authority, stated_days):
            raise AuthorizationError(Check.TERM, LIMITS[authority].citation)

    def check_extension(
        self, authority: Authority, stated_days: int, begin_s: int, previous_end_s: int, end_s: int
    ) -> None:
        """What one extension adds, `previous_end_s` to `end_s`, of an order whose window began at `begin_s`.

        Raises AuthorizationError `term`.
        """
        since_s = previous_end_s if LIMITS[authority].renewable else begin_s
        self.check_window(authority, stated_days, since_s, end_s)


STATUTE: Final = Terms()


def left(seconds: int) -> str:
    """A time that is left, in an officer's words, never more than there is."""
    if seconds <= 0:
        return "over"
    for unit, size, lesser, part in (
        ("day", DAY_S, "hour", HOUR_S), ("hour", HOUR_S, "minute", 60), ("minute", 60, "second", 1),
    ):  # fmt: skip
        if seconds >= size:
            rest = seconds % size // part
            return _count(seconds // size, unit) + (f" {_count(rest, lesser)}" if rest else "")
    return _count(seconds, "second")


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}{'' if number == 1 else 's'}"
