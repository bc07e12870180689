"""The roster: a founding by three, changes by two others; nobody gives himself, or anybody, a second role."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from mediation.core.authority import jws, roster
from mediation.core.authority.roster import Contact, End, EndContact, Enroll, Revoke, Roster
from mediation.core.case import Role
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from tests.core import founding as f
from tests.core.authority import private

SITE, NOW_S = "test/ledger", 1_000
OLGA = f.key_of("olga", private(3))
Actions = list[Any]


def new(actions: Actions | None = None, *signers: str, **changes: Any) -> Roster:
    """A founded roster, in which olga is an officer."""
    usual = [f.appointment("olga", Role.OFFICER), Enroll(person="olga", key=OLGA)]
    octets = f.change(Roster(SITE, lab=False), *f.founders(), *(usual if actions is None else actions), **changes)
    line = f.approved(octets, *(signers or f.EXECUTIVES))
    return Roster.replay([line], roster.digest(line), SITE, lab=False)


FOUNDED = new()


def changed(held: Roster, *actions: Any, by: tuple[str, ...] = ("edda", "egon"), **changes: Any) -> Roster:
    return held.extended([f.approved(f.change(held, *actions, **changes), *by)])


def refused(check: Check, act: Callable[[], Roster]) -> None:
    with pytest.raises(AuthorizationError) as refusal:
        act()
    assert refusal.value.check == check, refusal.value


APPOINT = f.appointment("otto", Role.OFFICER, from_s=NOW_S, to_s=NOW_S + 100)
SMALL = EndContact(agency="A", at_s=1)


# --- founding ---------------------------------------------------------------------------------------------------------


def test_a_founding() -> None:
    assert {a.person for a in FOUNDED.appointments} == {*f.EXECUTIVES, "olga"}
    assert FOUNDED.role_at("olga", NOW_S) is Role.OFFICER and FOUNDED.role_at("olga", f.TO_S) is None
    senior = FOUNDED.senior_officer(NOW_S)
    assert senior is not None and senior.person == "edda" and FOUNDED.senior_officer(f.TO_S) is None
    assert FOUNDED.judged[0].approvers == ("edda", "egon", "elsa")


@pytest.mark.parametrize(
    "signers",
    [("edda", "egon"), ("edda", "egon", "egon"), ("edda", "egon", "elsa", "elsa"), ("edda",)],
    ids=["two", "one twice", "three and one again", "one"],
)
def test_a_founding_needs_all_whom_it_makes_executives(signers: tuple[str, ...]) -> None:
    refused(Check.ROSTER_FOUNDING, lambda: new(None, *signers))


def test_a_founding_by_two_executives_is_none() -> None:
    actions = [a for a in f.founders() if a.person != "elsa"]
    line = f.approved(f.change(Roster(SITE, lab=False), *actions), "edda", "egon")
    refused(Check.ROSTER_FOUNDING, lambda: Roster.replay([line], roster.digest(line), SITE, lab=False))


def test_a_founder_by_whom_nobody_was_appointed() -> None:
    """An enrolled key does not make an executive."""
    key = f.key_of("eva", f.seed("eva"))
    refused(Check.ROSTER_APPROVAL, lambda: new([Enroll(person="eva", key=key)], *f.EXECUTIVES, "eva"))


def test_the_pin() -> None:
    line = FOUNDED.lines[0]
    refused(Check.ROSTER, lambda: Roster.replay([line], "ab" * 32, SITE, lab=False))
    refused(Check.ROSTER, lambda: Roster.replay([], roster.digest(line), SITE, lab=False))
    refused(Check.ROSTER, lambda: Roster.replay([line], roster.digest(line), "another/ledger", lab=False))
    refused(Check.LAB_TOKEN, lambda: Roster.replay([line], roster.digest(line), SITE, lab=True))


# --- who approves -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by", "check"),
    [
        (("edda",), Check.ROSTER_APPROVAL),
        (("edda", "edda"), Check.ROSTER_APPROVAL),
        (("edda", "egon", "elsa"), Check.ROSTER_APPROVAL),
        (("edda", "eva"), Check.KEY_UNKNOWN),
        ((), Check.ROSTER_APPROVAL),
    ],
)
def test_two_persons_approve(by: tuple[str, ...], check: Check) -> None:
    refused(check, lambda: changed(FOUNDED, APPOINT, by=by))


def test_a_second_key_makes_no_second_person() -> None:
    spare = f.key_of("edda", private(7), kid="edda-2")
    held = changed(FOUNDED, Enroll(person="edda", key=spare), by=("egon", "elsa"))
    octets = f.change(held, APPOINT)
    both = [jws.sign_octets(octets, roster.TYP, "edda-1", f.seed("edda")),
            jws.sign_octets(octets, roster.TYP, "edda-2", private(7))]  # fmt: skip
    refused(Check.ROSTER_APPROVAL, lambda: held.extended([roster.line(both)]))


def test_an_officer_approves_nothing() -> None:
    octets = f.change(FOUNDED, APPOINT)
    both = [jws.sign_octets(octets, roster.TYP, "edda-1", f.seed("edda")),
            jws.sign_octets(octets, roster.TYP, "olga-1", private(3))]  # fmt: skip
    refused(Check.ROSTER_APPROVAL, lambda: FOUNDED.extended([roster.line(both)]))


@pytest.mark.parametrize(
    "action",
    [
        f.appointment("edda", Role.EXECUTIVE, from_s=NOW_S),
        End(person="edda", role=Role.EXECUTIVE, at_s=NOW_S),
        Enroll(person="edda", key=f.key_of("edda", private(7), kid="edda-2")),
        Revoke(person="edda", kid="edda-1", void_s=NOW_S),
    ],
    ids=["appointment", "end", "key", "revocation"],
)
def test_nobody_approves_what_concerns_him(action: Any) -> None:
    refused(Check.ROSTER_APPROVAL, lambda: changed(FOUNDED, action))
    refused(Check.ROSTER_APPROVAL, lambda: changed(FOUNDED, APPOINT, action))
    assert len(changed(FOUNDED, action, by=("egon", "elsa")).lines) == 2


def test_recovery_takes_two_others() -> None:
    """Edda's key is lost: two others void it and enrol the next. The lost one approves nothing any more."""
    again = f.key_of("edda", private(7), kid="edda-2")
    held = changed(
        FOUNDED,
        Revoke(person="edda", kid="edda-1", void_s=NOW_S),
        Enroll(person="edda", key=again),
        by=("egon", "elsa"),
    )
    assert held.keys["edda-1"].not_after_s == NOW_S
    refused(Check.KEY_DATES, lambda: changed(held, APPOINT))
    octets = f.change(held, APPOINT)
    both = [jws.sign_octets(octets, roster.TYP, "edda-2", private(7)),
            jws.sign_octets(octets, roster.TYP, "egon-1", f.seed("egon"))]  # fmt: skip
    assert held.extended([roster.line(both)]).role_at("otto", NOW_S) is Role.OFFICER


