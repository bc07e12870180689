"""Rows of the mutation matrix: whether a signer held his role, by appointment dates, and whether anybody saw to it."""

from __future__ import annotations

from collections.abc import Iterable

from mediation.core.authority.roster import Appoint, End, Enroll, Revoke, Roster
from mediation.core.authority.trust import Trust
from mediation.core.case import Role
from mediation.core.check import Check
from mediation.core.ledger import policy
from tests.core import authority as a
from tests.core import founding as f
from tests.core.authority import KEYS, KIDS, NOW_S, PERSONS
from tests.core.mutation import GOOD, Case, now, row, rows

SIGNING = (Role.LEGAL, Role.CARRIER, Role.OFFICER)


def trust(appointments: Iterable[Appoint] = (), *changes: tuple[object, ...]) -> Trust:
    """A trust from a roster: the usual persons with the usual appointments, but for those of the same role given here;
    then changes, approved by two executives, issued before everything that is signed in the matrix."""
    given = {each.role: each for each in appointments}
    actions = f.founders()
    for role in Role:
        if role is not Role.EXECUTIVE:
            key = a.ring_key(KIDS[role], PERSONS[role], KEYS[role])
            actions += [given.get(role, f.appointment(PERSONS[role], role)), Enroll(person=key.person, key=key)]
    actions.append(a.CONTACT)
    held = Roster(a.ORIGIN, lab=False)
    held = held.extended([f.approved(f.change(held, *actions, issued_s=1), *f.EXECUTIVES)])
    for number, change in enumerate(changes):
        held = held.extended([f.approved(f.change(held, *change, issued_s=2 + number), "egon", "elsa")])
    return Trust.of(held, a.SIGNER.verifier, lab=False, policy=policy.parse(a.POLICY))


def with_dates(role: Role, **dates: int) -> Case:
    return now(GOOD, trust([f.appointment(PERSONS[role], role, **dates)]))


for _role in SIGNING:
    for _when, _dates in {
        "appointed after it was signed": {"from_s": NOW_S - 10},
        "appointed after it was entered": {"from_s": NOW_S + 1},
        "ended before it was signed": {"to_s": NOW_S - 61},
        "ended before it was entered": {"to_s": NOW_S},
    }.items():
        row(Check.PERSON_DATES, f"{_role} {_when}")(lambda role=_role, dates=_dates: with_dates(role, **dates))
    row(Check.PERSON_DATES, f"{_role} ended by a change, back to before the entry")(
        lambda role=_role: now(GOOD, trust([], (End(person=PERSONS[role], role=role, at_s=NOW_S - 100),)))
    )
    row(Check.KEY_DATES, f"the {_role}'s key is void since before the entry")(
        lambda role=_role: now(GOOD, trust([], (Revoke(person=PERSONS[role], kid=KIDS[role], void_s=NOW_S),)))
    )
    row(Check.KEY_UNKNOWN, f"the {_role} was never appointed")(
        lambda role=_role: now(GOOD, trust([], (End(person=PERSONS[role], role=role, at_s=0),)))
    )

rows(
    Check.SENIOR_OFFICER,
    "no senior officer",
    {
        "ever": lambda: now(
            GOOD, Trust(a.rings(), a.SIGNER.verifier, lab=False, contacts=(a.CONTACT,), policy=policy.parse(a.POLICY))
        ),
        "any more": lambda: now(GOOD, trust([], (End(person="edda", role=Role.EXECUTIVE, at_s=NOW_S),))),
    },
)


def good_by_roster() -> Trust:
    """The roster by which the usual order is good: the last second in which each may end, and the first to begin."""
    dates = {"from_s": NOW_S - 60, "to_s": NOW_S + 1}
    return trust([f.appointment(PERSONS[role], role, **dates) for role in SIGNING])
