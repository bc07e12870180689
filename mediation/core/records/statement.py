"""The monthly statement that a carrier's records are complete and accurate: 47 CFR 1.20004(c), signed by a person.

Answers for the document: what the ledger says of one calendar month (UTC), which of its entries that is, under which
witnessed head, and every difference between interceptions, certifications and what was really found on the machine,
each by name. There should be none; one that is there is stated, never left out. Answers also for the sentence by which
the senior officer attests it, and for whose signature counts. The exact octets are the document, as a certification's
are: stored, hashed, signed as the payload of a compact JWS of typ "mediation-statement", and never written again.

It holds counts alone: no case, no agency, no subject. It stores nothing and reads no clock.
"""

from __future__ import annotations

import datetime
import hashlib
import re
from typing import Final, Literal

import msgspec

from mediation.core.authority import jws
from mediation.core.authority.authorization import check_key_dates
from mediation.core.authority.term import DAY_S
from mediation.core.authority.trust import Trust
from mediation.core.case import Role, Signed
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from mediation.core.records import signed
from mediation.core.records.certificate import OVERDUE_S, Fact, Responsible
from mediation.core.units import NS

TYP: Final = "mediation-statement"
DRAFTED_S: Final = OVERDUE_S  # after the month's end: its last certification has had its 72 hours
DUE_S: Final = 7 * DAY_S  # after the month's end (ours; the rule names no clock)
MISSING_S: Final = 14 * DAY_S
SIGNERS: Final = (Role.EXECUTIVE, Role.OFFICER)  # in whichever role the senior officer is appointed
MONTH: Final = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")
ATTESTATION: Final = (
    "I am the senior officer or employee responsible for this carrier's policies under 47 CFR 1.20003. I have compared "
    "the counts above with the carrier's records. I certify that the records of the interceptions of communications "
    "and of access to call-identifying information of this month are complete and accurate, but for the differences "
    "that are stated above, each of which I have had looked into."
)


class Counts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one month, by the entries of the ledger that are dated in it."""

    orders: int = 0  # filed
    activated: int = 0  # by an officer's act
    enabled: int = 0  # interceptions: the access function's first answer that its tap is armed
    extended: int = 0
    ended: int = 0
    certified: int = 0  # of those enabled: with a certification
    signed: int = 0  # of those: whose certifications are all signed
    unauthorized: int = 0  # certifications of what was found without an order
    incidents: int = 0


class Compared(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What reconciliation found by its own path: looks in the month, those of them entered with a difference, and the
    three counts of the last that was entered in it (0 when none was)."""

    rounds: int = 0
    differing: int = 0
    taps: int = 0
    cases: int = 0
    certifications: int = 0


class Difference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    what: str
    count: int


class Statement(Signed, frozen=True, kw_only=True):
    """The document. `first` and `last` are the month's first and last entry in the ledger, padding aside (-1: it has
    none); `checkpoint` is a head that contains them, with its witnesses' cosignatures."""

    type: Literal["statement"]
    site: str  # the ledger's origin
    month: str  # YYYY-MM, UTC
    counts: Counts
    compared: Compared
    differences: tuple[Difference, ...]
    first: int
    last: int
    checkpoint: str
    responsible: Responsible
    attestation: str
    nonce: str  # secret: the SHA-256 of this document tells nothing of its counts
    lab: bool = False


def encode(statement: Statement) -> str:
    """The document's exact text."""
    return msgspec.json.encode(statement).decode()


def decode(text: str) -> Statement:
    """Raises AuthorizationError `structure`."""
    return jws.decode(text.encode(), Statement)


def digest(text: str) -> str:
    """SHA-256 of the exact octets, lower-case hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def rows(statement: Statement) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """What it says, as a person reads it: label and lines."""
    counts, compared = statement.counts, statement.compared
    entries = f"{statement.first} to {statement.last}" if statement.first >= 0 else "none"
    head = statement.checkpoint.split("\n")[1:3]
    return (
        ("Month (UTC)", (statement.month,)),
        ("Orders", (f"{counts.orders} filed, {counts.activated} activated, {counts.extended} extended",)),
        ("Interceptions", (f"{counts.enabled} enabled, {counts.ended} orders ended",)),
        ("Certifications", (f"{counts.certified} of those enabled have one, {counts.signed} have all signed",
                            f"{counts.unauthorized} of what was found without authorization")),
        ("Incidents", (str(counts.incidents),)),
        ("Reconciliation", (f"{compared.rounds} looks; the last one entered: {compared.taps} taps, {compared.cases} "
                            f"cases, {compared.certifications} certifications",)),
        ("Differences", tuple(f"{each.count} {each.what}" for each in statement.differences) or ("0",)),
        ("Entries of the ledger", (entries, *(f"under the head {' '.join(head)}" for _ in head[:1]))),
    )  # fmt: skip


def month_of(time_us: int) -> str:
    """The calendar month (UTC) of a moment, YYYY-MM."""
    moment = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(microseconds=time_us)
    return f"{moment.year:04}-{moment.month:02}"


def after(month: str) -> str:
    """The month that follows."""
    year, number = int(month[:4]), int(month[5:])
    return f"{year + number // 12:04}-{number % 12 + 1:02}"


def ends_s(month: str) -> int:
    """The first second after a month, since 1970."""
    following = after(month)
    return int(datetime.datetime(int(following[:4]), int(following[5:]), 1, tzinfo=datetime.UTC).timestamp())


def examine(signature: str, text: str, trust: Trust, now_ns: int) -> Fact:
    """That `signature` is the senior officer's who is named in the text and is in office, over exactly `text`.

    Raises AuthorizationError: `statement`, `token-type`, or what is wrong with the key or the signature.
    """
    parts = jws.split(signature)
    if parts.header.typ != TYP:
        raise AuthorizationError(Check.TOKEN_TYPE)
    _, key = signed.key_of(parts.header.kid, SIGNERS, trust)
    now_s = now_ns // NS
    check_key_dates(key, now_s, now_s)
    if key.lab is not trust.lab:
        raise AuthorizationError(Check.LAB_KEY)
    trust.verify(parts, key)
    if parts.payload != text.encode():
        raise AuthorizationError(Check.STATEMENT, "not the text that was drafted")
    statement = decode(text)
    if statement.lab is not trust.lab:
        raise AuthorizationError(Check.LAB_TOKEN)
    if statement.attestation != ATTESTATION:
        raise AuthorizationError(Check.STATEMENT, "the attestation is another")
    senior = trust.senior_officer(now_s)
    if senior is None or {senior.person, statement.responsible.person} != {key.person}:
        raise AuthorizationError(Check.STATEMENT, "the signer is not the senior officer that it names")
    return Fact(person=key.person, sha256=digest(text), signature_sha256=jws.sha256_hex(signature))
