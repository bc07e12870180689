"""What the commands and the administrator say to each other: one JSON object a line, answered in order.

Nothing in here gives authority: orders, acts and revocations travel as the signed texts they are, and whatever shows
case data is asked for in an envelope that a person signed, with a reason (SEC-17). Sans-I/O.

    Signed    a request that shows or marks case data, in an envelope that a person signed (core/authority/request.py):
      Cases       where orders stand; of one case or of all               CaseList
      Prove       the proof that one entry stands in the ledger           Proved
      Export      the ledger and what belongs to it, for an auditor       Part, as many as it takes
      Certificates, Statements  certifications of a case; monthly statements    CertificateList, StatementList
      CommitSeed, Plant  an auditor's seed, by its hash, before the audit; an auditor's honey case    Done
      Incidents   the drafts of reports and of certifications made of incidents, of one or of all    Papers
    Submit    file orders, each with or without its activation      Results, one for each
    Perform   an officer's acts on orders that were filed           Results, one for each
    Extend    an extension with the officer's act                   Results, one for each
    Revoke    a token's withdrawal                                  Results, one for each
    RevokeAgency, ChangeRoster  an agency's authority; persons, roles, keys, contacts   Results, one
    Certify, SignStatement  the overseeing person's signatures; the senior officer's    Results, one
    ShowPlan, AdoptPlan, FilePlan  the policies and procedures      PlanView; Results, one
    Hold, Destroy  the end of an order's records                    Results, one
    Settle    wait until the functions have answered everything     Results, empty
    Status    live state, without any target identity               Report
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from mediation.core.case import Act, Authority, Capability, Proof, State
from mediation.core.errors import RemoteProtocolError

MAX_LINE_OCTETS = 16 << 20
PART_OCTETS = 1 << 20  # of an export in one line
MAX_BATCH = 1_000  # orders, acts or revocations in one request


class _Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    pass


class Filing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One order: its two tokens, and the officer's acts on it so far (none, or the activation)."""

    legal: str
    carrier: str
    commands: tuple[str, ...] = ()
    call_back: str = ""  # of an emergency order