def test_who_left_approves_nothing() -> None:
    held = changed(FOUNDED, End(person="edda", role=Role.EXECUTIVE, at_s=NOW_S), by=("egon", "elsa"))
    refused(Check.ROSTER_APPROVAL, lambda: changed(held, APPOINT))
    refused(Check.ROSTER_DATES, lambda: changed(held, APPOINT, issued_s=NOW_S - 1))


def test_approvals_of_different_texts() -> None:
    texts = [f.change(FOUNDED, APPOINT, nonce=nonce * 16) for nonce in ("0a", "0b")]
    both = [
        jws.sign_octets(text, roster.TYP, f"{p}-1", f.seed(p)) for text, p in zip(texts, ("edda", "egon"), strict=True)
    ]
    refused(Check.ROSTER_APPROVAL, lambda: FOUNDED.extended([roster.line(both)]))


def test_an_approval_is_no_other_signature() -> None:
    octets = f.change(FOUNDED, APPOINT)
    both = [jws.sign_octets(octets, "mediation-command", f"{p}-1", f.seed(p)) for p in ("edda", "egon")]
    refused(Check.TOKEN_TYPE, lambda: FOUNDED.extended([roster.line(both)]))
    forged = [jws.sign_octets(octets, roster.TYP, f"{p}-1", private(8)) for p in ("edda", "egon")]
    refused(Check.SIGNATURE, lambda: FOUNDED.extended([roster.line(forged)]))


# --- the chain --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"number": 2},
        {"number": 0},
        {"previous": "ab" * 32},
        {"previous": ""},
        {"site": "another/ledger"},
        {"nonce": ""},
    ],
)
def test_a_change_that_does_not_follow(changes: dict[str, Any]) -> None:
    refused(Check.ROSTER, lambda: changed(FOUNDED, APPOINT, **changes))


