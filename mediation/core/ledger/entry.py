"""What the ledger records: one struct for each kind of entry, stored as JSON text and never re-serialised after.

Answers for the form of records and for the commitment that hides one in the tree. The tree holds only
SHA-256(salt || record): a record and its salt can be destroyed after the retention that the filed policy states
(47 CFR 1.20004(b)) while every proof over the tree still holds.

No record holds a subject's identity: orders and acts are named by case identity and by the hashes of their tokens.
Times are UTC microseconds since 1970 (`time_us`), by the administrator's authority clock.
"""

from __future__ import annotations

import hashlib

import msgspec

from mediation.core.case import Act

SALT_OCTETS = 32  # of fixed length, so that salt || record has one reading
MAX_RECORD_OCTETS = 8_192


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """Base of all records."""

    time_us: int


class SiteMade(Entry, frozen=True, kw_only=True, tag="site-made"):
    """`founding`: SHA-256 of the roster's first line on a lab site; a real one is founded later, by RosterChanged 0.
    `plan`: SHA-256 of the plan that a lab begins with (plan/1.json)."""

    origin: str
    lab: bool
    founding: str = ""
    plan: str = ""


class KeysLoaded(Entry, frozen=True, kw_only=True, tag="keys-loaded"):
    """The administrator started, and these are the SHA-256 of what it believes: `roster`, the last line; `founding`,
    the first."""

    rings: dict[str, str]


class OrderFiled(Entry, frozen=True, kw_only=True, tag="order-filed"):
    case: str
    xid: str
    agency: str
    authority: str
    legal_sha256: str
    carrier_sha256: str
    document_sha256: str
    legal_person: str
    carrier_person: str


class CommandAccepted(Entry, frozen=True, kw_only=True, tag="command-accepted"):
    """An officer's act, entered before anything is done about it. The proof in a task is of this record."""

    case: str
    act: Act
    sequence: int
    legal_sha256: str
    carrier_sha256: str
    command_sha256: str
    officer: str  # person, as in the key ring


class Outcome(Entry, frozen=True, kw_only=True, tag="outcome"):
    """What a function answered when it was told: the second half of "log before act"."""

    case: str
    xid: str
    function: str
    act: str  # armed, changed, disarmed
    sequence: int
    refused: str = ""  # name of the check; empty when it was done


class Expired(Entry, frozen=True, kw_only=True, tag="expired"):
    case: str
    carrier_sha256: str
    by: str = ""  # the carrier token of the ordinary order that took an emergency one's place


class Revoked(Entry, frozen=True, kw_only=True, tag="revoked"):
    case: str
    carrier_sha256: str
    token_sha256: str
    revocation_sha256: str
    person: str


class AgencyRevoked(Entry, frozen=True, kw_only=True, tag="agency-revoked"):
    """All authority of an agency was withdrawn (core/authority/withdrawal.py); `orders` of it ended, each with its own
    entry. `issued_s`: with the roster it says which of the agency's contacts are meant."""

    agency: str
    revocation_sha256: str
    person: str
    issued_s: int
    orders: int


class Refused(Entry, frozen=True, kw_only=True, tag="refused"):
    """An attempt without authority. `suppressed` counts those before it that the rate limit kept out; `uid` is the
    user of the process that made a signed request (-1: not known)."""

    check: str
    text_sha256: str
    suppressed: int = 0
    uid: int = -1


class Recovered(Entry, frozen=True, kw_only=True, tag="recovered"):
    """The administrator stopped between an entry and its act: these entries were not carried out, except for stops."""

    first: int
    size: int


class Padding(Entry, frozen=True, kw_only=True, tag="padding"):
    """Fills a tick's batch, so that the growth of the tree tells nobody how much was done."""


# --- people, keys, agencies (core/authority/roster.py) ---


class RosterChanged(Entry, frozen=True, kw_only=True, tag="roster-changed"):
    """A change of persons, roles, keys or agencies' contacts, which two persons approved (47 CFR 1.20003(a))."""

    number: int
    change_sha256: str  # of the roster's line: the change with its approvals
    approvers: tuple[str, ...]  # persons: two, or all that founded the site