class Extending(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An extension's two tokens, and the officer's act that puts it in force."""

    legal: str
    carrier: str
    command: str


class Submit(_Message, frozen=True, kw_only=True):
    """`wait`: answer when the functions have answered, not when the ledger has the entries."""

    filings: tuple[Filing, ...]
    wait: bool = True


class Perform(_Message, frozen=True, kw_only=True):
    commands: tuple[str, ...]
    wait: bool = True


class Extend(_Message, frozen=True, kw_only=True):
    extensions: tuple[Extending, ...]
    wait: bool = True


class Revoke(_Message, frozen=True, kw_only=True):
    revocations: tuple[str, ...]
    wait: bool = True


class RevokeAgency(_Message, frozen=True, kw_only=True):
    """The signed withdrawal of an agency's authority (core/authority/withdrawal.py); `detail` says how many orders it
    ended."""

    revocation: str
    wait: bool = True


class ChangeRoster(_Message, frozen=True, kw_only=True):
    """The approvals of one change of the roster (core/authority/roster.py): two, or all that found the site."""

    approvals: tuple[str, ...]
    wait: bool = True


class Cases(_Message, frozen=True, kw_only=True):
    case: str | None = None


class Prove(_Message, frozen=True, kw_only=True):
    index: int


class Export(_Message, frozen=True, kw_only=True):
    """What of the records is opened: those of these kinds, and those of these cases; everything when both are None.
    What is not opened stays a commitment in the tree."""

    kinds: tuple[str, ...] | None = None
    cases: tuple[str, ...] | None = None
    certified: tuple[str, ...] | None = None  # with certifications, of which these fields are opened ("i" to "vi")


class CommitSeed(_Message, frozen=True, kw_only=True):
    """SHA-256 of the seed that will draw the sample (SEC-18)."""

    seed_sha256: str


class Plant(_Message, frozen=True, kw_only=True):
    """A case that nobody ordered and nothing can arm; who reads it raises an alarm (SEC-22)."""

    case: str
    agency: str
    authority: Authority
    not_before_s: int
    not_after_s: int


class Incidents(_Message, frozen=True, kw_only=True):
    incident: str | None = None


class Certificates(_Message, frozen=True, kw_only=True):
    """The certifications of a case. `take_over`: the senior officer becomes the overseeing person."""

    case: str
    take_over: bool = False


class Statements(_Message, frozen=True, kw_only=True):
    month: str | None = None  # YYYY-MM; None: of all


class Signed(_Message, frozen=True, kw_only=True):
    """`envelope`: a compact JWS of typ "mediation-request" around the exact text of an inquiry."""

    envelope: str


class Certify(_Message, frozen=True, kw_only=True):
    """Signatures of the overseeing person over certifications as they were drafted (core/records/certificate.py)."""

    signatures: tuple[str, ...]


class SignStatement(_Message, frozen=True, kw_only=True):
    signature: str  # the senior officer's, over a month's statement as it was drafted (core/records/statement.py)


class ShowPlan(_Message, frozen=True, kw_only=True):
    """The policies and procedures in force, or a draft of the next ones; `retention_days` 0: as configured."""

    draft: bool = False
    retention_days: int = 0


class AdoptPlan(_Message, frozen=True, kw_only=True):
    """The exact texts of a draft, and the approvals that put it in force (core/records/plan.py)."""

    plan: str
    appendix: str
    approvals: tuple[str, ...]


class FilePlan(_Message, frozen=True, kw_only=True):
    """That the plan in force was filed with the Commission, signed."""

    filing: str


class Hold(_Message, frozen=True, kw_only=True):
    """A duty to preserve a case's records begins or ends, signed (core/records/retention.py)."""

    hold: str


class Destroy(_Message, frozen=True, kw_only=True):
    """Two persons have one sealed order's records destroyed."""

    approvals: tuple[str, ...]


class Settle(_Message, frozen=True, kw_only=True):
    pass


class Status(_Message, frozen=True, kw_only=True):
    pass


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of one order, act or revocation.

    `check` is empty when it was accepted. `functions` says what each function answered: "done", "away" (it is not
    running and will be told when it is), or the name of the check by which it refused.
    """

    case: str = ""
    xid: str = ""
    check: str = ""
    detail: str = ""
    functions: dict[str, str] = {}


class Results(_Message, frozen=True, kw_only=True):
    results: tuple[Result, ...] = ()


class CaseView(msgspec.Struct, frozen=True, kw_only=True):
    """One order without its subjects."""

    case: str
    xid: str
    state: State
    agency: str
    authority: Authority
    profile: str
    capabilities: tuple[Capability, ...]
    not_before_s: int
    not_after_s: int
    dde: bool
    sequence: int  # of the last act; 0 before the activation
    last_act: Act | None
    legal_sha256: str
    carrier_sha256: str
    lab: bool
    extensions: int = 0
    extension_sha256: str = ""  # of the last extension's legal token


class CaseList(_Message, frozen=True, kw_only=True):
    cases: tuple[CaseView, ...]


class CertificateView(msgspec.Struct, frozen=True, kw_only=True):
    """A certification: its exact text, the signature over it ("" while there is none) and where both stand in the
    ledger (-1: not yet). `stamps`: RFC 3161 authorities with the time (us) of the ledger's entry of each."""

    sha256: str
    text: str
    signature: str
    replaced: bool
    drafted: int
    signed: int
    signed_us: int
    person: str
    stamps: tuple[tuple[str, int], ...] = ()


class CertificateList(_Message, frozen=True, kw_only=True):
    certificates: tuple[CertificateView, ...]


class StatementView(msgspec.Struct, frozen=True, kw_only=True):
    """A month's statement: its exact text, and the signature over it ("" while there is none)."""

    month: str
    sha256: str
    text: str
    signature: str
    signed_us: int
    person: str


class StatementList(_Message, frozen=True, kw_only=True):
    statements: tuple[StatementView, ...]


class PlanView(_Message, frozen=True, kw_only=True):
    """A plan and its appendix, exact texts. `amendments`: what is to be filed, each with its day (UTC seconds)."""

    plan: str
    appendix: str
    version: int
    previous_sha256: str
    adopted: bool
    filed_version: int
    filed_s: int
    confirmation: str
    amendments: dict[str, int]


class Report(_Message, frozen=True, kw_only=True):
    """Orders by state, the ledger's head, what each function says of itself (None: away), and which alarms stand."""

    orders: dict[str, int]
    ledger: dict[str, Any]
    functions: dict[str, dict[str, Any] | None]
    counters: dict[str, int]
    alarms: dict[str, str] = {}  # by name: whom it concerns of functions and witnesses


class Proved(_Message, frozen=True, kw_only=True):
    proof: Proof


class Paper(msgspec.Struct, frozen=True, kw_only=True):
    """One file that an incident left: a letter to one agency, the evidence, or a certification's draft."""

    incident: str
    name: str
    text: str


class Papers(_Message, frozen=True, kw_only=True):
    papers: tuple[Paper, ...]


class Done(_Message, frozen=True, kw_only=True):
    """Carried out; there is nothing to say."""


class Part(_Message, frozen=True, kw_only=True):
    """Octets of an export (base64 on the line); the one with `last` ends it."""

    octets: bytes
    last: bool


class Failed(_Message, frozen=True, kw_only=True):
    """The request as a whole could not be carried out. `check`: the check that failed, if it was one."""

    detail: str
    check: str = ""


Request = (
    Submit | Perform | Extend | Revoke | RevokeAgency | ChangeRoster | Certify | SignStatement | ShowPlan | AdoptPlan
    | FilePlan | Hold | Destroy | Signed | Settle | Status
)  # fmt: skip
Inquiry = Cases | Certificates | Statements | Prove | Export | CommitSeed | Plant | Incidents
Answer = (
    Results | CaseList | CertificateList | StatementList | PlanView | Report | Proved | Done | Part | Failed | Papers
)  # fmt: skip

_inquiries: msgspec.json.Decoder[Inquiry] = msgspec.json.Decoder(Inquiry)
_requests: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_answers: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)


