"""A mediator's house with more than one agency in its directory."""

from __future__ import annotations

from pathlib import Path

from mediation.core.authority.roster import Contact, Enroll, Roster
from mediation.core.case import Role
from tests.core import authority, founding
from tests.delivery.house import House

AGENCIES = ("AGENCY", "OTHER-AGENCY")


def known(folder: Path, agencies: tuple[str, ...] = AGENCIES) -> None:
    """Founds the site in `folder` anew, with a contact for each agency."""
    actions = founding.founders()
    for role in Role:
        if role is not Role.EXECUTIVE:
            wide = {"not_before_s": 0, "not_after_s": 1 << 33}
            key = authority.ring_key(authority.KIDS[role], authority.PERSONS[role], authority.KEYS[role], **wide)
            actions += [founding.appointment(key.person, role), Enroll(person=key.person, key=key)]
    actions += [Contact(agency=name, number="+12125550199", from_s=0) for name in agencies]
    empty = Roster(authority.ORIGIN, lab=False)
    text = founding.approved(founding.change(empty, *actions, issued_s=1), *founding.EXECUTIVES)
    founding.write(folder / "keys", text)


def house(folder: Path) -> House:
    made = House(folder)
    known(folder)
    return made