# --- the life of an order ---


class ExtensionFiled(Entry, frozen=True, kw_only=True, tag="extension-filed"):
    """Both tokens of an extension; it counts from the officer's act `extend` on."""

    case: str
    carrier_sha256: str  # of the order that is extended
    legal_extension_sha256: str
    carrier_extension_sha256: str
    document_sha256: str
    legal_person: str
    carrier_person: str
    not_after_s: int


class CallBackFiled(Entry, frozen=True, kw_only=True, tag="call-back-filed"):
    """The agency of an emergency order was called back at the directory's number by a second person (SEC-30)."""

    case: str
    legal_sha256: str
    call_back_sha256: str
    person: str


class Sealed(Entry, frozen=True, kw_only=True, tag="sealed"):
    """The order has ended and its certification is signed: its records wait for the end of their retention."""

    case: str
    carrier_sha256: str
    destroy_after_s: int


class Destroyed(Entry, frozen=True, kw_only=True, tag="destroyed"):
    """The key of the order's records, and the salts of its entries, were destroyed (47 CFR 1.20004(b))."""

    xid: str
    certificate_sha256: str  # of the certificate of destruction
    entries: tuple[int, ...]


class Held(Entry, frozen=True, kw_only=True, tag="held"):
    """The records of a case must be kept whatever their retention, or (`hold` false) need not be any longer."""

    case: str
    hold: bool
    hold_sha256: str  # of the signed text
    person: str


class Alarm(Entry, frozen=True, kw_only=True, tag="alarm"):
    """Something a person must look at. `alarm` is a name of core/records/alarm.py; `case` is empty if it concerns no
    order."""

    alarm: str
    case: str = ""
    detail: str = ""


# --- the ledger itself ---


class WitnessesLost(Entry, frozen=True, kw_only=True, tag="witnesses-lost"):
    """No quorum cosigns: activations, extensions and changes wait; running cases go on until `grace_ends_us`."""

    size: int  # of the last cosigned head
    grace_ends_us: int


class WitnessesFound(Entry, frozen=True, kw_only=True, tag="witnesses-found"):
    size: int


class Stamped(Entry, frozen=True, kw_only=True, tag="stamped"):
    """An RFC 3161 time stamp over a checkpoint or a certification; the token itself lies beside the ledger."""

    subject_sha256: str
    authority: str
    token_sha256: str


# --- records of 47 CFR 1.20004 and the plan of 1.20003, 1.20005 ---


class CertificateDrafted(Entry, frozen=True, kw_only=True, tag="certificate-drafted"):
    """Drafted by itself when the tap is armed, or an extension is in force; `xid` is empty without an order. `fields`:
    a salted commitment to each of the six fields (core/records/opening.py)."""

    case: str
    certificate_sha256: str
    unauthorized: bool = False
    xid: str = ""
    fields: tuple[str, ...] = ()


class CertificateSigned(Entry, frozen=True, kw_only=True, tag="certificate-signed"):
    case: str
    certificate_sha256: str
    signature_sha256: str
    person: str
    xid: str = ""


class StatementDrafted(Entry, frozen=True, kw_only=True, tag="statement-drafted"):
    """A month's statement (47 CFR 1.20004(c)), drafted by itself; a later one of the same month takes its place.
    `first` and `last`: the month's entries; `differences`: how many it states."""

    month: str
    statement_sha256: str
    first: int
    last: int
    differences: int


class StatementSigned(Entry, frozen=True, kw_only=True, tag="statement-signed"):
    month: str
    statement_sha256: str
    signature_sha256: str
    person: str


