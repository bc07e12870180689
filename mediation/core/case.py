"""An order, what stands in its tokens, and the task that comes of them.

Every struct that a person signs is here, with the exact JSON fields; `authorization` decides, nothing here does.
Signed objects are compact JWS (alg "Ed25519", RFC 9864), one signature each; what is signed and hashed is the stored
text, never a re-serialisation (47 CFR 1.20003(a), 1.20004(a)).

Times in tokens are whole UTC seconds since 1970 (`*_s`); times inside the daemon are nanoseconds (`*_ns`).
"""

from __future__ import annotations

import enum
from typing import Literal

import msgspec


class Authority(enum.StrEnum):
    """Type of the legal authorization, 47 CFR 1.20004(a)(1)(v)."""

    PEN_REGISTER = "pen-register"
    TRAP_AND_TRACE = "trap-and-trace"
    TITLE_III = "title3"
    FISA = "fisa"


class Capability(enum.StrEnum):
    CALL_DATA = "call-data"
    CONTENT = "content"
    DIGITS = "digits"
    LOCATION = "location"


class Role(enum.StrEnum):
    """Roles of persons; nobody holds two (SEC-16)."""

    LEGAL = "legal"  # the legal reviewer, who attests the court's paper
    CARRIER = "carrier"  # the carrier authorizer
    OFFICER = "officer"  # the officer or employee whose affirmative act activates
    AUDITOR = "auditor"
    EXECUTIVE = "executive"  # approves changes of persons, roles and keys, with a second one; no part in any order


class Signed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the signed payloads: unknown fields are refused, values are immutable."""


class ContentDestination(Signed, frozen=True, kw_only=True):
    """Where content goes; the agency procured `maximum` channels (47 USC 1002(a)(3))."""

    host: str
    port: int
    form: Literal["cc-apdu", "packetcable"] = "cc-apdu"  # over mutual TLS to the same certificate, or UDP
    channels: Literal["combined", "separated"] = "separated"
    maximum: int = 32  # calls whose content is delivered at once


class Destination(Signed, frozen=True, kw_only=True):
    """Where the agency takes delivery; it stands in the signed order and nowhere else (SEC-12)."""

    host: str
    port: int
    certificate_sha256: str  # of the collection function's certificate (DER), lower-case hex
    content: ContentDestination | None = None  # for an order with Capability.CONTENT


class LegalToken(Signed, frozen=True, kw_only=True):
    """What the legal reviewer attests: the order itself."""

    type: Literal["legal"]
    case: str  # case identity, VisibleString SIZE(1..25)
    authority: Authority
    agency: str
    subjects: tuple[str, ...]  # tel: and sip: URIs; sip:*@host for a trunk group
    not_before_s: int
    not_after_s: int
    capabilities: tuple[Capability, ...]
    destination: Destination
    profile: Literal["t1678", "pcesp"]
    court: str
    judge: str
    presenting_officer: str
    document_sha256: str
    issued_s: int
    nonce: str
    lab: bool = False


class CarrierToken(Signed, frozen=True, kw_only=True):
    """What the carrier authorizer adds; it binds the legal token by hash."""

    type: Literal["carrier"]
    case: str
    legal_sha256: str  # of the legal token's compact text
    policy_sha256: str  # of the policies and procedures in force (1.20003(b))
    iaps: tuple[str, ...]  # names of the intercept access points it is limited to; empty: all of the site
    issued_s: int
    nonce: str
    lab: bool = False


class Act(enum.StrEnum):
    ACTIVATE = "activate"
    DEACTIVATE = "deactivate"
    DDE = "dde"  # dialed digit extraction on or off


class Command(Signed, frozen=True, kw_only=True):
    """An officer's signed act on one order."""

    type: Literal["command"]
    act: Act
    case: str
    carrier_sha256: str  # of the carrier token's compact text: this order and no other
    sequence: int  # strictly increasing per order, from 1; a repeat is refused (SEC-27)
    dde: bool  # state of dialed digit extraction after this act
    issued_s: int
    expires_s: int  # latest moment of acceptance into the ledger
    nonce: str
    lab: bool = False


class Revocation(Signed, frozen=True, kw_only=True):
    """The maker of a token withdraws it: signed by the same person, or another of the same role."""

    type: Literal["revocation"]
    case: str
    token_sha256: str  # of the legal or the carrier token
    reason: str
    issued_s: int
    nonce: str
    lab: bool = False


class Proof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """That an act stands in the ledger: the entry's record, its salt, and the path to a signed checkpoint."""

    index: int
    record: str  # the stored record, exact text
    salt: str  # hex
    path: tuple[str, ...]  # RFC 6962 inclusion path, hex
    checkpoint: str  # C2SP tlog-checkpoint, a signed note


class TaskRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a function needs to decide for itself whether a task has authority.

    `commands` are the officer's acts in order of sequence, the activation first; `proofs` one for each of them.
    """

    legal: str
    carrier: str
    commands: tuple[str, ...]
    proofs: tuple[Proof, ...]


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """By whose signatures a task stands, and when they counted: what a later change of the roster is judged against.
    Nothing of the case. `signers`: role, kid, second of issue, second of entry; the legal reviewer first."""

    tokens: tuple[str, ...] = ()  # SHA-256 of each token, whose withdrawal ends the task
    signers: tuple[tuple[Role, str, int, int], ...] = ()


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What `authorization.admit` makes of a TaskRequest that passed every check."""

    xid: bytes  # 16 octets, from the carrier token's hash
    case: str
    agency: str
    authority: Authority
    subjects: tuple[str, ...]
    iaps: tuple[str, ...]
    not_before_ns: int
    not_after_ns: int
    capabilities: frozenset[Capability]
    destination: Destination
    profile: str
    dde: bool  # and Capability.DIGITS is in capabilities
    sequence: int  # of the last command seen
    lab: bool
    standing: Standing = Standing()


class State(enum.StrEnum):
    """Where an order stands in its life."""

    FILED = "filed"  # both tokens stand in the ledger; nobody has activated it
    WAITING = "waiting"  # activated; its window has not begun
    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"
    DEACTIVATED = "deactivated"


class Event(enum.StrEnum):
    """What moves an order from one state to another."""

    ACTIVATE = "activate"  # the officer's first act
    BEGIN = "begin"  # the window begins
    DEACTIVATE = "deactivate"  # the officer's last act
    REVOKE = "revoke"  # a token is withdrawn
    END = "end"  # the window ends


# The life of an order. A pair that is not here does not happen: what has ended never lives again.
LIFE: dict[tuple[State, Event], State] = {
    (State.FILED, Event.ACTIVATE): State.WAITING,
    (State.FILED, Event.REVOKE): State.REVOKED,
    (State.FILED, Event.END): State.EXPIRED,
    (State.WAITING, Event.BEGIN): State.ACTIVE,
    (State.WAITING, Event.DEACTIVATE): State.DEACTIVATED,
    (State.WAITING, Event.REVOKE): State.REVOKED,
    (State.WAITING, Event.END): State.EXPIRED,
    (State.ACTIVE, Event.DEACTIVATE): State.DEACTIVATED,
    (State.ACTIVE, Event.REVOKE): State.REVOKED,
    (State.ACTIVE, Event.END): State.EXPIRED,
}
LIVE = frozenset({State.WAITING, State.ACTIVE})
ENDED = frozenset({State.EXPIRED, State.REVOKED, State.DEACTIVATED})
