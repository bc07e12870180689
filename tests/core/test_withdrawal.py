"""The withdrawal of all authority of an agency (SEC-24): what a function makes of it, whoever brings it."""

from __future__ import annotations

from typing import Any

import pytest

from mediation.core.authority import authorization, jws, withdrawal
from mediation.core.authority.roster import ANY_AGENCY, CONTACT_WAIT_S, Contact
from mediation.core.case import AgencyRevocation, Role
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from mediation.core.interface import task_table, x1
from tests.core import authority as a
from tests.core.authority import KEYS, KIDS, NOW_NS, NOW_S

OTHER = "OTHER-AGENCY"
CONTACTS = (a.CONTACT, Contact(agency=OTHER, number=a.DIRECTORY_NUMBER, from_s=0))


def signed(role: Role = Role.LEGAL, typ: str = "mediation-agency-revocation", **changes: Any) -> str:
    facts = {
        "type": "agency-revocation", "agency": "AGENCY", "reason": "test", "issued_s": NOW_S, "nonce": "0a" * 16,
        **changes,
    }  # fmt: skip
    return jws.sign(AgencyRevocation(**facts), typ, KIDS[role], KEYS[role])


def table() -> tuple[task_table.TaskTable, list[task_table.Change]]:
    changes: list[task_table.Change] = []
    return task_table.TaskTable(a.trust(contacts=CONTACTS), changes.append), changes


def ask(function: task_table.TaskTable, request: x1.Request) -> str:
    answer = function.handle(request, NOW_NS)
    return answer.check if isinstance(answer, x1.Refused) else "ok"


@pytest.mark.parametrize("role", [Role.LEGAL, Role.CARRIER])
def test_one_text_ends_every_order_of_the_agency_and_none_of_another(role: Role) -> None:
    function, changes = table()
    ledger = a.Ledger()
    theirs = [a.good(ledger=ledger, case=f"BAD-{n}") for n in range(5)]
    ours = [a.good(ledger=ledger, case=f"GOOD-{n}", agency=OTHER) for n in range(5)]
    late = a.good(ledger=ledger, case="LATE")  # not armed yet when it comes
    for each in (*theirs, *ours):
        assert ask(function, x1.ActivateTask(request=each)) == "ok"
    assert ask(function, x1.RevokeToken(revocation=signed(role))) == "ok"
    assert sorted(task.case for task in function) == [f"GOOD-{n}" for n in range(5)]
    ended = [each for each in changes if each.after is None]
    assert len(ended) == 5 and all(each.revoked for each in ended)
    assert ask(function, x1.ActivateTask(request=late)) == Check.REVOKED
    assert ask(function, x1.ActivateTask(request=theirs[0])) in (Check.REVOKED, Check.DEACTIVATED)
    assert ask(function, x1.ModifyTask(request=ours[0])) == "ok"
    # What it remembers are SHA-256 beside those of tokens: the same memory over a restart.
    again = task_table.TaskTable(a.trust(contacts=CONTACTS).with_revoked(function.trust.revoked), lambda _: None)
    assert ask(again, x1.ActivateTask(request=theirs[0])) == Check.REVOKED
    assert ask(again, x1.ActivateTask(request=ours[0])) == "ok"


@pytest.mark.parametrize(
    ("text", "check"),
    [
        (signed(Role.OFFICER), Check.KEY_ROLE),
        (signed(Role.EXECUTIVE), Check.KEY_ROLE),
        (signed(Role.AUDITOR), Check.KEY_ROLE),
        (signed(lab=True), Check.LAB_TOKEN),
        (signed(agency="NOBODY"), Check.AGENCY_CONTACT),
        (signed(agency="two\nlines"), Check.PARTICULARS),
        (signed(nonce="x"), Check.PARTICULARS),
        (signed(typ="mediation-revocation"), Check.STRUCTURE),
        (signed()[:-4] + "AAAA", Check.SIGNATURE),
    ],
)
def test_what_is_no_withdrawal_ends_nothing(text: str, check: Check) -> None:
    function, _ = table()
    assert ask(function, x1.ActivateTask(request=a.good())) == "ok"
    assert ask(function, x1.RevokeToken(revocation=text)) == check
    assert len(function) == 1 and not function.trust.revoked


def test_a_contact_that_was_approved_later_is_a_new_beginning() -> None:
    later = Contact(agency="AGENCY", number=a.DIRECTORY_NUMBER, from_s=NOW_S + CONTACT_WAIT_S)
    waiting = Contact(agency="AGENCY", number=a.DIRECTORY_NUMBER, from_s=NOW_S + CONTACT_WAIT_S - 1)
    roster = a.trust(contacts=(*CONTACTS, waiting, later)).roster
    found = withdrawal.markers("AGENCY", NOW_S, roster)
    assert found == (withdrawal.marker("AGENCY", a.CONTACT), withdrawal.marker("AGENCY", waiting))
    assert withdrawal.marker("AGENCY", later) not in found


def test_where_one_contact_serves_all_the_others_keep_theirs() -> None:
    trust = a.trust(contacts=(Contact(agency=ANY_AGENCY, number=a.DIRECTORY_NUMBER, from_s=0),))
    revoked = trust.with_revoked(withdrawal.examine(signed(), trust).markers)
    assert authorization.admit(a.good(agency=OTHER), revoked, NOW_NS).agency == OTHER
    with pytest.raises(AuthorizationError) as refusal:
        authorization.admit(a.good(), revoked, NOW_NS)
    assert refusal.value.check == Check.REVOKED


@pytest.mark.parametrize(("after_s", "stands"), [(0, False), (1, True)])
def test_a_contact_that_ended_before_it_began_ends_what_stands_by_it(after_s: int, stands: bool) -> None:
    """As `admit` would say after a restart, to the second."""
    function, changes = table()
    request = a.good()
    assert ask(function, x1.ActivateTask(request=request)) == "ok"
    (task,) = function
    begun_s = task.standing.signers[0][3]
    trust = a.trust(contacts=CONTACTS)
    trust.roster.contacts = tuple(
        (contact, begun_s + after_s if contact.agency == "AGENCY" else end) for contact, end in trust.roster.contacts
    )
    function.believe(trust)
    assert len(function) == stands
    fresh = task_table.TaskTable(trust, lambda _: None)
    assert ask(fresh, x1.ActivateTask(request=request)) == ("ok" if stands else Check.AGENCY_CONTACT)
    assert [each.revoked for each in changes if each.after is None] == [] if stands else [True]