class PlanAdopted(Entry, frozen=True, kw_only=True, tag="plan-adopted"):
    """The policies and procedures in force; `filed_s` and `confirmation` once they are filed (1.20005).
    `modifications`: the orders of the Commission that the plan names as carried out by it."""

    version: int
    plan_sha256: str
    appendix_sha256: str
    retention_days: int
    filed_s: int = 0
    confirmation: str = ""
    modifications: tuple[str, ...] = ()


class AmendmentOpened(Entry, frozen=True, kw_only=True, tag="amendment-opened"):
    """A change that must be filed within 90 days (47 CFR 1.20005(a))."""

    cause: str  # officer, contact, retention, plan
    due_s: int


class ModificationOrdered(Entry, frozen=True, kw_only=True, tag="modification-ordered"):
    """The Commission ordered the policies modified (47 CFR 1.20005(b)); entered again, its day is another one. It ends
    with the filing of a plan that names it."""

    document_sha256: str
    due_s: int
    version: int  # of the plan in force then
    signed_sha256: str
    person: str


class ContactTested(Entry, frozen=True, kw_only=True, tag="contact-tested"):
    """The 7x24 contact of an appendix was called (47 CFR 1.20003(b)(4)(ii)); `answer_s`: seconds until somebody
    answered, or until nobody was waited for any longer."""

    called_s: int
    answered: bool
    answer_s: int
    appendix_sha256: str
    signed_sha256: str
    person: str


# --- detection ---


class Reconciled(Entry, frozen=True, kw_only=True, tag="reconciled"):
    """Taps found by the other path, live cases, certifications; `rounds` without a difference since the last entry."""

    taps: int
    cases: int
    certifications: int
    differences: int
    rounds: int


class Incident(Entry, frozen=True, kw_only=True, tag="incident"):
    """A compromise or an unlawful interception was found (1.20003(c)); one report is drafted for each agency."""

    incident: str  # identity
    what: str  # a name of core/records/incident.py
    evidence_sha256: str
    agencies: int


class CodeIdentity(Entry, frozen=True, kw_only=True, tag="code-identity"):
    """SHA-256 of the daemon's code, configuration and adapters; `changed` names those that differ from the last."""

    code_sha256: str
    config_sha256: str
    adapters_sha256: str
    changed: tuple[str, ...] = ()


# --- reading ---


class CaseRead(Entry, frozen=True, kw_only=True, tag="case-read"):
    """Somebody read case data, and why. `case` is empty for a list, an export, and what an auditor keeps to himself."""

    case: str
    what: str  # list, show, certificate, statement, ledger, export, incident, honey (one was planted)
    person: str
    reason: str
    request_sha256: str  # over the signed octets of the request (core/authority/request.py)


class SampleDrawn(Entry, frozen=True, kw_only=True, tag="sample-drawn"):
    """An auditor's seed, committed before the audit: which certifications it draws is then no one's choice (SEC-18)."""

    seed_sha256: str
    person: str
    size: int  # of the ledger when the seed was committed: it draws from what stood then and since
    request_sha256: str = ""


Record = (
    SiteMade | KeysLoaded | OrderFiled | CommandAccepted | Outcome | Expired | Revoked | AgencyRevoked
    | Refused | Recovered | Padding
    | RosterChanged | ExtensionFiled | CallBackFiled | Sealed | Destroyed | Held | Alarm | WitnessesLost
    | WitnessesFound | Stamped | CertificateDrafted | CertificateSigned | StatementDrafted | StatementSigned
    | PlanAdopted | AmendmentOpened | ModificationOrdered | ContactTested | Reconciled | Incident | CodeIdentity
    | CaseRead | SampleDrawn
)  # fmt: skip

KINDS = frozenset(str(kind.__struct_config__.tag) for kind in Entry.__subclasses__())

_decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


def encode(record: Record) -> str:
    return msgspec.json.encode(record).decode()


def decode(text: str) -> Record:
    """Raises msgspec.MsgspecError for what is no record of this release."""
    return _decoder.decode(text)


def commitment(salt: bytes, record: str) -> bytes:
    """What stands in the tree for a record."""
    return hashlib.sha256(salt + record.encode()).digest()
