"""Whether the 7x24 contact of the filed appendix really answers: 47 CFR 1.20003(b)(4)(ii), tried once a month.

Answers for the record of one call (or page): to which number or address of the appendix, when, answered by whom and
after how many seconds, or missed; signed by an officer or executive who is not the contact himself, within days of the
call. Answers also for the clock: each calendar month (UTC) since a plan is in force has one call that was answered,
but for the month in which that began if less than a week of it was left; it is asked for in the month's last week.
The rule names no month: it is ours. Nobody here calls anybody. It stores nothing and reads no clock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final, Literal

from mediation.core.authority.authorization import CLOCK_SKEW_S
from mediation.core.authority.key import Key
from mediation.core.authority.particulars import legible
from mediation.core.authority.term import DAY_S, HOUR_S
from mediation.core.authority.trust import Trust
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from mediation.core.records import plan, signed
from mediation.core.records.alarm import Alarm
from mediation.core.records.statement import after, ends_s, month_of
from mediation.core.units import NS, US

TYP: Final = "mediation-contact-test"
ASK_S: Final = 7 * DAY_S  # before a month's end without a call (ours)
LATE_S: Final = 7 * DAY_S  # between a call and its record (ours)
MAX_ANSWER_S: Final = HOUR_S  # who has not answered by then was not available: a missed call (ours)
MAX_MONTHS: Final = 1_200


class ContactTest(signed.Recorded, frozen=True, kw_only=True):
    """One call. `called`: a number or address of the appendix in force; `answer_s`: seconds until it was answered, or
    until nobody was waited for any longer; `answered_by`: who answered, empty when nobody did."""

    type: Literal["contact-test"]
    version: int
    appendix_sha256: str
    called: str
    called_s: int
    answered: bool
    answer_s: int
    answered_by: str = ""


def examine(text: str, adopted: plan.Adopted, trust: Trust, now_ns: int) -> tuple[ContactTest, Key]:
    """That `text` is of a call of the contact whom `adopted` names. Raises AuthorizationError: `contact`, or what is
    wrong with the key or the signature."""
    said, key = signed.examine(text, TYP, ContactTest, trust, now_ns)
    reached = adopted.annex.contact
    if (said.version, said.appendix_sha256) != (adopted.body.version, plan.digest(adopted.appendix)):
        raise AuthorizationError(Check.CONTACT, "not the appendix in force")
    if not said.called.strip() or said.called not in (reached.telephone, reached.mail):
        raise AuthorizationError(Check.CONTACT, "not a number or address of the appendix in force")
    if not 0 <= said.answer_s <= MAX_ANSWER_S:
        raise AuthorizationError(Check.CONTACT, f"answered after 0 to {MAX_ANSWER_S} seconds, or missed")
    if not said.issued_s - LATE_S <= said.called_s <= said.issued_s:
        raise AuthorizationError(Check.CONTACT, f"a call of the {LATE_S // DAY_S} days before its record")
    if said.called_s + said.answer_s > now_ns // NS + CLOCK_SKEW_S:
        raise AuthorizationError(Check.CONTACT, "an answer that is still to come")
    named = legible(said.answered_by)
    if said.answered is not named or (said.answered_by and not said.answered):
        raise AuthorizationError(Check.CONTACT, "who answered, or that nobody did")
    senior = trust.senior_officer(now_ns // NS)
    if senior is not None and senior.person == key.person:
        raise AuthorizationError(Check.CONTACT, "the contact does not try himself")
    return said, key


def months(begins_us: int, now_s: int) -> Iterator[str]:
    """Those that need a call, the one that runs now at the end. `begins_us`: since when a plan is in force."""
    month = _first(begins_us)
    for _ in range(MAX_MONTHS):
        if ends_s(month) > now_s:
            break
        yield month
        month = after(month)
    if month <= month_of(now_s * US):
        yield month


def lapses(begins_us: int, reached: Collection[str], now_s: int) -> Iterator[tuple[Alarm, str]]:
    """What is to be announced, with the month; `reached` are the months in which a call was answered."""
    for month in months(begins_us, now_s):
        if month in reached:
            continue
        if now_s >= ends_s(month):
            yield Alarm.CONTACT_OVERDUE, month
        elif now_s >= ends_s(month) - ASK_S:
            yield Alarm.CONTACT_DUE, month


def due_s(begins_us: int, reached: Collection[str]) -> int:
    """By when the contact is to be reached next: the end of the month after the last one in which he was."""
    first = _first(begins_us)
    return ends_s(max(first, after(max(reached))) if reached else first)


def _first(begins_us: int) -> str:
    month = month_of(begins_us)
    return month if ends_s(month) - ASK_S >= begins_us // US else after(month)
