"""A change of the roster that is told long after its date: it ends what it ends, and nothing is armed by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mediation.core.authority import authorization
from mediation.core.authority.roster import End, Enroll, Revoke
from mediation.core.authority.trust import CHANGE_AGE_S, CHANGE_AHEAD_S, Trust
from mediation.core.case import Role, TaskRequest
from mediation.core.check import Check
from mediation.core.interface import task_table, x1
from mediation.runtime.remembered import Remembered
from tests.core import authority as a
from tests.core import founding as f
from tests.core.authority import KIDS, NOW_NS, NOW_S, PERSONS
from tests.core.mutation import GOOD
from tests.core.mutations_people import trust

TRUST = trust()
INTRUDER = a.private(77)
VOID = Revoke(person=PERSONS[Role.OFFICER], kid=KIDS[Role.OFFICER], void_s=NOW_S - 20)


def lines(*actions: Any, issued_s: int) -> tuple[str, ...]:
    held = TRUST.roster
    return (*held.lines, f.approved(f.change(held, *actions, issued_s=issued_s), "egon", "elsa"))


def appointing(issued_s: int) -> tuple[str, ...]:
    """Two executives, who have left since, make an officer of their own, dated back to their time in office."""
    key = f.key_of("ivan", INTRUDER)
    office = f.appointment("ivan", Role.OFFICER, from_s=issued_s)
    return lines(office, Enroll(person="ivan", key=key), issued_s=issued_s)


def of_intruder() -> TaskRequest:
    carrier = a.sign_carrier(GOOD.legal, nonce="0a" * 16)
    return a.request(GOOD.legal, carrier, a.sign_command(carrier, kid="ivan-1", key=INTRUDER))


def table(trust: Trust = TRUST) -> task_table.TaskTable:
    return task_table.TaskTable(trust, lambda _: None)


def ask(held: task_table.TaskTable, request: x1.Request) -> str:
    answer = held.handle(request, NOW_NS)
    return answer.check if isinstance(answer, x1.Refused) else ""


@pytest.mark.parametrize(
    ("issued_s", "check"),
    [
        (NOW_S - CHANGE_AGE_S, ""),
        (NOW_S - CHANGE_AGE_S - 1, Check.ROSTER_DATES),
        (NOW_S + CHANGE_AHEAD_S + 1, Check.ROSTER_DATES),
    ],
    ids=["in time", "dated back", "ahead"],
)
def test_nobody_is_appointed_by_a_change_that_is_dated_back(issued_s: int, check: str) -> None:
    held = table()
    assert ask(held, x1.Roster(lines=appointing(issued_s))) == check
    expected = "" if not check else Check.KEY_UNKNOWN
    if issued_s <= NOW_S:
        assert ask(held, x1.ActivateTask(request=of_intruder())) == expected
    other = table()  # whom it does not concern goes on as before
    assert ask(other, x1.Roster(lines=appointing(issued_s))) == check
    assert ask(other, x1.ActivateTask(request=GOOD)) == ""
    # Told again, or with a change in time after it, it gains nothing.
    assert ask(held, x1.Roster(lines=held.trust.roster.lines)) == check
    if check and issued_s <= NOW_S:
        later = f.approved(f.change(held.trust.roster, End(person="ivan", role=Role.OFFICER, at_s=NOW_S + 99),
                                    issued_s=NOW_S), "egon", "elsa")  # fmt: skip
        assert ask(held, x1.Roster(lines=(*held.trust.roster.lines, later))) == check
        assert ask(held, x1.ActivateTask(request=of_intruder())) == Check.KEY_UNKNOWN


def test_what_it_ends_it_ends_at_once() -> None:
    held = table()
    assert ask(held, x1.ActivateTask(request=GOOD)) == ""
    assert ask(held, x1.Roster(lines=lines(VOID, issued_s=NOW_S - CHANGE_AGE_S - 1))) == Check.ROSTER_DATES
    assert (len(held), held.fallen) == (0, 1)
    again = a.sign_carrier(GOOD.legal, nonce="0b" * 16)
    request = a.request(GOOD.legal, again, a.sign_command(again))
    assert authorization.xid(again) != authorization.xid(GOOD.carrier)
    assert ask(held, x1.ActivateTask(request=request)) == Check.KEY_DATES


@pytest.mark.parametrize("late", [True, False], ids=["dated back", "in time"])
def test_a_restart_makes_no_change_count(tmp_path: Path, late: bool) -> None:
    """Appended to the site's file while the function was away: it counts as if it were told then."""
    first = Remembered(tmp_path, "iap", bytes(32))
    assert first.believed(TRUST).arming().roster.lines == TRUST.roster.lines
    first.close()
    longer = appointing(NOW_S - CHANGE_AGE_S - late)
    file = TRUST.with_roster(TRUST.roster.continued(longer))  # as `load_trust` reads it
    for _ in range(2):
        remembered = Remembered(tmp_path, "iap", bytes(32))
        held = table(remembered.believed(file))
        assert ask(held, x1.ActivateTask(request=of_intruder())) == Check.KEY_UNKNOWN
        remembered.close()
    remembered = Remembered(tmp_path, "iap", bytes(32))
    held = table(remembered.believed(file))
    assert ask(held, x1.Roster(lines=longer)) == (Check.ROSTER_DATES if late else "")
    remembered.keep(held.trust)
    remembered.close()
    remembered = Remembered(tmp_path, "iap", bytes(32))
    held = table(remembered.believed(file))
    assert ask(held, x1.ActivateTask(request=of_intruder())) == (Check.KEY_UNKNOWN if late else "")
    assert remembered.failures == 0
    remembered.close()
