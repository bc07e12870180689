"""The policies and procedures that a carrier must have and file: the SSI plan of 47 CFR 1.20003 and 1.20005.

Answers for the document and its separate appendix, drawn from the live settings and from nothing else, so that what
was filed is what the system does: the statement of both authorizations (1.20003(b)(1)), the interpretation of
"appropriate authorization" ((b)(2)), how long records are kept ((b)(3)), and, apart, who the senior officer is and how
he is reached seven days a week, twenty-four hours a day ((b)(4)). The exact octets are the document; the SHA-256 of the
plan is what a carrier token names as `policy_sha256`.

Answers also for whose signatures adopt it (the senior officer's, or those of two executives), for the record of its
filing, and for what opens the clock of ninety days within which an amendment is filed with the Commission
(1.20005(a)). It reads no clock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from mediation.core.authority import jws
from mediation.core.authority.key import Key
from mediation.core.authority.particulars import legible
from mediation.core.authority.roster import Appointment
from mediation.core.authority.term import DAY_S, HOUR_S
from mediation.core.authority.trust import Trust
from mediation.core.case import Role, Signed
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from mediation.core.records import certificate, signed
from mediation.core.records.retention import MAX_DAYS, MIN_DAYS
from mediation.core.units import NS

ADOPTION_TYP: Final = "mediation-plan"
FILING_TYP: Final = "mediation-plan-filing"
APPROVERS: Final = 2  # executives, when it is not the senior officer himself
AMENDMENT_DAYS: Final = 90  # 47 CFR 1.20005(a)
WARN_DAYS: Final = (30, 7, 1)  # before the ninety have passed (ours)
MAX_OCTETS: Final = 65_536
REPORT_H: Final = 24  # house clock of a report under 1.20003(c), "within a reasonable time upon discovery"

BOTH_AUTHORIZATIONS: Final = (
    "No officer or employee of the carrier enables law enforcement to intercept communications or to access "
    "call-identifying information unless a legal authorization and a carrier authorization have both been received, "
    "and then only by the affirmative intervention of an individual officer or employee. The mediation system refuses "
    "to arm an interception without the signed legal token, the signed carrier token and the signed act of a third "
    "person, each entered in a ledger that independent witnesses have cosigned before anything is armed."
)
APPROPRIATE_AUTHORIZATION: Final = (
    "The carrier interprets the phrase 'appropriate authorization' as both the appropriate legal authorization and the "
    "appropriate carrier authorization. Appropriate legal authorization is a court order signed by a judge or "
    "magistrate authorizing or approving the interception of wire or electronic communications, or other authorization "
    "under 18 USC 2518(7) or any other relevant federal or state statute. Appropriate carrier authorization is "
    "these policies and procedures, by which the carrier supervises and controls its officers and employees authorized "
    "to assist law enforcement."
)
REPORTING: Final = (
    "The carrier reports to the affected law enforcement agencies, within a reasonable time upon discovery, any act of "
    "compromise of a lawful interception to unauthorized persons or entities, and any act of unlawful electronic "
    "surveillance that occurred on its premises."
)
_KEEPING: Final = (
    "A secure and accurate record of each interception of communications or access to call-identifying information, "
    "made with or without appropriate authorization, is kept in the form of a single certification, with the legal "
    "authorization and every extension of it. It is kept for {days} days, counted from the day on which the "
    "interception has ended and its certification is signed, and longer while a duty to preserve it is recorded. "
    "Then the key under which it is stored is destroyed, and a certificate of destruction is kept."
)


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body. The appendix is a document of its own, so that a contact changes without a new body."""

    type: Literal["plan"]
    version: int
    site: str  # the ledger's origin
    carrier: str
    both_authorizations: str
    appropriate_authorization: str
    retention_days: int
    retention: str
    certification_due_h: int
    certification_overdue_h: int
    reporting: str
    report_h: int
    amendment_days: int
    lab: bool
    modifications: tuple[str, ...] = ()  # SHA-256 of orders of the Commission by which it was modified (1.20005(b))


class Contact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How law enforcement reaches the senior officer or employee, seven days a week, twenty-four hours a day."""

    telephone: str = ""
    mail: str = ""


class Appendix(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The separate appendix of 1.20003(b)(4)."""

    type: Literal["appendix"]
    site: str
    officer: str
    function: str
    contact: Contact
    hours: Literal["7x24"]
    lab: bool


class Adoption(Signed, frozen=True, kw_only=True):
    """What the approvers sign: this plan with this appendix is in force, after that one."""

    type: Literal["adoption"]
    version: int
    plan_sha256: str
    appendix_sha256: str
    previous_sha256: str  # of the plan before; empty for the first
    issued_s: int
    nonce: str
    lab: bool = False


class PlanFiling(signed.Recorded, frozen=True, kw_only=True):
    """The plan was filed with the Commission; `confirmation` is the number that its system gave."""

    type: Literal["plan-filing"]
    version: int
    plan_sha256: str
    appendix_sha256: str
    filed_s: int
    confirmation: str


class Adopted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An adopted plan as it is stored: both documents' exact texts, and what adopted them."""

    plan: str
    appendix: str
    approvals: tuple[str, ...]

    @property
    def body(self) -> Plan:
        return decode(self.plan)

    @property
    def annex(self) -> Appendix:
        return msgspec.json.decode(self.appendix, type=Appendix)


