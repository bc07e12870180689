"""How long records are kept, what holds them longer, and what is destroyed at the end (47 CFR 1.20004(b)).

The carrier decides the period and describes it in its filed policies (1.20003(b)(3)); the number here is the plan's
(core/records/plan.py). Nothing is destroyed before it has passed since the order's end and certification, before the
window of the order has ended, while a hold stands, or without two persons where the site asks for them. What is
destroyed is the key of the order's texts and the salts and records of its ledger entries; the tree keeps its
commitments and still verifies, and an entry Destroyed names the certificate of destruction by hash.

Answers for the periods and for whose signatures count. It reads no clock and destroys nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from mediation.core.authority import jws
from mediation.core.authority.key import Key
from mediation.core.authority.particulars import CASE_IDENTITY, legible
from mediation.core.authority.term import DAY_S, HOUR_S
from mediation.core.authority.trust import Trust
from mediation.core.case import Role, Signed
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from mediation.core.records import signed

HOLD_TYP: Final = "mediation-hold"
DESTRUCTION_TYP: Final = "mediation-destruction"
HOLDERS: Final = (Role.LEGAL, Role.EXECUTIVE)  # a duty to preserve is a matter of law
DESTROYERS: Final = (Role.OFFICER, Role.EXECUTIVE)
PERSONS: Final = 2
UNENABLED_S: Final = 72 * HOUR_S  # an order under which nothing was enabled is sealed so long after its end (ours)
DEFAULT_DAYS: Final = 365  # (ours; the rule names no number)
MIN_DAYS: Final = 30  # less would be no "reasonable period of time" by anybody's reading (ours)
MAX_DAYS: Final = 36_500


class Hold(Signed, frozen=True, kw_only=True):
    """The records of a case must be kept (`hold`), or need not be any longer."""

    type: Literal["hold"]
    case: str
    hold: bool
    reason: str
    issued_s: int
    nonce: str
    lab: bool = False


class Destruction(Signed, frozen=True, kw_only=True):
    """Two persons have one order's records destroyed; each signs the same octets."""

    type: Literal["destruction"]
    case: str
    xid: str
    issued_s: int
    nonce: str
    lab: bool = False


class DestructionCertificate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left of an order: that it was, until when it was kept and under which plan, and what is gone. It names no
    case and no subject. The ledger signs for it: its SHA-256 stands in an entry Destroyed."""

    type: Literal["certificate-of-destruction"]
    site: str
    xid: str
    sealed_s: int
    destroy_after_s: int
    destroyed_us: int
    retention_days: int
    plan_version: int
    plan_sha256: str
    entries: tuple[int, ...]  # of the ledger, whose records and salts are gone; the commitments stay in the tree
    certifications: tuple[str, ...]  # SHA-256 of those that were kept with it
    approvers: tuple[str, ...]  # persons who had it destroyed; none: the period had passed
    lab: bool


def encode(certificate: DestructionCertificate) -> str:
    return msgspec.json.encode(certificate).decode()


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def destroy_after_s(sealed_s: int, not_after_s: int, days: int) -> int:
    """The first second in which an order's records may be destroyed: the period counts from its sealing, and while the
    window runs its tokens must be remembered, so that what was revoked cannot be filed again."""
    return max(sealed_s, not_after_s) + days * DAY_S


def examine_hold(text: str, trust: Trust, now_ns: int) -> tuple[Hold, Key]:
    """Raises AuthorizationError."""
    parts = jws.split(text)
    if parts.header.typ != HOLD_TYP:
        raise AuthorizationError(Check.TOKEN_TYPE)
    key = signed.signer(parts, HOLDERS, trust)
    hold = jws.decode(parts.payload, Hold)
    signed.check_made_here(hold.nonce, hold.lab, trust)
    if not CASE_IDENTITY.fullmatch(hold.case):
        raise AuthorizationError(Check.CASE_IDENTITY)
    if not legible(hold.reason):
        raise AuthorizationError(Check.REASON)
    signed.check_lately([key], hold.issued_s, now_ns)
    return hold, key


def examine_destruction(texts: Sequence[str], trust: Trust, now_ns: int) -> tuple[Destruction, tuple[str, ...]]:
    """What two persons want destroyed, and who they are. Raises AuthorizationError."""
    if len(texts) != PERSONS:
        raise AuthorizationError(Check.DISTINCT_PERSONS, "two persons destroy, no more and no less")
    parts = [jws.split(text) for text in texts]
    if any(each.header.typ != DESTRUCTION_TYP for each in parts):
        raise AuthorizationError(Check.TOKEN_TYPE)
    if len({each.payload for each in parts}) != 1:
        raise AuthorizationError(Check.STRUCTURE, "not one text that both signed")
    keys = [signed.signer(each, DESTROYERS, trust) for each in parts]
    if len({key.person for key in keys}) != PERSONS:
        raise AuthorizationError(Check.DISTINCT_PERSONS)
    wanted = jws.decode(parts[0].payload, Destruction)
    signed.check_made_here(wanted.nonce, wanted.lab, trust)
    if not CASE_IDENTITY.fullmatch(wanted.case):
        raise AuthorizationError(Check.CASE_IDENTITY)
    signed.check_lately(keys, wanted.issued_s, now_ns)
    return wanted, tuple(sorted(key.person for key in keys))