def test_a_change_that_does_nothing_or_too_much() -> None:
    refused(Check.ROSTER, lambda: changed(FOUNDED))
    refused(Check.ROSTER, lambda: changed(FOUNDED, *[SMALL] * (roster.MAX_ACTIONS + 1)))


def test_another_spelling_of_a_line() -> None:
    line = f.approved(f.change(FOUNDED, APPOINT), "edda", "egon")
    for text in (line.replace(":", ": "), line + " ", "{}", "", "[]", '{"approvals":[]}'):
        with pytest.raises(AuthorizationError, match="roster"):
            FOUNDED.extended([text])


def test_what_continues_and_what_does_not() -> None:
    one = changed(FOUNDED, APPOINT)
    two = changed(one, End(person="otto", role=Role.OFFICER, at_s=NOW_S + 50))
    other = changed(FOUNDED, APPOINT, by=("egon", "elsa"))
    assert FOUNDED.continued(two.lines).lines == two.lines == two.continued(two.lines).lines
    for held, lines in ((two, one.lines), (one, other.lines), (one, ()), (two, (*one.lines, one.lines[1]))):
        refused(Check.ROSTER, lambda held=held, lines=lines: held.continued(lines))
    assert (len(one.lines), len(two.lines)) == (2, 3)  # a refusal changes nothing


def test_every_edit_of_a_line_is_found() -> None:
    """Any octet of any line: the chain, a signature or the pin finds it."""
    lines = changed(changed(FOUNDED, APPOINT), End(person="otto", role=Role.OFFICER, at_s=NOW_S + 50)).lines
    for number, line in enumerate(lines):
        for at in range(0, len(line), 97):
            edited = [*lines]
            edited[number] = line[:at] + ("B" if line[at] != "B" else "C") + line[at + 1 :]
            with pytest.raises(AuthorizationError):
                Roster.replay(edited, roster.digest(lines[0]), SITE, lab=False)


# --- what a change may do ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.OFFICER])
def test_no_second_role_at_any_instant(role: Role) -> None:
    held = changed(FOUNDED, End(person="olga", role=Role.OFFICER, at_s=5_000))
    for dates in (
        {"from_s": 4_999, "to_s": 6_000},
        {"from_s": NOW_S, "to_s": NOW_S + 1},
        {"from_s": NOW_S, "to_s": 9_000},
    ):
        refused(Check.ROSTER_ROLES, lambda dates=dates: changed(held, f.appointment("olga", role, **dates)))
    assert changed(held, f.appointment("olga", role, from_s=5_000)).role_at("olga", 5_000) is role
    assert held.role_at("olga", 4_999) is Role.OFFICER


def test_two_roles_in_one_change() -> None:
    refused(Check.ROSTER_ROLES, lambda: changed(FOUNDED, APPOINT, f.appointment("otto", Role.LEGAL, from_s=NOW_S)))


def webauthn(person: str, credential: str, seed: int) -> Enroll:
    key = f.key_of(
        person, private(seed), form="webauthn-ed25519", credential=credential, rp_id="x.invalid", kid=f"w{seed}"
    )
    return Enroll(person=person, key=key)


@pytest.mark.parametrize(
    "enroll",
    [
        Enroll(person="otto", key=f.key_of("otto", private(3))),
        Enroll(person="otto", key=f.key_of("otto", private(7), kid="olga-1")),
        Enroll(person="olga", key=f.key_of("olga", private(3), kid="olga-2")),
        webauthn("otto", "aa" * 16, 12),
    ],
    ids=["another's public key", "another's name of a key", "his own key again", "another's security key"],
)
def test_one_authenticator_is_one_persons(enroll: Enroll) -> None:
    """The same human with two accounts shows by what he signs with."""
    held = changed(FOUNDED, webauthn("olga", "aa" * 16, 11))
    refused(Check.ROSTER_KEYS, lambda: changed(held, enroll))
    ended = changed(
        held, Revoke(person="olga", kid="olga-1", void_s=NOW_S), Revoke(person="olga", kid="w11", void_s=NOW_S)
    )
    refused(Check.ROSTER_KEYS, lambda: changed(ended, enroll))


def test_a_key_counts_from_its_enrolment() -> None:
    held = changed(FOUNDED, Enroll(person="olga", key=f.key_of("olga", private(7), kid="olga-2")))
    assert held.keys["olga-2"].not_before_s == NOW_S - roster.SKEW_S


