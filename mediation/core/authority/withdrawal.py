"""Withdrawal of all authority of one agency by one signature (SEC-24), so that every function stops it by itself.

An order counts only by the contact that the roster had of its agency when it was activated
(core/authority/authorization.py `check_agency`). What is withdrawn is that standing: each contact of the agency, as a
SHA-256 beside those of withdrawn tokens, remembered where they are. So one text ends every order of the agency and
none of another; a later contact, which two executives approve and which waits a day, makes a new beginning, and the
old text says nothing of it.

It can end tasks and begin none. A legal reviewer or a carrier authorizer signs: each could withdraw, one by one, the
tokens of his role. It reads no clock; what it gives is judged by the roster that its caller believes.
"""

from __future__ import annotations

import hashlib

import msgspec

from mediation.core.authority import jws
from mediation.core.authority.key import Key
from mediation.core.authority.particulars import AGENCY, NONCE
from mediation.core.authority.roster import ANY_AGENCY, CONTACT_WAIT_S, Contact, Roster
from mediation.core.authority.signature import signed
from mediation.core.authority.trust import Trust
from mediation.core.case import AgencyRevocation, Role
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError

SIGNERS = (Role.CARRIER, Role.LEGAL)


class Withdrawal(msgspec.Struct, frozen=True, kw_only=True):
    """One that is well signed. `markers` are what it adds to what is revoked."""

    revocation: AgencyRevocation
    key: Key
    role: Role
    markers: tuple[str, ...]


def marker(agency: str, contact: Contact) -> str:
    """The standing that one contact gives the orders of an agency, SHA-256 in lower-case hex.

    The agency's name is in it besides: on a lab site one contact serves them all.
    """
    named = f"mediation agency contact\n{agency}\n{contact.agency}\n{contact.number}\n{contact.from_s}"
    return hashlib.sha256(named.encode()).hexdigest()


def markers(agency: str, issued_s: int, roster: Roster) -> tuple[str, ...]:
    """What a withdrawal of that second takes from an agency: every contact that can have been approved before it. One
    that was approved later begins a day later at the earliest (`CONTACT_WAIT_S`)."""
    return tuple(
        marker(agency, contact)
        for contact, _ in roster.contacts
        if contact.agency in (agency, ANY_AGENCY) and contact.from_s < issued_s + CONTACT_WAIT_S
    )


def role_of(kid: str, trust: Trust) -> Role:
    """In which of the two roles a key may withdraw; the legal reviewer's when it is in neither ring."""
    return next((role for role in SIGNERS if kid in trust.rings.get(role, {})), Role.LEGAL)


def examine(text: str, trust: Trust) -> Withdrawal:
    """Raises AuthorizationError; `agency-contact` for an agency that the roster does not have."""
    role = role_of(jws.split(text).header.kid, trust)
    revocation, key = signed(text, AgencyRevocation, role, trust)
    if revocation.lab is not trust.lab:
        raise AuthorizationError(Check.LAB_TOKEN)
    if not AGENCY.fullmatch(revocation.agency) or not NONCE.fullmatch(revocation.nonce):
        raise AuthorizationError(Check.PARTICULARS)
    found = markers(revocation.agency, revocation.issued_s, trust.roster)
    if not found:
        raise AuthorizationError(Check.AGENCY_CONTACT)
    return Withdrawal(revocation=revocation, key=key, role=role, markers=found)
