"""Whether a task has authority: the one function that the administrator, the access function and the mediator each
call for themselves.

An interception is activated only with a legal authorization, a carrier authorization and the affirmative act of an
individual officer (47 CFR 1.20003(a), 1.20004(a)). Here those are three signed objects, each with one signature, each
checked against the key ring of its own role; the ledger's proof shows that each act was entered before it was done.
None of the three alone, and no process of ours, can start an interception.

`admit` reads from top to bottom; each guard raises AuthorizationError with the name of one Check. It may not read a
clock, a file or the state of a case: the time, the keys and the whole history of the order are its arguments.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec

from mediation.core import entry, jws, merkle
from mediation.core.case import (
    Act,
    Authority,
    Capability,
    CarrierToken,
    Command,
    Destination,
    LegalToken,
    Proof,
    Revocation,
    Role,
    Standing,
    Task,
    TaskRequest,
)
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from mediation.core.trust import Key, Trust

US, NS = 1_000_000, 1_000_000_000  # one second, in micro- and nanoseconds
CLOCK_SKEW_S = 60  # how far the clock of a person's signing tool may run ahead of the ledger's (ours)
MAX_COMMANDS = 1_024  # acts on one order: a toggle every hour for 42 days (ours)
MAX_SUBJECTS = 64
MAX_SUBJECT_OCTETS = 255
MAX_IAPS = 64
MAX_CHANNELS = 10_000  # calls whose content one order delivers at once (ours)
MAX_YEAR_S = 32_503_680_000  # the year 3000: beyond it a time is a slip of the pen

CASE_IDENTITY = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,23}[\x21-\x7e])?")  # VisibleString SIZE(1..25), no outer blanks
AGENCY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")  # also the name of a folder: no separator, no leading dot
SUBJECT = re.compile(r"(tel|sips?):[\x21-\x7e]+", re.IGNORECASE)
LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOST = re.compile(rf"(?=.{{1,253}}\Z){LABEL}(\.{LABEL})*")  # RFC 1123 §2.1
SHA256 = re.compile(r"[0-9a-f]{64}")
NONCE = re.compile(r"[0-9a-f]{32,64}")
PARTICULAR = re.compile(r"[^\x00-\x1f\x7f]{1,200}")  # court, judge, officer
IAP = re.compile(r"[\x21-\x7e]{1,15}")  # iAPSystemId, VisibleString SIZE(1..15)

TYP = {
    LegalToken: "mediation-legal",
    CarrierToken: "mediation-carrier",
    Command: "mediation-command",
    Revocation: "mediation-revocation",
}

# What each type of legal authorization can never give. A pen register or a trap and trace device records dialing and
# signalling, not content (18 USC 3127(3), (4)), and gives no location (47 USC 1002(a)(2)).
FORBIDDEN: Mapping[Authority, frozenset[Capability]] = {
    Authority.PEN_REGISTER: frozenset({Capability.CONTENT, Capability.LOCATION}),
    Authority.TRAP_AND_TRACE: frozenset({Capability.CONTENT, Capability.LOCATION}),
    Authority.TITLE_III: frozenset(),
    Authority.FISA: frozenset(),
}

T = TypeVar("T", LegalToken, CarrierToken, Command, Revocation)


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """The two tokens of an order that passed `examine_order`, and the keys that signed them."""

    legal: LegalToken
    carrier: CarrierToken
    legal_key: Key
    carrier_key: Key


class Acts(msgspec.Struct, frozen=True, kw_only=True):
    """An order and the officer's acts on it, each with the key that signed it."""

    order: Order
    commands: tuple[tuple[Command, Key], ...]


def xid(carrier: str) -> bytes:
    """The task's identifier (ETSI TS 103 221-1 XID), 16 octets: which order it is, and no other."""
    return bytes.fromhex(jws.sha256_hex(carrier))[:16]


def admit(request: TaskRequest, trust: Trust, now_ns: int) -> Task:
    """The task that `request` gives authority for at `now_ns` (UTC, nanoseconds since 1970).

    Raises AuthorizationError naming the first check that fails.
    """
    task = examine(request, trust, now_ns)
    if now_ns < task.not_before_ns:
        raise AuthorizationError(Check.NOT_YET_VALID)
    if now_ns >= task.not_after_ns:
        raise AuthorizationError(Check.EXPIRED)
    return task


