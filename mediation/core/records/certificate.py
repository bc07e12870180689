"""The certification of an interception: what 47 CFR 1.20004(a) asks a carrier to keep of each, and who signs it.

Answers for the document: its six fields (a)(1)(i) to (vi), the order and every extension by hash (a)(4), where they
stand in the ledger, and the sentence by which the person who oversees the interception certifies that all of it is
complete and accurate (a)(2). The exact octets of a draft are the document: they are stored, hashed, signed as the
payload of a compact JWS of typ "mediation-certificate", and never written again. A draft is made from what stands in
the ledger and in the signed order alone, so that a second draft of the same facts gives the same octets.

    interception   at the first Outcome "armed" of the access function: that entry's time is field (ii)
    amendment      an extension; it names the certification before it
    unauthorized   what was found without an order, drafted by the detector (1.20004(a): "with or without")

It decides who may sign and whether a field is empty (`certificate`); it stores nothing and reads no clock.
"""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from mediation.core.authority import jws
from mediation.core.authority.authorization import check_key_dates
from mediation.core.authority.key import Key
from mediation.core.authority.roster import Appointment
from mediation.core.authority.term import HOUR_S
from mediation.core.authority.trust import Trust
from mediation.core.case import LegalToken, Role, Signed
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from mediation.core.records import signed
from mediation.core.units import NS

TYP: Final = "mediation-certificate"
DUE_S: Final = 24 * HOUR_S  # "contemporaneously … or within a reasonable time" (a)(3): the house's clocks
OVERDUE_S: Final = 72 * HOUR_S
SIGNERS: Final = (Role.OFFICER, Role.EXECUTIVE)  # an executive only while he is the senior officer
UNAUTHORIZED: Final = "unauthorized"
NOBODY: Final = "none: no authorization was presented"  # (iii) and (iv) of an unauthorized interception
ATTESTATION: Final = (
    "I am responsible for overseeing the interception of communications or access to call-identifying information "
    "described above, and I am acting in accordance with the carrier's policies established under 47 CFR 1.20003. "
    "I certify that this record is complete and accurate."
)
_SPACE: Final = re.compile(r"\s*")

Kind = Literal["interception", "amendment", "unauthorized"]


