"""Signed requests of a lab site's persons, made as a hostile or an honest tool could make them."""

from __future__ import annotations

import secrets
from typing import Any

from mediation.administration import lab
from mediation.administration.keys import PersonKey, new_person
from mediation.core import control, jws, request
from mediation.core.case import Role
from mediation.core.control import Inquiry, Signed
from mediation.runtime.config import Site


def envelope(person: PersonKey, inquiry: Inquiry | str, now_s: int, **changes: Any) -> str:
    text = inquiry if isinstance(inquiry, str) else control.encode(inquiry).decode().rstrip("\n")
    facts: dict[str, Any] = {
        "type": "request", "request": text, "reason": "a test", "issued_s": now_s, "expires_s": now_s + 60,
        "nonce": secrets.token_hex(16), "lab": True,
    }  # fmt: skip
    typ = changes.pop("typ", request.TYP)
    return jws.sign(request.Envelope(**{**facts, **changes}), typ, person.kid, person.key())


def signed(site: Site, role: Role, inquiry: Inquiry | str, now_s: int, **changes: Any) -> Signed:
    return Signed(envelope=envelope(lab.person(site, role), inquiry, now_s, **changes))


def stranger(now_s: int) -> PersonKey:
    """A key that stands in no ring."""
    return new_person(Role.OFFICER, "somebody", now_s, lab=True)
