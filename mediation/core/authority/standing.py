"""Whether what was admitted still stands, after a change of persons, roles and keys, or the withdrawal of a token.

A function that has admitted a task keeps by whose signatures it stands (`case.Standing`), not its texts: the access
function must not remember a case. This module judges that memory by a later `Trust`: exactly what `authorization.admit`
would now say of the signers, their dates and the tokens. It can end a task and begin none (SEC-16).
"""

from __future__ import annotations

from mediation.core.authority import authorization, jws, particulars
from mediation.core.authority.trust import Trust
from mediation.core.case import Revocation, Role, Standing
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError


def revoked_token(text: str, trust: Trust) -> str:
    """The SHA-256 of the token that a revocation withdraws, whoever brings it. Raises AuthorizationError.

    It is signed by a legal reviewer or a carrier authorizer; which of the two the token is of shows where an order
    carries it, and stopping is the safe side of that doubt.
    """
    role = Role.CARRIER if jws.split(text).header.kid in trust.rings.get(Role.CARRIER, {}) else Role.LEGAL
    revocation, _ = authorization.signed(text, Revocation, role, trust)
    if revocation.lab is not trust.lab:
        raise AuthorizationError(Check.LAB_TOKEN)
    if not particulars.SHA256.fullmatch(revocation.token_sha256):
        raise AuthorizationError(Check.REVOCATION)
    return revocation.token_sha256


def check(standing: Standing, trust: Trust) -> None:
    """Whether an admitted task still stands after a change of the roster or a withdrawal, without its texts.

    Raises AuthorizationError: what `admit` would now raise of its signers, their dates or its tokens.
    """
    if not trust.revoked.isdisjoint(standing.tokens):
        raise AuthorizationError(Check.REVOKED)
    for role, kid, issued_s, entered_s in standing.signers:
        authorization.check_key_dates(trust.key(role, kid), issued_s, entered_s)
    if standing.signers:
        authorization.check_senior_officer(trust, standing.signers[0][3])