def encode(message: Request | Inquiry | Answer) -> bytes:
    """One line, with its newline."""
    return msgspec.json.encode(message) + b"\n"


def decode_request(line: bytes) -> Request:
    """Raises RemoteProtocolError, which does not repeat the line."""
    try:
        request = _requests.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise RemoteProtocolError("control: not a message of this interface") from None
    match request:
        case Submit(filings=filings):
            size = len(filings)
        case Extend(extensions=extensions):
            size = len(extensions)
        case (
            Perform(commands=texts) | Revoke(revocations=texts) | ChangeRoster(approvals=texts)
            | Certify(signatures=texts)
        ):  # fmt: skip
            size = len(texts)
        case _:
            size = 0
    if size > MAX_BATCH:
        raise RemoteProtocolError("control: too many in one request")
    return request


def decode_inquiry(text: str) -> Inquiry:
    """What an envelope holds. Raises RemoteProtocolError."""
    try:
        return _inquiries.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise RemoteProtocolError("control: not an inquiry of this interface") from None


def parts(octets: bytes) -> Iterator[Part]:
    """An export in lines of bounded length, the last one marked."""
    for at in range(0, max(len(octets), 1), PART_OCTETS):
        yield Part(octets=octets[at : at + PART_OCTETS], last=at + PART_OCTETS >= len(octets))


def decode_answer(line: bytes) -> Answer:
    """Raises RemoteProtocolError."""
    try:
        return _answers.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise RemoteProtocolError("control: not an answer of this interface") from None