def draft(
    version: int, *, site: str, carrier: str, retention_days: int, lab: bool, modifications: tuple[str, ...] = ()
) -> str:
    """The plan's text; `modifications` as the plan has them. Raises AuthorizationError `retention` for a period that
    nobody can call reasonable, `plan` for a carrier's name that is not what it looks like."""
    if not MIN_DAYS <= retention_days <= MAX_DAYS:
        raise AuthorizationError(Check.RETENTION, f"{MIN_DAYS} to {MAX_DAYS} days")
    if carrier and not legible(carrier):
        raise AuthorizationError(Check.PLAN, "config.toml: the carrier's name has a character that is not shown")
    body = Plan(
        type="plan", version=version, site=site, carrier=carrier, both_authorizations=BOTH_AUTHORIZATIONS,
        appropriate_authorization=APPROPRIATE_AUTHORIZATION, retention_days=retention_days,
        retention=_KEEPING.format(days=retention_days), certification_due_h=certificate.DUE_S // HOUR_S,
        certification_overdue_h=certificate.OVERDUE_S // HOUR_S, reporting=REPORTING, report_h=REPORT_H,
        amendment_days=AMENDMENT_DAYS, lab=lab, modifications=modifications,
    )  # fmt: skip
    return msgspec.json.encode(body).decode()


def annex(officer: Appointment | None, contact: Contact, *, site: str, lab: bool) -> str:
    """The appendix's text. Raises AuthorizationError `plan` while there is no senior officer or no way to reach him."""
    if officer is None:
        raise AuthorizationError(Check.SENIOR_OFFICER)
    if not contact.telephone.strip() and not contact.mail.strip():
        raise AuthorizationError(Check.PLAN, "config.toml has no [contact] for seven days a week, 24 hours a day")
    if not all(legible(each) for each in (contact.telephone, contact.mail) if each):
        raise AuthorizationError(Check.PLAN, "config.toml: [contact] has a character that is not shown")
    found = Appendix(
        type="appendix", site=site, officer=officer.name, function=officer.function, contact=contact, hours="7x24",
        lab=lab,
    )  # fmt: skip
    return msgspec.json.encode(found).decode()


def decode(text: str) -> Plan:
    """Raises AuthorizationError `structure`."""
    return jws.decode(text.encode(), Plan)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def examine_adoption(approvals: Sequence[str], adopted: Adopted, trust: Trust, now_ns: int) -> tuple[str, ...]:
    """Who adopts these texts: the senior officer in office, or two executives. Raises AuthorizationError."""
    if not 1 <= len(approvals) <= APPROVERS:
        raise AuthorizationError(Check.PLAN, "the senior officer, or two executives")
    parts = [jws.split(text) for text in approvals]
    if any(each.header.typ != ADOPTION_TYP for each in parts):
        raise AuthorizationError(Check.TOKEN_TYPE)
    if len({each.payload for each in parts}) != 1:
        raise AuthorizationError(Check.STRUCTURE, "not one text that all signed")
    keys = [signed.signer(each, (Role.EXECUTIVE, Role.OFFICER), trust) for each in parts]
    adoption = jws.decode(parts[0].payload, Adoption)
    signed.check_made_here(adoption.nonce, adoption.lab, trust)
    if (adoption.plan_sha256, adoption.appendix_sha256) != (digest(adopted.plan), digest(adopted.appendix)):
        raise AuthorizationError(Check.PLAN, "the approval is of other texts")
    if adoption.version != adopted.body.version:
        raise AuthorizationError(Check.PLAN, "the approval is of another version")
    signed.check_lately(keys, adoption.issued_s, now_ns)
    senior = trust.senior_officer(now_ns // NS)
    persons = {key.person for key in keys}
    executives = {key.person for key in keys if key.kid in trust.rings.get(Role.EXECUTIVE, {})}
    if (senior is None or senior.person not in persons) and len(executives) < APPROVERS:
        raise AuthorizationError(Check.PLAN, "the senior officer, or two executives")
    return tuple(sorted(persons))


def examine_filing(text: str, trust: Trust, now_ns: int) -> tuple[PlanFiling, Key]:
    """Raises AuthorizationError."""
    filing, key = signed.examine(text, FILING_TYP, PlanFiling, trust, now_ns)
    if not legible(filing.confirmation):
        raise AuthorizationError(Check.PLAN, "the confirmation number")
    if not 0 < filing.filed_s <= now_ns // NS:
        raise AuthorizationError(Check.PLAN, "the date of filing")
    return filing, key


def causes(filed: Adopted | None, adopted: Adopted, appendix: str, retention_days: int) -> frozenset[str]:
    """What must be filed: the differences of what is in force (and live: `appendix`, `retention_days`) from what was
    filed last. Before the first filing all of it."""
    if filed is None:
        return frozenset({"plan"})
    found = {"plan"} if adopted.plan != filed.plan else set()
    before = filed.annex
    now = msgspec.json.decode(appendix, type=Appendix) if appendix else None
    if now is None or (now.officer, now.function) != (before.officer, before.function):
        found.add("officer")
    if now is None or now.contact != before.contact:
        found.add("contact")
    if {retention_days, adopted.body.retention_days} != {filed.body.retention_days}:
        found.add("retention")
    return frozenset(found)


def due_s(opened_s: int, *, first: bool) -> int:
    """When an amendment must have been filed. The first plan is on file before service begins (1.20005(c)): a day, for
    the confirmation to come (ours)."""
    return opened_s + (1 if first else AMENDMENT_DAYS) * DAY_S


def days_left(due_s: int, now_s: int) -> int | None:
    """What is announced of a day by which something is to be filed: 0 when it has passed, else the last of WARN_DAYS
    whose moment has come; None before."""
    if now_s >= due_s:
        return 0
    return next((days for days in reversed(WARN_DAYS) if now_s >= due_s - days * DAY_S), None)
