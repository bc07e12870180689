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

from collections.abc import Iterable, Sequence

import msgspec

from mediation.core.authority import call_back as call_back_
from mediation.core.authority import extension, jws, proof, withdrawal
from mediation.core.authority.extension import Extended
from mediation.core.authority.particulars import (
    NONCE,
    check_carrier,
    check_legal,
)
from mediation.core.authority.signature import (
    CLOCK_SKEW_S,
    TYP,
    check_key_dates,
    distinct,
    opened,
    signed,
    single_role,
)
from mediation.core.authority.trust import Key, Trust
from mediation.core.case import (
    Act,
    CallBack,
    Capability,
    CarrierToken,
    Command,
    LegalToken,
    Role,
    Standing,
    Task,
    TaskRequest,
)
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from mediation.core.ledger import entry
from mediation.core.units import NS, US

# What others look for here, too.
__all__ = [
    "CLOCK_SKEW_S", "MAX_COMMANDS", "NS", "TYP", "US", "Acts", "AuthorizationError", "Order", "admit", "check_agency",
    "check_command", "check_dates", "check_key_dates", "check_order_dates", "check_senior_officer", "distinct",
    "examine", "examine_acts", "examine_order", "signed", "single_role", "xid",
]  # fmt: skip

XID_OCTETS = 16
MAX_COMMANDS = 1_024  # acts on one order: a toggle every hour for 42 days (ours)


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """The two tokens of an order that passed `examine_order`, how others name them, and the keys that signed them; the
    call-back of an emergency order."""

    legal: LegalToken
    carrier: CarrierToken
    legal_sha256: str
    carrier_sha256: str
    legal_key: Key
    carrier_key: Key
    call_back: tuple[CallBack, Key] | None = None


class Acts(msgspec.Struct, frozen=True, kw_only=True):
    """An order and the officer's acts on it, each with the key that signed it; the extensions that he put in force.
    `tokens`: SHA-256 of each text whose withdrawal would end the task."""

    order: Order
    commands: tuple[tuple[Command, Key], ...]
    command_sha256: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()
    extensions: tuple[Extended, ...] = ()
    suspended: bool = False

    @property
    def not_after_s(self) -> int:
        """The order's end, the last extension's if there is one."""
        return self.extensions[-1].legal.not_after_s if self.extensions else self.order.legal.not_after_s


def xid(carrier: str) -> bytes:
    """The task's identifier (ETSI TS 103 221-1 XID), 16 octets: which order it is, and no other."""
    return bytes.fromhex(jws.sha256_hex(carrier))[:XID_OCTETS]


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
    # 1. to 3. The order, the officer's acts with their extensions, and whether anybody has taken any of it back.
    pairs = tuple((each.legal, each.carrier) for each in request.extensions)
    acts = examine_acts(
        request.legal, request.carrier, request.commands, trust, extensions=pairs, call_back=request.call_back
    )
    legal_sha256, carrier_sha256 = acts.order.legal_sha256, acts.order.carrier_sha256

    if acts.commands[-1][0].act is Act.DEACTIVATE:
        raise AuthorizationError(Check.DEACTIVATED)

    # 4. The ledger: each act stands in it, entered while the keys and the act itself were good.
    if len(request.proofs) != len(request.commands):
        raise AuthorizationError(Check.PROOF_COUNT)
    last_index = proof.call_back(request, acts.order.legal.case, trust)
    entered: list[int] = []
    agency = ""
    extensions = iter(zip(request.extensions, acts.extensions, strict=True))
    for sha256, (command, officer_key), shown in zip(acts.command_sha256, acts.commands, request.proofs, strict=True):
        record = proof.proven(shown, trust, entry.CommandAccepted)
        if (record.case, record.act, record.sequence) != (command.case, command.act, command.sequence) or (
            record.legal_sha256, record.carrier_sha256, record.command_sha256
        ) != (legal_sha256, carrier_sha256, sha256):  # fmt: skip
            raise AuthorizationError(Check.PROOF_RECORD)
        entered_s = record.time_us // US
        if command.act is Act.EXTEND:
            filed, extended = next(extensions)
            last_index = proof.extension(filed, extended.legal, carrier_sha256, last_index, trust)
            extension.check_dates(extended, entered_s)
        if shown.index <= last_index:
            raise AuthorizationError(Check.PROOF_ORDER)
        last_index = shown.index
        if record.time_us * 1000 > now_ns + CLOCK_SKEW_S * NS:
            raise AuthorizationError(Check.PROOF_TIME)
        check_dates(command, officer_key, entered_s)
        entered.append(entered_s)
        if command.sequence == 1:
            check_order_dates(acts.order, entered_s)
            check_senior_officer(trust, entered_s)
            agency = check_agency(acts.order, trust, entered_s)

    legal, carrier, last = acts.order.legal, acts.order.carrier, acts.commands[-1][0]
    return Task(
        xid=bytes.fromhex(carrier_sha256)[:XID_OCTETS],
        case=legal.case,
        agency=legal.agency,
        authority=legal.authority,
        subjects=legal.subjects,
        iaps=carrier.iaps,
        not_before_ns=legal.not_before_s * NS,
        not_after_ns=acts.not_after_s * NS,
        capabilities=frozenset(legal.capabilities),
        destination=legal.destination,
        profile=legal.profile,
        dde=last.dde,
        sequence=last.sequence,
        lab=trust.lab,
        suspended=acts.suspended,
        standing=_standing(acts, entered, agency, trust),
    )


