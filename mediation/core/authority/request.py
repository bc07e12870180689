"""Signed requests: who asks to see case data, with which key, why, and whether he may.

Answers for the envelope in which every request travels that shows or marks case data: a compact JWS (alg as in
`jws`) of typ "mediation-request" by one person of the roster, with a nonce, the time of issue, an expiry of at most a
minute and a reason (SEC-14, SEC-17, SEC-27; 47 CFR 1.20003(b)(1): appropriate authorization to enable law enforcement
and *to access* call-identifying information). It gives no authority to intercept: orders and acts carry their own
signatures, and nothing that is asked for in an envelope can arm, change or stop a tap.

To an unknown key, a wrong signature and a role that may not ask, the same work is done and the same check is named to
the outside (`outward`); the ledger's entry names the true one. It may not read a clock or remember a nonce: the time
is an argument, and `administration.gate` remembers.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Literal

import msgspec

from mediation.core.authority import authorization, jws
from mediation.core.authority.authorization import CLOCK_SKEW_S
from mediation.core.authority.key import ALGORITHMS, SIGNATURE_OCTETS, Key, Public
from mediation.core.authority.particulars import NONCE, legible
from mediation.core.authority.trust import Trust
from mediation.core.case import Role, Signed
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, RemoteProtocolError
from mediation.core.interface import control
from mediation.core.units import NS

TYP = "mediation-request"
MAX_LIFE_S = 60  # from issue to expiry (ours): a request is made by the person who is there
MEMORY_S = MAX_LIFE_S + CLOCK_SKEW_S  # after this an accepted request has expired by any clock that was accepted

# What a reason may not hold: a telephone number (seven digits and more, however grouped) or an address of a person.
IDENTITY = re.compile(r"(?:\d[ ().-]{0,2}){7,}|tel:|sips?:|@", re.IGNORECASE)

# Who may ask what. The engineer needs no key: what he may see, the status, shows no case.
READERS: Mapping[type, frozenset[Role]] = {
    control.Cases: frozenset({Role.OFFICER, Role.AUDITOR, Role.LEGAL, Role.CARRIER}),
    control.Certificates: frozenset({Role.OFFICER, Role.AUDITOR, Role.LEGAL, Role.CARRIER, Role.EXECUTIVE}),
    control.Statements: frozenset({Role.OFFICER, Role.AUDITOR, Role.EXECUTIVE}),
    control.Prove: frozenset({Role.OFFICER, Role.AUDITOR}),
    control.Export: frozenset({Role.OFFICER, Role.AUDITOR}),
    control.CommitSeed: frozenset({Role.AUDITOR}),
    control.Plant: frozenset({Role.AUDITOR}),
    control.Incidents: frozenset({Role.OFFICER, Role.AUDITOR}),
}
EVERY_CASE = frozenset({Role.OFFICER, Role.AUDITOR})  # the others see the orders that they themselves signed

# What must not tell an outsider whether a key exists, whose it is, and what its role may: all of it is `request`.
AUTHENTICATION = frozenset({
    Check.STRUCTURE, Check.ALGORITHM, Check.TOKEN_TYPE, Check.KEY_UNKNOWN, Check.KEY_ROLE, Check.SIGNATURE,
    Check.KEY_DATES, Check.LAB_KEY, Check.LAB_TOKEN, Check.DISTINCT_ROLES, Check.ASSERTION, Check.PERSON_DATES,
})  # fmt: skip
# Of an act, only what tells of keys: the rest is what a person must read to put his own mistake right.
KEYS = frozenset({Check.KEY_UNKNOWN, Check.KEY_ROLE, Check.SIGNATURE, Check.ALGORITHM, Check.ASSERTION})

# The base points of edwards25519 (RFC 8032 §5.1) and P-256 (FIPS 186-4 D.1.2.3), as keys that signed nothing: an
# unknown key costs what a known one does.
_POINTS = {
    "ed25519": "58" + "66" * 31,
    "es256": "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
}
_DECOYS = {
    form: Public.load(Key(kid="decoy", person="decoy", public=point, not_before_s=0, not_after_s=0, form=form))
    for form, point in _POINTS.items()
}


class Envelope(Signed, frozen=True, kw_only=True):
    """What the person signs. `request` is the exact text of the inquiry."""

    type: Literal["request"]
    request: str
    reason: str
    issued_s: int
    expires_s: int
    nonce: str
    lab: bool = False


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A request that its person may make now. `sha256` is over the signed octets, so that no second spelling of the
    signature makes a second request of it."""

    inquiry: control.Inquiry
    key: Key
    role: Role
    reason: str
    sha256: str
    expires_s: int

    @property
    def person(self) -> str:
        return self.key.person


