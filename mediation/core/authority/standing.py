"""Whether what was admitted still stands, after a change of persons, roles and keys, or the withdrawal of a token.

A function that has admitted a task keeps by whose signatures it stands (`case.Standing`), not its texts: the access
function must not remember a case. This module judges that memory by a later `Trust`: exactly what `authorization.admit`
would now say of the signers, their dates and the tokens. It can end a task and begin none (SEC-16).
"""

from __future__ import annotations

from mediation.core.authority import authorization, jws, particulars, withdrawal
from mediation.core.authority.signature import TYP
from mediation.core.authority.trust import Trust
from mediation.core.case import AgencyRevocation, Revocation, Standing
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError


def revoked_tokens(text: str, trust: Trust) -> tuple[str, ...]:
    """The SHA-256 of what a revocation withdraws, whoever brings it: of one token, or of all that an agency's orders
    stand by (core/authority/withdrawal.py). Raises AuthorizationError.

    It is signed by a legal reviewer or a carrier authorizer; which of the two the token is of shows where an order
    carries it, and stopping is the safe side of that doubt.
    """
    header = jws.split(text).header
    if header.typ == TYP[AgencyRevocation]:
        return withdrawal.examine(text, trust).markers
    role = withdrawal.role_of(header.kid, trust)
    revocation, _ = authorization.signed(text, Revocation, role, trust)
    if revocation.lab is not trust.lab:
        raise AuthorizationError(Check.LAB_TOKEN)
    if not particulars.SHA256.fullmatch(revocation.token_sha256):
        raise AuthorizationError(Check.REVOCATION)
    return (revocation.token_sha256,)


def check(standing: Standing, trust: Trust) -> None:
    """Whether an admitted task still stands after a change of the roster or a withdrawal, without its texts.

    Raises AuthorizationError: what `admit` would now raise of its signers, their dates, its tokens or its agency's
    contact (but for a lab's one contact of any agency, which says nothing of the agency that a task is for).
    """
    if not trust.revoked.isdisjoint(standing.tokens):
        raise AuthorizationError(Check.REVOKED)
    for role, kid, issued_s, entered_s in standing.signers:
        authorization.check_key_dates(trust.key(role, kid), issued_s, entered_s)
    if standing.signers:
        begun_s = standing.signers[0][3]
        authorization.check_senior_officer(trust, begun_s)
        ended = (contact for contact, end_s in trust.roster.contacts if end_s <= begun_s)
        if any(withdrawal.marker(contact.agency, contact) in standing.tokens for contact in ended):
            raise AuthorizationError(Check.AGENCY_CONTACT)  # its contact has ended before it began