def examine_acts(
    legal: str,
    carrier: str,
    commands: Sequence[str],
    trust: Trust,
    *,
    extensions: Sequence[tuple[str, str]] = (),
    call_back: str = "",
) -> Acts:
    """All signatures, each by itself and against the others: all that can be judged before the ledger has it.

    `extensions` are the legal and the carrier text of each. The last act may be a deactivation; nothing may follow one.
    """
    # 1. The order: what the legal reviewer and the carrier authorizer signed.
    order = _order(legal, carrier, trust, call_back)
    carrier_sha256 = order.carrier_sha256

    # 2. The officer's acts: each signed, each for this order and no other, in unbroken sequence.
    if not commands:
        raise AuthorizationError(Check.ACTIVATION)
    if len(commands) > MAX_COMMANDS:
        raise AuthorizationError(Check.STRUCTURE, "too many acts")
    acts: list[tuple[Command, Key]] = []
    hashes: list[str] = []
    found: list[Extended] = []
    waiting = list(extensions)[::-1]
    previous_sha256, suspended = "", False
    for number, text in enumerate(commands, 1):
        command, officer_key, sha256 = opened(text, Command, Role.OFFICER, trust)
        distinct(order.legal_key, order.carrier_key, officer_key)
        check_command(command, order.legal, carrier_sha256, trust)
        if command.sequence != number:
            raise AuthorizationError(Check.SEQUENCE)
        if (command.act is Act.ACTIVATE) != (number == 1):
            raise AuthorizationError(Check.ACTIVATION)
        if acts and acts[-1][0].act is Act.DEACTIVATE:
            raise AuthorizationError(Check.DEACTIVATED)
        if command.act in (Act.SUSPEND, Act.RESUME):
            if suspended is (command.act is Act.SUSPEND):
                raise AuthorizationError(Check.SUSPENSION)
            suspended = not suspended
        acts.append((command, officer_key))
        hashes.append(sha256)
        pair = waiting.pop() if command.act is Act.EXTEND and waiting else None
        if (jws.sha256_hex(pair[1]) if pair else "") != command.extension_sha256 or (
            command.act is Act.EXTEND and pair is None
        ):
            raise AuthorizationError(Check.EXTENSION)
        if pair is not None:
            end_s = found[-1].legal.not_after_s if found else order.legal.not_after_s
            extended = extension.examine(
                pair, order.legal, trust, legal_sha256=order.carrier.legal_sha256, carrier_sha256=carrier_sha256,
                previous_sha256=previous_sha256, end_s=end_s,
            )  # fmt: skip
            distinct(extended.legal_key, extended.carrier_key, officer_key)
            found.append(extended)
            previous_sha256 = jws.sha256_hex(pair[0])
    if waiting:
        raise AuthorizationError(Check.EXTENSION)
    extenders = [key for extended in found for key in (extended.legal_key, extended.carrier_key)]
    single_role(trust, *_signers(order), *(key for _, key in acts), *extenders)

    # 3. Nobody has taken it back.
    extending = (jws.sha256_hex(text) for pair in extensions for text in pair)
    tokens = (order.legal_sha256, order.carrier_sha256, *extending)
    if not trust.revoked.isdisjoint(tokens) or (call_back and jws.sha256_hex(call_back) in trust.revoked):
        raise AuthorizationError(Check.REVOKED)
    return Acts(
        order=order, commands=tuple(acts), command_sha256=tuple(hashes), tokens=tokens, extensions=tuple(found),
        suspended=suspended,
    )  # fmt: skip


def examine_order(legal_text: str, carrier_text: str, trust: Trust, call_back: str = "") -> Order:
    """The two tokens of an order, checked by themselves and against each other; an emergency order's call-back too."""
    order = _order(legal_text, carrier_text, trust, call_back)
    single_role(trust, *_signers(order))
    return order


