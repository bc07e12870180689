"""An order, what stands in its tokens, and the task that comes of them.

Every struct that a person signs of an order is here, with the exact JSON fields; `authorization` decides, nothing here
does. What persons sign of the carrier's records is in core/records, of each other in core/authority/roster.py.
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
    # Without an order for now; each runs at most as core/authority/term.py says, and needs a call-back (SEC-30).
    EMERGENCY_PEN_REGISTER = "emergency-pen-register"
    EMERGENCY_TRAP_AND_TRACE = "emergency-trap-and-trace"
    EMERGENCY_TITLE_III = "emergency-title3"
    EMERGENCY_FISA = "emergency-fisa"

    @property
    def emergency(self) -> bool:
        return self.value.startswith(_EMERGENCY)

    @property
    def ordinary(self) -> Authority:
        """The type whose rules on what may be seen hold; its own, but for an emergency."""
        return Authority(self.value.removeprefix(_EMERGENCY))


_EMERGENCY = "emergency-"


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
    term_days: int = 0  # of a FISA order: the period of 50 USC 1805(d) that it states; 0: the shortest


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
    EXTEND = "extend"  # the order runs longer, by an extension that both have signed
    SUSPEND = "suspend"
    RESUME = "resume"


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
    extension_sha256: str = ""  # of an extension's carrier token; only of an act "extend"


class LegalExtension(Signed, frozen=True, kw_only=True):
    """What the legal reviewer attests of a court's extension. Nothing but the end changes by it."""

    type: Literal["legal-extension"]
    case: str
    legal_sha256: str  # of the order's legal token
    previous_sha256: str  # of the legal extension before this one; empty for the first
    not_after_s: int  # the new end
    court: str
    judge: str
    document_sha256: str
    issued_s: int
    nonce: str
    lab: bool = False


class CarrierExtension(Signed, frozen=True, kw_only=True):
    """The carrier authorizer's approval of an extension."""

    type: Literal["carrier-extension"]
    case: str
    carrier_sha256: str  # of the order's carrier token
    extension_sha256: str  # of the legal extension's compact text
    policy_sha256: str
    issued_s: int
    nonce: str
    lab: bool = False


class CallBack(Signed, frozen=True, kw_only=True):
    """A second person called the agency back at the directory's number, before an emergency order (SEC-30)."""

    type: Literal["call-back"]
    case: str
    legal_sha256: str  # of the legal token that was read out
    agency: str  # as in the directory
    directory_number: str  # that was dialed
    called_s: int
    answered_by: str  # who answered for the agency
    answer: Literal["confirmed", "denied"]
    issued_s: int
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


class AgencyRevocation(Signed, frozen=True, kw_only=True):
    """All authority of one agency is withdrawn at once, by a person who could withdraw each of its tokens of his role
    (SEC-24): every order that stands by a contact which the roster had of it then."""

    type: Literal["agency-revocation"]
    agency: str
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


