"""What persons sign about the carrier's records, and the guards that all of it has in common.

Answers for who signed (a key of one of the roles that may, of this kind of site), for a nonce that is one, and for a
signature that is not older than a week when it comes in. What the text itself must say is asked where it belongs: plan,
contact, modification, retention, certificate, statement. It reads no clock and stores nothing.

Times are whole UTC seconds since 1970 (`*_s`); `now_ns` is nanoseconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeVar

from mediation.core.authority import jws
from mediation.core.authority.authorization import check_key_dates
from mediation.core.authority.key import Key
from mediation.core.authority.particulars import NONCE
from mediation.core.authority.term import DAY_S
from mediation.core.authority.trust import Trust
from mediation.core.case import Role, Signed
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from mediation.core.units import NS

LIFE_S: Final = 7 * DAY_S  # between the first and the last signature of two persons (ours)
RECORDERS: Final = (Role.OFFICER, Role.EXECUTIVE)


class Recorded(Signed, frozen=True, kw_only=True):
    """What one of RECORDERS signs so that it is entered."""

    issued_s: int
    nonce: str
    lab: bool = False


R = TypeVar("R", bound=Recorded)


def key_of(kid: str, roles: tuple[Role, ...], trust: Trust) -> tuple[Role, Key]:
    """The first of `roles` that has this key, and the key. Raises AuthorizationError."""
    role = next((each for each in roles if kid in trust.rings.get(each, {})), roles[0])
    return role, trust.key(role, kid)


def signer(parts: jws.Parts, roles: tuple[Role, ...], trust: Trust) -> Key:
    """The key, of one of `roles`, that signed. Raises AuthorizationError."""
    _, key = key_of(parts.header.kid, roles, trust)
    trust.verify(parts, key)
    if key.lab is not trust.lab:
        raise AuthorizationError(Check.LAB_KEY)
    return key


def check_made_here(nonce: str, lab: bool, trust: Trust) -> None:
    """That it was made for this kind of site, and once. Raises AuthorizationError."""
    if lab is not trust.lab:
        raise AuthorizationError(Check.LAB_TOKEN)
    if not NONCE.fullmatch(nonce):
        raise AuthorizationError(Check.STRUCTURE, "nonce")


def check_lately(keys: Iterable[Key], issued_s: int, now_ns: int) -> None:
    """That each key was valid then, and that it was within LIFE_S. Raises AuthorizationError."""
    for key in keys:
        check_key_dates(key, issued_s, now_ns // NS)
    if now_ns // NS - issued_s > LIFE_S:
        raise AuthorizationError(Check.COMMAND_DATES)


def examine(text: str, typ: str, kind: type[R], trust: Trust, now_ns: int) -> tuple[R, Key]:
    """What one of RECORDERS signed lately, and with which key. Raises AuthorizationError."""
    parts = jws.split(text)
    if parts.header.typ != typ:
        raise AuthorizationError(Check.TOKEN_TYPE)
    key = signer(parts, RECORDERS, trust)
    said = jws.decode(parts.payload, kind)
    check_made_here(said.nonce, said.lab, trust)
    check_lately([key], said.issued_s, now_ns)
    return said, key
