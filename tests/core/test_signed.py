"""What is signed of the carrier's records: by whom, for this kind of site, lately."""

from __future__ import annotations

import pytest

from mediation.core.authority import jws
from mediation.core.case import Role
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from mediation.core.records import signed
from mediation.core.records.signed import LIFE_S, RECORDERS, Recorded
from tests.core import authority as a

TYP = "mediation-test"
OLD = (a.ring_key(a.KIDS[Role.OFFICER], a.PERSONS[Role.OFFICER], a.KEYS[Role.OFFICER], not_before_s=0),)
TRUST = a.trust(officer=OLD)
NONCE = "0a" * 16


def asked(role: Role = Role.OFFICER, *, typ: str = TYP, age_s: int = 0, nonce: str = NONCE, lab: bool = False) -> str:
    """The check that refuses such a text; empty when it is taken."""
    said = Recorded(issued_s=a.NOW_S - age_s, nonce=nonce, lab=lab)
    text = jws.sign(said, typ, a.KIDS[role], a.KEYS[role])
    try:
        found, key = signed.examine(text, TYP, Recorded, TRUST, a.NOW_NS)
    except AuthorizationError as error:
        return error.check
    assert (found, key.person) == (said, a.PERSONS[role])
    return ""


def test_a_week_and_not_a_second_more() -> None:
    assert (asked(), asked(age_s=LIFE_S), asked(age_s=LIFE_S + 1)) == ("", "", Check.COMMAND_DATES)


def test_a_key_that_was_not_valid_then() -> None:
    key = a.ring_key("k", "olga", a.KEYS[Role.OFFICER], not_before_s=a.NOW_S)
    signed.check_lately([key], a.NOW_S, a.NOW_NS)
    with pytest.raises(AuthorizationError) as refusal:
        signed.check_lately([key], a.NOW_S - 1, a.NOW_NS)
    assert refusal.value.check == Check.KEY_DATES


@pytest.mark.parametrize("role", Role)
def test_whose_word_is_taken(role: Role) -> None:
    assert asked(role) == ("" if role in RECORDERS else Check.KEY_ROLE)


def test_what_it_must_be() -> None:
    assert asked(typ="mediation-other") == Check.TOKEN_TYPE
    assert asked(lab=True) == Check.LAB_TOKEN
    assert asked(nonce="") == Check.STRUCTURE