def _signers(order: Order) -> Iterable[Key]:
    return (order.legal_key, order.carrier_key, *((order.call_back[1],) if order.call_back is not None else ()))


def _order(legal_text: str, carrier_text: str, trust: Trust, call_back: str) -> Order:
    legal, legal_key, legal_sha256 = opened(legal_text, LegalToken, Role.LEGAL, trust)
    carrier, carrier_key, carrier_sha256 = opened(carrier_text, CarrierToken, Role.CARRIER, trust)
    distinct(legal_key, carrier_key)
    if legal.lab is not trust.lab or carrier.lab is not trust.lab:
        raise AuthorizationError(Check.LAB_TOKEN)
    if carrier.case != legal.case:
        raise AuthorizationError(Check.SAME_CASE)
    if carrier.legal_sha256 != legal_sha256:
        raise AuthorizationError(Check.LEGAL_BINDING)
    check_legal(legal, trust.terms)
    check_carrier(carrier)
    if bool(call_back) is not legal.authority.emergency:
        raise AuthorizationError(Check.CALL_BACK)
    called = call_back_.examine(call_back, legal, carrier.legal_sha256, legal_key, trust) if call_back else None
    return Order(
        legal=legal, carrier=carrier, legal_sha256=legal_sha256, carrier_sha256=carrier_sha256, legal_key=legal_key,
        carrier_key=carrier_key, call_back=called,
    )  # fmt: skip


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
    """An act counts only if it was entered between its signing and its lapse, with a key that was good at both. What
    only ends or interrupts does not lapse: a clock that was set forward, and back, would keep it out."""
    lapsed = entered_s >= command.expires_s and command.act not in (Act.DEACTIVATE, Act.SUSPEND)
    if command.issued_s - CLOCK_SKEW_S > entered_s or lapsed:
        raise AuthorizationError(Check.COMMAND_DATES)
    check_key_dates(key, command.issued_s, entered_s)


def check_order_dates(order: Order, entered_s: int) -> None:
    """The tokens were signed before the activation was entered, with keys that were good at both times."""
    check_key_dates(order.legal_key, order.legal.issued_s, entered_s)
    check_key_dates(order.carrier_key, order.carrier.issued_s, entered_s)
    if order.call_back is not None:
        call_back, key = order.call_back
        check_key_dates(key, call_back.issued_s, entered_s)


def check_senior_officer(trust: Trust, entered_s: int) -> None:
    """Somebody was appointed to see to it that interceptions are lawful, when one began (47 CFR 1.20003(b)(4))."""
    if trust.senior_officer(entered_s) is None:
        raise AuthorizationError(Check.SENIOR_OFFICER)


def check_agency(order: Order, trust: Trust, entered_s: int) -> str:
    """The agency is one whom the carrier knew for a day when the interception began, and whose authority has not been
    withdrawn since; an emergency's was called at the number that the directory had (SEC-30). Returns what a withdrawal
    would name (core/authority/withdrawal.py)."""
    contact = trust.contact(order.legal.agency, entered_s)
    if contact is None:
        raise AuthorizationError(Check.AGENCY_CONTACT)
    by = withdrawal.marker(order.legal.agency, contact)
    if by in trust.revoked:
        raise AuthorizationError(Check.REVOKED)
    if order.call_back is not None:
        call_back_.check_number(order.call_back[0], trust)
    return by


def _standing(acts: Acts, entered_s: Sequence[int], agency: str, trust: Trust) -> Standing:
    order, first_s = acts.order, entered_s[0]
    signers = [
        (Role.LEGAL, order.legal_key.kid, order.legal.issued_s, first_s),
        (Role.CARRIER, order.carrier_key.kid, order.carrier.issued_s, first_s),
    ]
    if order.call_back is not None:
        call_back, key = order.call_back
        signers.append((call_back_.role_of(key.kid, trust), key.kid, call_back.issued_s, first_s))
    extended = iter(acts.extensions)
    for (command, key), at_s in zip(acts.commands, entered_s, strict=True):
        signers.append((Role.OFFICER, key.kid, command.issued_s, at_s))
        if command.act is Act.EXTEND:
            tokens = next(extended)
            signers.append((Role.LEGAL, tokens.legal_key.kid, tokens.legal.issued_s, at_s))
            signers.append((Role.CARRIER, tokens.carrier_key.kid, tokens.carrier.issued_s, at_s))
    return Standing(tokens=(*acts.tokens, agency), signers=tuple(signers))