def test_keys_that_cannot_be() -> None:
    key = f.key_of("otto", private(7))
    for changes in (
        {"public": "00"}, {"form": "rsa"}, {"form": "es256"}, {"person": "Otto"}, {"kid": "../x"}, {"rp_id": "x"},
        {"form": "webauthn-ed25519"}, {"held": ((0, 1),)}, {"form": "es256", "public": "04" + "11" * 64},
    ):  # fmt: skip
        bad = msgspec.structs.replace(key, **changes)
        refused(Check.ROSTER, lambda bad=bad: changed(FOUNDED, Enroll(person="otto", key=bad)))
    refused(Check.ROSTER, lambda: changed(FOUNDED, Enroll(person="olga", key=key)))
    lab = msgspec.structs.replace(key, lab=True)
    refused(Check.LAB_KEY, lambda: changed(FOUNDED, Enroll(person="otto", key=lab)))
    old = msgspec.structs.replace(key, not_after_s=NOW_S - 100)
    refused(Check.ROSTER_DATES, lambda: changed(FOUNDED, Enroll(person="otto", key=old)))
    many = [
        Enroll(person="otto", key=f.key_of("otto", private(20 + n), kid=f"k{n}")) for n in range(roster.MAX_KEYS + 1)
    ]
    assert len(changed(FOUNDED, *many[:-1]).keys) == 4 + roster.MAX_KEYS
    refused(Check.ROSTER_KEYS, lambda: changed(FOUNDED, *many))


def test_what_was_void_stays_void() -> None:
    held = changed(FOUNDED, Revoke(person="olga", kid="olga-1", void_s=NOW_S))
    refused(Check.ROSTER_DATES, lambda: changed(held, Revoke(person="olga", kid="olga-1", void_s=NOW_S + 1)))
    refused(Check.ROSTER_KEYS, lambda: changed(held, Revoke(person="otto", kid="olga-1", void_s=0)))
    assert changed(held, Revoke(person="olga", kid="olga-1", void_s=1)).keys["olga-1"].not_after_s == 1


def test_dates_of_appointments() -> None:
    for dates in ({"from_s": NOW_S - 61}, {"from_s": 5_000, "to_s": 5_000}, {"from_s": NOW_S, "to_s": 1 << 40}):
        refused(Check.ROSTER_DATES, lambda dates=dates: changed(FOUNDED, f.appointment("otto", Role.OFFICER, **dates)))
    refused(Check.ROSTER_DATES, lambda: changed(FOUNDED, End(person="olga", role=Role.LEGAL, at_s=NOW_S)))
    refused(Check.ROSTER_DATES, lambda: changed(FOUNDED, End(person="olga", role=Role.OFFICER, at_s=f.TO_S)))
    for words in ({"name": " "}, {"function": ""}, {"name": "a\nb"}, {"name": "O\u200btto"}, {"document_sha256": ""}):
        refused(
            Check.ROSTER,
            lambda words=words: changed(FOUNDED, f.appointment("otto", Role.OFFICER, from_s=NOW_S, **words)),
        )


# --- contacts (SEC-30) ------------------------------------------------------------------------------------------------


def test_a_new_contact_waits_a_day() -> None:
    def contact(**changes: Any) -> Contact:
        return Contact(**{"agency": "FBI", "number": "+12025550100", "from_s": NOW_S + 86_400, **changes})

    held = changed(FOUNDED, contact())
    assert held.contact("FBI", NOW_S + 86_399) is None
    assert held.contact("FBI", NOW_S + 86_400) == contact() and held.contact("DEA", NOW_S + 86_400) is None
    refused(Check.ROSTER_DATES, lambda: changed(FOUNDED, contact(from_s=NOW_S + 86_399)))
    for changes in ({"agency": "*"}, {"agency": "../x"}, {"number": "911"}, {"number": "+0123456789"}):
        refused(Check.ROSTER, lambda changes=changes: changed(FOUNDED, contact(**changes)))
    ended = changed(held, EndContact(agency="FBI", at_s=NOW_S + 90_000))
    assert ended.contact("FBI", NOW_S + 89_999) and not ended.contact("FBI", NOW_S + 90_000)
    refused(Check.ROSTER_DATES, lambda: changed(ended, EndContact(agency="FBI", at_s=NOW_S + 90_000)))
    refused(Check.ROSTER_DATES, lambda: changed(ended, EndContact(agency="DEA", at_s=NOW_S)))