def examine(request: TaskRequest, trust: Trust, now_ns: int) -> Task:
    """Everything that `admit` checks but the window: what is asked of an order that begins later."""
    # 1. to 3. The order, the officer's acts, and whether anybody has taken the order back.
    acts = examine_acts(request.legal, request.carrier, request.commands, trust)
    legal_sha256, carrier_sha256 = jws.sha256_hex(request.legal), jws.sha256_hex(request.carrier)

    if acts.commands[-1][0].act is Act.DEACTIVATE:
        raise AuthorizationError(Check.DEACTIVATED)

    # 4. The ledger: each act stands in it, entered while the keys and the act itself were good.
    if len(request.proofs) != len(request.commands):
        raise AuthorizationError(Check.PROOF_COUNT)
    last_index = -1
    entered_s: list[int] = []
    for text, (command, officer_key), proof in zip(request.commands, acts.commands, request.proofs, strict=True):
        record = _proven(proof, trust)
        if (record.case, record.act, record.sequence) != (command.case, command.act, command.sequence) or (
            record.legal_sha256, record.carrier_sha256, record.command_sha256
        ) != (legal_sha256, carrier_sha256, jws.sha256_hex(text)):  # fmt: skip
            raise AuthorizationError(Check.PROOF_RECORD)
        if proof.index <= last_index:
            raise AuthorizationError(Check.PROOF_ORDER)
        last_index = proof.index
        if record.time_us * 1000 > now_ns + CLOCK_SKEW_S * NS:
            raise AuthorizationError(Check.PROOF_TIME)
        check_dates(command, officer_key, record.time_us // US)
        entered_s.append(record.time_us // US)
        if command.sequence == 1:
            check_order_dates(acts.order, record.time_us // US)
            check_senior_officer(trust, record.time_us // US)

    legal, carrier, last = acts.order.legal, acts.order.carrier, acts.commands[-1][0]
    return Task(
        xid=xid(request.carrier),
        case=legal.case,
        agency=legal.agency,
        authority=legal.authority,
        subjects=legal.subjects,
        iaps=carrier.iaps,
        not_before_ns=legal.not_before_s * NS,
        not_after_ns=legal.not_after_s * NS,
        capabilities=frozenset(legal.capabilities),
        destination=legal.destination,
        profile=legal.profile,
        dde=last.dde,
        sequence=last.sequence,
        lab=trust.lab,
        standing=_standing(acts, entered_s, (legal_sha256, carrier_sha256)),
    )


def examine_acts(legal: str, carrier: str, commands: Sequence[str], trust: Trust) -> Acts:
    """The three signatures, each by itself and against the others: all that can be judged before the ledger has it.

    The last act may be a deactivation; nothing may follow one.
    """
    # 1. The order: what the legal reviewer and the carrier authorizer signed.
    order = _order(legal, carrier, trust)
    carrier_sha256 = jws.sha256_hex(carrier)

    # 2. The officer's acts: each signed, each for this order and no other, in unbroken sequence.
    if not commands:
        raise AuthorizationError(Check.ACTIVATION)
    if len(commands) > MAX_COMMANDS:
        raise AuthorizationError(Check.STRUCTURE, "too many acts")
    acts: list[tuple[Command, Key]] = []
    for number, text in enumerate(commands, 1):
        command, officer_key = signed(text, Command, Role.OFFICER, trust)
        distinct(order.legal_key, order.carrier_key, officer_key)
        check_command(command, order.legal, carrier_sha256, trust)
        if command.sequence != number:
            raise AuthorizationError(Check.SEQUENCE)
        if (command.act is Act.ACTIVATE) != (number == 1):
            raise AuthorizationError(Check.ACTIVATION)
        if acts and acts[-1][0].act is Act.DEACTIVATE:
            raise AuthorizationError(Check.DEACTIVATED)
        acts.append((command, officer_key))
    single_role(trust, order.legal_key, order.carrier_key, *(key for _, key in acts))

    # 3. Nobody has taken it back.
    if not trust.revoked.isdisjoint((jws.sha256_hex(legal), carrier_sha256)):
        raise AuthorizationError(Check.REVOKED)
    return Acts(order=order, commands=tuple(acts))


def examine_order(legal_text: str, carrier_text: str, trust: Trust) -> Order:
    """The two tokens of an order, checked by themselves and against each other."""
    order = _order(legal_text, carrier_text, trust)
    single_role(trust, order.legal_key, order.carrier_key)
    return order


def _order(legal_text: str, carrier_text: str, trust: Trust) -> Order:
    legal, legal_key = signed(legal_text, LegalToken, Role.LEGAL, trust)
    carrier, carrier_key = signed(carrier_text, CarrierToken, Role.CARRIER, trust)
    distinct(legal_key, carrier_key)
    if legal.lab is not trust.lab or carrier.lab is not trust.lab:
        raise AuthorizationError(Check.LAB_TOKEN)
    if carrier.case != legal.case:
        raise AuthorizationError(Check.SAME_CASE)
    if carrier.legal_sha256 != jws.sha256_hex(legal_text):
        raise AuthorizationError(Check.LEGAL_BINDING)
    check_legal(legal)
    check_carrier(carrier)
    return Order(legal=legal, carrier=carrier, legal_key=legal_key, carrier_key=carrier_key)


def signed(text: str, kind: type[T], role: Role, trust: Trust) -> tuple[T, Key]:
    """The payload of a signed object of `kind`, and the key of `role` that signed it."""
    parts = jws.split(text)
    if parts.header.typ != TYP[kind]:
        raise AuthorizationError(Check.TOKEN_TYPE)
    key = trust.key(role, parts.header.kid)
    trust.verify(parts, key)
    if key.lab is not trust.lab:
        raise AuthorizationError(Check.LAB_KEY)
    return jws.decode(parts.payload, kind), key


def distinct(*keys: Key) -> None:
    """Each signature by another key and by another person."""
    if len({key.public for key in keys}) != len(keys):
        raise AuthorizationError(Check.DISTINCT_KEYS)
    if len({key.person for key in keys}) != len(keys):
        raise AuthorizationError(Check.DISTINCT_PERSONS)


def single_role(trust: Trust, *keys: Key) -> None:
    """Nobody who signs holds a second role, whether he uses it here or not (SEC-16)."""
    if any(key.person in trust.of_two_roles for key in keys):
        raise AuthorizationError(Check.DISTINCT_ROLES)


def check_legal(legal: LegalToken) -> None:
    """What the order says is complete, bounded, and within its type of legal authorization."""
    if not CASE_IDENTITY.fullmatch(legal.case):
        raise AuthorizationError(Check.CASE_IDENTITY)
    if not AGENCY.fullmatch(legal.agency):
        raise AuthorizationError(Check.AGENCY)
    if not 0 < len(legal.subjects) <= MAX_SUBJECTS or len(set(legal.subjects)) != len(legal.subjects):
        raise AuthorizationError(Check.SUBJECTS)
    if not all(SUBJECT.fullmatch(uri) and len(uri) <= MAX_SUBJECT_OCTETS for uri in legal.subjects):
        raise AuthorizationError(Check.SUBJECTS)
    if not legal.capabilities or len(set(legal.capabilities)) != len(legal.capabilities):
        raise AuthorizationError(Check.CAPABILITIES)
    if not FORBIDDEN[legal.authority].isdisjoint(legal.capabilities):
        raise AuthorizationError(Check.AUTHORITY)
    if Capability.CONTENT in legal.capabilities and legal.destination.content is None:
        raise AuthorizationError(Check.CONTENT_MISSING)
    if legal.destination.content is not None and Capability.CONTENT not in legal.capabilities:
        raise AuthorizationError(Check.CONTENT_UNORDERED)
    check_destination(legal.destination)
    if not 0 <= legal.not_before_s < legal.not_after_s < MAX_YEAR_S:
        raise AuthorizationError(Check.WINDOW_ORDER)
    particulars = (legal.court, legal.judge, legal.presenting_officer)
    if not all(PARTICULAR.fullmatch(text) and text.strip() for text in particulars):
        raise AuthorizationError(Check.PARTICULARS)
    if not SHA256.fullmatch(legal.document_sha256) or not NONCE.fullmatch(legal.nonce):
        raise AuthorizationError(Check.PARTICULARS)


def check_destination(destination: Destination) -> None:
    _check_address(destination.host, destination.port)
    if not SHA256.fullmatch(destination.certificate_sha256):
        raise AuthorizationError(Check.DESTINATION)
    content = destination.content
    if content is None:
        return
    _check_address(content.host, content.port)
    if not 0 < content.maximum <= MAX_CHANNELS or (content.host, content.port) == (destination.host, destination.port):
        raise AuthorizationError(Check.DESTINATION)


def _check_address(host: str, port: int) -> None:
    try:
        address = ipaddress.ip_address(host)
        if "%" in host or address.is_unspecified or address.is_multicast:
            raise AuthorizationError(Check.DESTINATION)
    except ValueError:
        # What looks like a mistyped IPv4 address must not become a name to be looked up.
        if not HOST.fullmatch(host) or host.rpartition(".")[2].isdigit():
            raise AuthorizationError(Check.DESTINATION) from None
    if not 0 < port < 1 << 16:
        raise AuthorizationError(Check.DESTINATION)


def check_carrier(carrier: CarrierToken) -> None:
    if not SHA256.fullmatch(carrier.policy_sha256) or not NONCE.fullmatch(carrier.nonce):
        raise AuthorizationError(Check.PARTICULARS)
    if len(carrier.iaps) > MAX_IAPS or len(set(carrier.iaps)) != len(carrier.iaps):
        raise AuthorizationError(Check.IAPS)
    if not all(IAP.fullmatch(name) for name in carrier.iaps):
        raise AuthorizationError(Check.IAPS)


def check_command(command: Command, legal: LegalToken, carrier_sha256: str, trust: Trust) -> None:
    """One act by itself, against its order."""
    if command.lab is not trust.lab:
        raise AuthorizationError(Check.LAB_TOKEN)
    if command.case != legal.case:
        raise AuthorizationError(Check.SAME_CASE)
    if command.carrier_sha256 != carrier_sha256:
        raise AuthorizationError(Check.CARRIER_BINDING)
    if command.dde and Capability.DIGITS not in legal.capabilities:
        raise AuthorizationError(Check.DDE_CAPABILITY)
    if not NONCE.fullmatch(command.nonce):
        raise AuthorizationError(Check.PARTICULARS)


def check_dates(command: Command, key: Key, entered_s: int) -> None:
    """An act counts only if it was entered between its signing and its lapse, with a key that was good at both."""
    if not command.issued_s - CLOCK_SKEW_S <= entered_s < command.expires_s:
        raise AuthorizationError(Check.COMMAND_DATES)
    check_key_dates(key, command.issued_s, entered_s)


def check_order_dates(order: Order, entered_s: int) -> None:
    """The two tokens were signed before the activation was entered, with keys that were good at both times."""
    check_key_dates(order.legal_key, order.legal.issued_s, entered_s)
    check_key_dates(order.carrier_key, order.carrier.issued_s, entered_s)


def check_senior_officer(trust: Trust, entered_s: int) -> None:
    """Somebody was appointed to see to it that interceptions are lawful, when one began (47 CFR 1.20003(b)(4))."""
    if trust.senior_officer(entered_s) is None:
        raise AuthorizationError(Check.SENIOR_OFFICER)


def _standing(acts: Acts, entered_s: Sequence[int], tokens: tuple[str, ...]) -> Standing:
    order, first_s = acts.order, entered_s[0]
    officers = ((Role.OFFICER, key.kid, c.issued_s, at) for (c, key), at in zip(acts.commands, entered_s, strict=True))
    signers = (
        (Role.LEGAL, order.legal_key.kid, order.legal.issued_s, first_s),
        (Role.CARRIER, order.carrier_key.kid, order.carrier.issued_s, first_s),
        *officers,
    )
    return Standing(tokens=tokens, signers=signers)


def check_key_dates(key: Key, issued_s: int, entered_s: int) -> None:
    """The key was good when it signed, and no later act can be back-dated into its life: the ledger's time counts.

    A key that lapses later does not stop a running case; a key that is taken out of its ring does.
    """
    if issued_s > entered_s + CLOCK_SKEW_S:
        raise AuthorizationError(Check.COMMAND_DATES)
    if not key.not_before_s <= issued_s < key.not_after_s or not key.not_before_s <= entered_s < key.not_after_s:
        raise AuthorizationError(Check.KEY_DATES)
    if key.held is not None:
        for moment_s in (issued_s, entered_s):
            if not any(from_s <= moment_s < to_s for from_s, to_s in key.held):
                raise AuthorizationError(Check.PERSON_DATES)


def _proven(proof: Proof, trust: Trust) -> entry.CommandAccepted:
    """The record that `proof` shows to stand in this site's ledger."""
    checkpoint = trust.checkpoint(proof.checkpoint)
    try:
        salt = bytes.fromhex(proof.salt)
        path = [bytes.fromhex(sibling) for sibling in proof.path]
        record = entry.decode(proof.record)
    except (ValueError, msgspec.MsgspecError):
        raise AuthorizationError(Check.STRUCTURE, "proof") from None
    if len(salt) != entry.SALT_OCTETS or any(len(sibling) != merkle.HASH_OCTETS for sibling in path):
        raise AuthorizationError(Check.STRUCTURE, "proof")
    leaf = merkle.leaf_hash(entry.commitment(salt, proof.record))
    try:
        root = merkle.root_from_inclusion(leaf, proof.index, checkpoint.size, path)
    except ValueError:
        raise AuthorizationError(Check.PROOF_INCLUSION) from None
    if root != checkpoint.root:
        raise AuthorizationError(Check.PROOF_INCLUSION)
    if not isinstance(record, entry.CommandAccepted):
        raise AuthorizationError(Check.PROOF_RECORD)
    return record