class Paper(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A document that belongs to the record (a)(4): the order or an extension, with both tokens made of it.

    `filed` is the index of the ledger's entry of both. `not_after_s`: the end that it gives."""

    what: Literal["order", "extension", "evidence"]
    document_sha256: str
    legal_sha256: str = ""
    carrier_sha256: str = ""
    filed: int = -1
    not_after_s: int = 0


class Responsible(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The person who oversees, as the roster names him; he and nobody else signs."""

    person: str
    name: str
    function: str


class Certificate(Signed, frozen=True, kw_only=True):
    """The document. Empty is what no honest record leaves empty: `check_complete` refuses it."""

    type: Literal["certification"]
    kind: Kind
    site: str  # the ledger's origin
    case: str
    xid: str
    numbers: tuple[str, ...]  # (i) telephone numbers and circuits
    enabled: str  # (ii) start date and time, RFC 3339, UTC
    enabled_us: int
    presenting_officer: str  # (iii)
    authorizing_person: str  # (iv)
    authority: str  # (v) type of interception
    responsible: Responsible  # (vi)
    agency: str
    court: str
    papers: tuple[Paper, ...]
    activated: int  # ledger indices: of the officer's act and of the access function's answer; -1 where there is none
    armed: int
    previous: str  # SHA-256 of the certification that this one amends; empty for the first
    attestation: str
    nonce: str  # secret like the order's: the SHA-256 of this document tells nothing of its numbers
    lab: bool = False


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """A signature that was found good."""

    person: str
    sha256: str  # of the document that it is over
    signature_sha256: str


def encode(certificate: Certificate) -> str:
    """The document's exact text."""
    return msgspec.json.encode(certificate).decode()


def decode(text: str) -> Certificate:
    """Raises AuthorizationError `structure`."""
    return jws.decode(text.encode(), Certificate)


def digest(text: str) -> str:
    """SHA-256 of the exact octets, lower-case hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def rfc3339(time_us: int) -> str:
    """A moment as a person reads it, to the microsecond; the same on every machine."""
    moment = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(microseconds=time_us)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def responsible(person: str, appointments: Iterable[Appointment], at_s: int) -> Responsible:
    """A person by the roster's words. Raises AuthorizationError `certificate` when it did not know him then."""
    for held in reversed(tuple(appointments)):
        if held.person == person and held.from_s <= at_s < held.to_s:
            return Responsible(person=person, name=held.name, function=held.function)
    raise AuthorizationError(Check.CERTIFICATE, "the overseeing person")


def draft(
    order: LegalToken, legal_text: str, *, site: str, xid: str, carrier_sha256: str, filed: int, activated: int,
    armed: int, enabled_us: int, overseer: Responsible, previous: str = "",
) -> Certificate:  # fmt: skip
    """The certification of an interception that was enabled at `enabled_us`. Of an activation that the first overseer
    left unsigned, another may take it over: `previous` then names the draft that this one replaces."""
    return Certificate(
        type="certification", kind="interception", site=site, case=order.case, xid=xid, numbers=order.subjects,
        enabled=rfc3339(enabled_us), enabled_us=enabled_us, presenting_officer=order.presenting_officer,
        authorizing_person=order.judge, authority=order.authority.value, responsible=overseer, agency=order.agency,
        court=order.court,
        papers=(
            Paper(
                what="order", document_sha256=order.document_sha256, legal_sha256=jws.sha256_hex(legal_text),
                carrier_sha256=carrier_sha256, filed=filed, not_after_s=order.not_after_s,
            ),
        ),
        activated=activated, armed=armed, previous=previous, attestation=ATTESTATION,
        nonce=_nonce(legal_text, enabled_us, overseer.person, ""), lab=order.lab,
    )  # fmt: skip


def amend(first: Certificate, legal_text: str, extensions: tuple[Paper, ...], previous: str) -> Certificate:
    """The same certification with all extensions appended; `previous` is the SHA-256 of the one before."""
    last = extensions[-1].legal_sha256
    return msgspec.structs.replace(
        first, kind="amendment", papers=(first.papers[0], *extensions), previous=previous,
        nonce=_nonce(legal_text, first.enabled_us, first.responsible.person, last),
    )  # fmt: skip


def unauthorized(
    circuits: tuple[str, ...], *, site: str, incident: str, found_us: int, evidence_sha256: str, overseer: Responsible,
    nonce: str, lab: bool,
) -> Certificate:  # fmt: skip
    """What was found intercepting without an order. (ii) is the time of its discovery: nobody here enabled it."""
    return Certificate(
        type="certification", kind=UNAUTHORIZED, site=site, case=incident, xid="", numbers=circuits,
        enabled=rfc3339(found_us), enabled_us=found_us, presenting_officer=NOBODY, authorizing_person=NOBODY,
        authority=UNAUTHORIZED, responsible=overseer, agency="", court="",
        papers=(Paper(what="evidence", document_sha256=evidence_sha256),), activated=-1, armed=-1, previous="",
        attestation=ATTESTATION, nonce=nonce, lab=lab,
    )  # fmt: skip


def _nonce(legal_text: str, enabled_us: int, person: str, last: str) -> str:
    """From the legal token's text, which only the order's records hold and whose own nonce is random. Its SHA-256 is
    public, so the text is not what this hash begins with."""
    named = f"mediation certification nonce\n{enabled_us}\n{person}\n{last}\n{legal_text}"
    return hashlib.sha256(named.encode()).hexdigest()[:32]


# What each field is called by the rule, and where it stands: also the rows of the printed form.
FIELDS: Final = (
    ("i", "numbers", "Telephone numbers and circuits involved"),
    ("ii", "enabled", "Start date and time of the opening of the circuit for law enforcement (UTC)"),
    ("iii", "presenting_officer", "Law enforcement officer presenting the authorization"),
    ("iv", "authorizing_person", "Person signing the appropriate legal authorization"),
    ("v", "authority", "Type of interception of communications or access to call-identifying information"),
    ("vi", "responsible", "Carrier personnel responsible for overseeing it, who acts in accordance with the policies"),
)


def field(certificate: Certificate, name: str) -> tuple[str, ...]:
    """A field's words, as they are read and as they are judged."""
    match getattr(certificate, name):
        case tuple() as several:
            return tuple(str(each) for each in several)
        case Responsible() as one:
            return (one.name, one.function, one.person)
        case words:
            return (str(words),)


def check_complete(certificate: Certificate) -> None:
    """No field of (a)(1) is empty, and the order's paper is named (a)(4). Raises AuthorizationError `certificate`."""
    for number, name, _ in FIELDS:
        words = field(certificate, name)
        if not words or any(_SPACE.fullmatch(each) for each in words):
            raise AuthorizationError(Check.CERTIFICATE, f"field ({number}) is empty")
    if certificate.enabled_us <= 0 or certificate.enabled != rfc3339(certificate.enabled_us):
        raise AuthorizationError(Check.CERTIFICATE, "field (ii) is no time")
    if not certificate.papers or any(not paper.document_sha256 for paper in certificate.papers):
        raise AuthorizationError(Check.CERTIFICATE, "a document is not named")
    if certificate.attestation != ATTESTATION:
        raise AuthorizationError(Check.CERTIFICATE, "the attestation is not the rule's")


def may_sign(trust: Trust, kid: str, now_s: int) -> Key:
    """The key of an officer, or of the senior officer in office. Raises AuthorizationError."""
    role, key = signed.key_of(kid, SIGNERS, trust)
    check_key_dates(key, now_s, now_s)
    if key.lab is not trust.lab:
        raise AuthorizationError(Check.LAB_KEY)
    senior = trust.senior_officer(now_s)
    if role is Role.EXECUTIVE and (senior is None or senior.person != key.person):
        raise AuthorizationError(Check.CERTIFICATE, "an executive who is not the senior officer")
    return key


def examine(signature: str, text: str, trust: Trust, now_ns: int) -> Fact:
    """That `signature` is the overseeing person's, over exactly `text`, and that nothing in it is empty.

    Raises AuthorizationError: `certificate`, `token-type`, or what is wrong with the key or the signature.
    """
    parts = jws.split(signature)
    if parts.header.typ != TYP:
        raise AuthorizationError(Check.TOKEN_TYPE)
    key = may_sign(trust, parts.header.kid, now_ns // NS)
    trust.verify(parts, key)
    if parts.payload != text.encode():
        raise AuthorizationError(Check.CERTIFICATE, "not the text that was drafted")
    certificate = decode(text)
    if certificate.lab is not trust.lab:
        raise AuthorizationError(Check.LAB_TOKEN)
    check_complete(certificate)
    if key.person != certificate.responsible.person:
        raise AuthorizationError(Check.CERTIFICATE, "the signer is not the overseeing person of field (vi)")
    return Fact(person=key.person, sha256=digest(text), signature_sha256=jws.sha256_hex(signature))
