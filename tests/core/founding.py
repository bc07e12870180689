"""A roster for tests: three executives found a site and appoint whoever is given, each with his keys."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mediation.core.authority import jws, roster
from mediation.core.authority.key import Key
from mediation.core.authority.roster import Appoint, Change, Contact, Enroll, Roster
from mediation.core.authority.trust import Trust
from mediation.core.case import Role
from tests.core import authority

AGENCIES = ("AGENCY", "ELSEWHERE")  # those that the tests deliver to
FROM_S, TO_S = 0, 1 << 33
DOCUMENT = "0d" * 32
EXECUTIVES = ("edda", "egon", "elsa")


def seed(person: str) -> Ed25519PrivateKey:
    """An executive's key, which no other test person has."""
    return Ed25519PrivateKey.from_private_bytes(person.encode().ljust(32, b"\xee"))


def key_of(person: str, private: Ed25519PrivateKey, **changes: Any) -> Key:
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    facts = {"kid": f"{person}-1", "not_before_s": FROM_S, "not_after_s": TO_S, **changes}
    return Key(person=person, public=public, **facts)


def appointment(person: str, role: Role, **changes: Any) -> Appoint:
    facts = {
        "name": person.title(), "function": f"the {role}", "from_s": FROM_S, "to_s": TO_S,
        "document_sha256": DOCUMENT, "senior": False, **changes,
    }  # fmt: skip
    return Appoint(person=person, role=role, **facts)


def change(held: Roster, *actions: Any, **changes: Any) -> bytes:
    """The octets to be signed for the change that follows `held`."""
    facts = {
        "number": len(held.lines), "previous": held.head, "site": held.site, "issued_s": 1_000, "actions": actions,
        "nonce": "0e" * 16, "lab": held.lab, **changes,
    }  # fmt: skip
    return msgspec.json.encode(Change(**facts))


def approved(octets: bytes, *persons: str) -> str:
    """A line, approved by these executives."""
    return roster.line(jws.sign_octets(octets, roster.TYP, f"{person}-1", seed(person)) for person in persons)


def founders(*, lab: bool = False) -> list[Any]:
    """The actions that every founding here begins with; the first executive is the senior officer."""
    actions: list[Any] = []
    for person in EXECUTIVES:
        actions.append(appointment(person, Role.EXECUTIVE, senior=person == EXECUTIVES[0]))
        actions.append(Enroll(person=person, key=key_of(person, seed(person), lab=lab)))
    return actions


def founded(keys: Iterable[tuple[Role, Key]], site: str, *, lab: bool = False, issued_s: int = 1) -> str:
    """The founding line. Raises AuthorizationError for what no roster can hold."""
    actions = founders(lab=lab)
    for role, key in keys:
        if role is not Role.EXECUTIVE:
            actions += [appointment(key.person, role), Enroll(person=key.person, key=key)]
    for agency in AGENCIES:
        actions.append(Contact(agency=agency, number="+12125550199", from_s=FROM_S))
    empty = Roster(site, lab=lab)
    text = approved(change(empty, *actions, issued_s=issued_s), *EXECUTIVES)
    Roster.replay([text], roster.digest(text), site, lab=lab)
    return text


def of_trust(trust: Trust) -> tuple[str, ...]:
    """The roster of a trust, or a founding that appoints the persons of its rings. Raises AuthorizationError if none
    can."""
    if trust.roster.lines:
        return trust.roster.lines
    keys = [(role, key) for role, ring in trust.rings.items() for key in ring.values()]
    return (founded(keys, trust.ledger.name, lab=trust.lab),)


def write(folder: Path, *lines: str) -> None:
    """keys/roster.jsonl, keys/founding, and keys/witness.policy with the tests' witness."""
    (folder / "roster.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (folder / "founding").write_text(f"{roster.digest(lines[0])}\n")
    (folder / "witness.policy").write_text(authority.POLICY)
    for name in ("roster.jsonl", "founding", "witness.policy"):
        (folder / name).chmod(0o644)
