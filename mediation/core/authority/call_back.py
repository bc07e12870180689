"""The call-back of an emergency order: a second person called the agency at the directory's number (SEC-30).

Emergency requests by stolen police mail are why: nobody who only received the request can confirm it. Raises
AuthorizationError with the name of a check.
"""

from __future__ import annotations

from mediation.core.authority import jws
from mediation.core.authority.particulars import check_call_back
from mediation.core.authority.signature import CLOCK_SKEW_S, distinct, signed
from mediation.core.authority.trust import Key, Trust
from mediation.core.case import CallBack, LegalToken, Role
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError


def role_of(kid: str, trust: Trust) -> Role:
    """Whose role a call-back's key is looked up in: an officer's, else a carrier authorizer's."""
    return Role.OFFICER if kid in trust.rings.get(Role.OFFICER, {}) else Role.CARRIER


def examine(text: str, legal: LegalToken, legal_sha256: str, legal_key: Key, trust: Trust) -> tuple[CallBack, Key]:
    """By a second person, to the directory's number, and confirmed."""
    call_back, key = signed(text, CallBack, role_of(jws.split(text).header.kid, trust), trust)
    distinct(legal_key, key)
    if call_back.lab is not trust.lab:
        raise AuthorizationError(Check.LAB_TOKEN)
    if call_back.case != legal.case:
        raise AuthorizationError(Check.SAME_CASE)
    if call_back.legal_sha256 != legal_sha256:
        raise AuthorizationError(Check.LEGAL_BINDING)
    check_call_back(call_back)
    if call_back.agency != legal.agency or call_back.answer != "confirmed":
        raise AuthorizationError(Check.CALL_BACK)
    if not legal.issued_s - CLOCK_SKEW_S <= call_back.called_s <= call_back.issued_s:
        raise AuthorizationError(Check.CALL_BACK)
    return call_back, key


def check_number(call_back: CallBack, trust: Trust) -> None:
    """The number that was called is the one that the directory had for the agency then."""
    contact = trust.contact(call_back.agency, call_back.called_s)
    if contact is None:
        raise AuthorizationError(Check.AGENCY_CONTACT)
    if contact.number != call_back.directory_number:
        raise AuthorizationError(Check.CALL_BACK)