def outward(check: str) -> str:
    """The check as the other side may know it."""
    return Check.REQUEST.value if check in AUTHENTICATION else check


def digest(text: str) -> str:
    """How the ledger names a request: SHA-256 over what was signed, lower-case hex."""
    return hashlib.sha256(text.rpartition(".")[0].encode()).hexdigest()


def examine(text: str, trust: Trust, now_ns: int) -> Opened:
    """The request in an envelope. Whether it was made before is for the caller to know.

    Raises AuthorizationError: one of AUTHENTICATION, `request-dates` or `reason`.
    """
    parts = jws.split(text)
    if parts.header.typ != TYP:
        raise AuthorizationError(Check.TOKEN_TYPE)
    now_s = now_ns // NS
    found = _find(trust, parts.header.kid, now_s)
    if found is None:
        _verify_decoy(parts)
        raise AuthorizationError(Check.KEY_UNKNOWN)
    role, key = found
    try:
        trust.verify(parts, key)
    except AuthorizationError as error:
        if error.check != Check.SIGNATURE:  # refused before the mathematics
            _verify_decoy(parts)
        raise
    envelope = jws.decode(parts.payload, Envelope)
    try:
        inquiry = control.decode_inquiry(envelope.request)
    except RemoteProtocolError:
        raise AuthorizationError(Check.STRUCTURE, "request") from None
    if role not in READERS[type(inquiry)]:
        raise AuthorizationError(Check.KEY_ROLE)
    authorization.single_role(trust, key)
    if key.lab is not trust.lab:
        raise AuthorizationError(Check.LAB_KEY)
    if envelope.lab is not trust.lab:
        raise AuthorizationError(Check.LAB_TOKEN)
    if not NONCE.fullmatch(envelope.nonce):
        raise AuthorizationError(Check.STRUCTURE, "nonce")
    authorization.check_key_dates(key, now_s, now_s)
    if not (
        0 < envelope.expires_s - envelope.issued_s <= MAX_LIFE_S
        and envelope.issued_s <= now_s + CLOCK_SKEW_S
        and now_s < envelope.expires_s
    ):
        raise AuthorizationError(Check.REQUEST_DATES)
    if not legible(envelope.reason) or IDENTITY.search(envelope.reason):
        raise AuthorizationError(Check.REASON)
    return Opened(
        inquiry=inquiry, key=key, role=role, reason=envelope.reason, sha256=digest(text), expires_s=envelope.expires_s
    )  # fmt: skip


def _find(trust: Trust, kid: str, now_s: int) -> tuple[Role, Key] | None:
    """The key, in the role that its person holds now; who changed roles has it in both rings."""
    found = [(role, key) for role, keys in trust.rings.items() if (key := keys.get(kid)) is not None]
    now = [(role, key) for role, key in found if key.held is None or any(a <= now_s < b for a, b in key.held)]
    return next(iter(now or found), None)


def _verify_decoy(parts: jws.Parts) -> None:
    """The mathematics of the algorithm that the header names; a security key's is that of its signature."""
    form = "es256" if parts.header.alg.endswith(ALGORITHMS["es256"]) else "ed25519"
    signature = parts.signature[-SIGNATURE_OCTETS:].rjust(SIGNATURE_OCTETS, b"\0")
    try:
        _DECOYS[form].verify(ALGORITHMS[form], signature, parts.signed)
    except AuthorizationError:
        return
