"""Whatever changes are approved by whomever, in whatever order: never two roles at an instant, never fewer than two
approvals, never one by a person whom it concerns, and a chain that replays to the same state."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mediation.core.authority import roster
from mediation.core.authority.roster import End, Enroll, Revoke, Roster
from mediation.core.case import Role
from mediation.core.errors import AuthorizationError
from tests.core import founding as f
from tests.core.authority import private

SITE, FIRST_S, LAST_S = "test/ledger", 1_000, 1_040
PERSONS = (*f.EXECUTIVES, "olga", "otto")
LINE = f.approved(f.change(Roster(SITE, lab=False), *f.founders(), issued_s=1), *f.EXECUTIVES)

seconds = st.integers(FIRST_S, LAST_S)
persons = st.sampled_from(PERSONS)
roles = st.sampled_from([Role.EXECUTIVE, Role.LEGAL, Role.OFFICER])


@st.composite
def actions(draw: st.DrawFn) -> Any:
    person = draw(persons)
    match draw(st.integers(0, 3)):
        case 0:
            begin = draw(seconds)
            return f.appointment(person, draw(roles), from_s=begin, to_s=begin + draw(st.integers(1, 20)))
        case 1:
            return End(person=person, role=draw(roles), at_s=draw(seconds))
        case 2:
            number = draw(st.integers(1, 3))
            seed = f.seed(person) if number == 1 else private(10 * number + draw(st.integers(0, 2)))
            return Enroll(person=person, key=f.key_of(person, seed, kid=f"{person}-{number}"))
        case _:
            return Revoke(person=person, kid=f"{person}-1", void_s=draw(seconds))


steps = st.lists(
    st.tuples(
        st.lists(actions(), min_size=1, max_size=3), st.lists(persons, min_size=1, max_size=3), st.integers(0, 3)
    ),
    max_size=10,
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
def test_no_two_roles_and_two_approvals(changes: list[tuple[list[Any], list[str], int]]) -> None:
    held = Roster.replay([LINE], roster.digest(LINE), SITE, lab=False)
    now_s = FIRST_S
    for wanted, by, later_s in changes:
        now_s += later_s
        before = held
        try:
            held = held.extended([f.approved(f.change(held, *wanted, issued_s=now_s), *by)])
        except AuthorizationError:
            assert len(before.lines) == len(held.lines)
            continue
        judged = held.judged[-1]
        assert len(set(by)) == len(by) == 2 == len(judged.approvers)
        assert set(by) == set(judged.approvers) and not set(by) & {action.person for action in wanted}
        assert all(before.role_at(person, now_s) is Role.EXECUTIVE for person in by)
        assert all(before.keys[f"{person}-1"].not_after_s > now_s for person in by)
    for one, other in combinations(held.appointments, 2):
        if one.person == other.person and one.role is not other.role:
            assert one.to_s <= other.from_s or other.to_s <= one.from_s
    publics = [key.public for key in held.keys.values()]
    assert len(set(publics)) == len(publics)
    again = Roster.replay(held.lines, roster.digest(LINE), SITE, lab=False)
    assert (again.appointments, again.keys, again.head) == (held.appointments, held.keys, held.head)