class Extension(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The two tokens of an extension, and the proof of the ledger's entry of both."""

    legal: str
    carrier: str
    proof: Proof


class TaskRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a function needs to decide for itself whether a task has authority.

    `commands` are the officer's acts in order of sequence, the activation first; `proofs` one for each of them;
    `extensions` one for each act "extend", in their order. `call_back` belongs to an emergency order.
    """

    legal: str
    carrier: str
    commands: tuple[str, ...]
    proofs: tuple[Proof, ...]
    extensions: tuple[Extension, ...] = ()
    call_back: str = ""
    call_back_proof: Proof | None = None


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """By whose signatures a task stands, and when they counted: what a later change of the roster is judged against.
    Nothing of the case. `signers`: role, kid, second of issue, second of entry; the legal reviewer first."""

    tokens: tuple[str, ...] = ()  # SHA-256 of each token, and of the agency's standing: a withdrawal ends the task
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
    suspended: bool = False  # kept, and nothing of it is matched or delivered
    standing: Standing = Standing()


class State(enum.StrEnum):
    """Where an order stands in its life. The first three are of files on the persons' own machines."""

    DRAFTED = "drafted"  # nobody has signed it
    LEGALLY_AUTHORIZED = "legally-authorized"  # the legal reviewer has
    CARRIER_AUTHORIZED = "carrier-authorized"  # both have
    FILED = "filed"  # both tokens stand in the ledger; nobody has activated it
    LOGGED = "logged"  # activated: the act stands in the ledger
    WITNESSED = "witnessed"  # and under a head that the witnesses have cosigned
    WAITING = "waiting"  # its window has not begun
    ACTIVE = "active"
    EXTENDED = "extended"  # active, beyond the order's first end
    SUSPENDED = "suspended"  # by an officer; kept, and nothing is delivered
    EXPIRED = "expired"
    REVOKED = "revoked"
    DEACTIVATED = "deactivated"
    SEALED = "sealed"  # its certification is signed; its records wait for the end of their retention
    DESTROYED = "destroyed"


class Event(enum.StrEnum):
    """What moves an order from one state to another."""

    ATTEST = "attest"  # the legal reviewer signs
    AUTHORIZE = "authorize"  # the carrier authorizer signs
    FILE = "file"
    ACTIVATE = "activate"  # the officer's first act
    WITNESS = "witness"  # the quorum has cosigned
    AWAIT = "await"  # the window is still to begin
    BEGIN = "begin"  # the window begins, or has begun
    EXTEND = "extend"
    SUSPEND = "suspend"
    RESUME = "resume"
    DEACTIVATE = "deactivate"  # the officer's last act
    REVOKE = "revoke"  # a token is withdrawn
    END = "end"  # the window ends, or an ordinary order takes the place of an emergency one
    SEAL = "seal"
    DESTROY = "destroy"


RUNNING = frozenset({State.ACTIVE, State.EXTENDED})
LIVE = frozenset({State.LOGGED, State.WITNESSED, State.WAITING, State.SUSPENDED}) | RUNNING
ENDED = frozenset({State.EXPIRED, State.REVOKED, State.DEACTIVATED, State.SEALED, State.DESTROYED})

# The life of an order. A pair that is not here does not happen: what has ended never lives again.
LIFE: dict[tuple[State, Event], State] = {
    (State.DRAFTED, Event.ATTEST): State.LEGALLY_AUTHORIZED,
    (State.LEGALLY_AUTHORIZED, Event.AUTHORIZE): State.CARRIER_AUTHORIZED,
    (State.CARRIER_AUTHORIZED, Event.FILE): State.FILED,
    (State.FILED, Event.ACTIVATE): State.LOGGED,
    (State.LOGGED, Event.WITNESS): State.WITNESSED,
    (State.WITNESSED, Event.AWAIT): State.WAITING,
    (State.WITNESSED, Event.BEGIN): State.ACTIVE,
    (State.WAITING, Event.BEGIN): State.ACTIVE,
    (State.ACTIVE, Event.EXTEND): State.EXTENDED,
    (State.EXTENDED, Event.EXTEND): State.EXTENDED,
    (State.SUSPENDED, Event.EXTEND): State.SUSPENDED,
    (State.ACTIVE, Event.SUSPEND): State.SUSPENDED,
    (State.EXTENDED, Event.SUSPEND): State.SUSPENDED,
    (State.SUSPENDED, Event.RESUME): State.ACTIVE,
    **{(state, Event.DEACTIVATE): State.DEACTIVATED for state in State if state in LIVE},
    **{(state, Event.REVOKE): State.REVOKED for state in State if state in LIVE or state is State.FILED},
    **{(state, Event.END): State.EXPIRED for state in State if state in LIVE or state is State.FILED},
    **{(state, Event.SEAL): State.SEALED for state in (State.EXPIRED, State.REVOKED, State.DEACTIVATED)},
    (State.SEALED, Event.DESTROY): State.DESTROYED,
}
