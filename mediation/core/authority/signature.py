"""Who signed: the form of a signed object, the key of its role, and whether the key was good at the time.

Answers for one compact JWS (RFC 7515; alg "Ed25519", RFC 9864) being of its kind and of a person of its role, and for
signers being distinct persons with distinct keys and single roles (SEC-16). What the object says is judged by
`particulars`, what it gives by `authorization`. Raises AuthorizationError with the name of a check.
"""

from __future__ import annotations

from typing import TypeVar

from mediation.core.authority import jws
from mediation.core.authority.trust import Key, Trust
from mediation.core.case import (
    AgencyRevocation,
    CallBack,
    CarrierExtension,
    CarrierToken,
    Command,
    LegalExtension,
    LegalToken,
    Revocation,
    Role,
)
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError

CLOCK_SKEW_S = 60  # how far the clock of a person's signing tool may run ahead of the ledger's (ours)
TYP = {
    LegalToken: "mediation-legal",
    CarrierToken: "mediation-carrier",
    Command: "mediation-command",
    Revocation: "mediation-revocation",
    LegalExtension: "mediation-legal-extension",
    CarrierExtension: "mediation-carrier-extension",
    CallBack: "mediation-call-back",
    AgencyRevocation: "mediation-agency-revocation",
}


T = TypeVar(
    "T", LegalToken, CarrierToken, Command, Revocation, LegalExtension, CarrierExtension, CallBack, AgencyRevocation
)


def signed(text: str, kind: type[T], role: Role, trust: Trust) -> tuple[T, Key]:
    """The payload of a signed object of `kind`, and the key of `role` that signed it."""
    return opened(text, kind, role, trust)[:2]


def opened(text: str, kind: type[T], role: Role, trust: Trust) -> tuple[T, Key, str]:
    """The same, and the SHA-256 by which others name the text (`jws.sha256_hex`)."""
    parts = trust.split(text, kind)
    if parts.header.typ != TYP[kind]:
        raise AuthorizationError(Check.TOKEN_TYPE)
    key = trust.key(role, parts.header.kid)
    trust.verify(parts, key)
    if key.lab is not trust.lab:
        raise AuthorizationError(Check.LAB_KEY)
    return jws.content(parts, kind), key, parts.sha256.hex()


def distinct(*keys: Key) -> None:
    """Each signature by another key and by another person."""
    if len({key.public for key in keys}) != len(keys):
        raise AuthorizationError(Check.DISTINCT_KEYS)
    if len({key.person for key in keys}) != len(keys):
        raise AuthorizationError(Check.DISTINCT_PERSONS)


def single_role(trust: Trust, *keys: Key) -> None:
    """Nobody who signs holds a second role, whether he uses it here or not (SEC-16)."""
    if any(key.person in trust.of_two_roles for key in keys):
        raise AuthorizationError(Check.DISTINCT_ROLES)


def check_key_dates(key: Key, issued_s: int, entered_s: int) -> None:
    """The key was good when it signed, and no later act can be back-dated into its life: the ledger's time counts.

    A key that lapses later does not stop a running case; a key that is taken out of its ring does.
    """
    if issued_s > entered_s + CLOCK_SKEW_S:
        raise AuthorizationError(Check.COMMAND_DATES)
    if not key.not_before_s <= issued_s < key.not_after_s or not key.not_before_s <= entered_s < key.not_after_s:
        raise AuthorizationError(Check.KEY_DATES)
    if key.held is not None:
        for from_s, to_s in key.held:
            if from_s <= issued_s < to_s and from_s <= entered_s < to_s:
                return
        for moment_s in (issued_s, entered_s):  # he may have held it twice, with a gap between
            if not any(from_s <= moment_s < to_s for from_s, to_s in key.held):
                raise AuthorizationError(Check.PERSON_DATES)
