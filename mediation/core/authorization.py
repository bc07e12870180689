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
from typing import TypeVar

import msgspec

from mediation.core import entry, jws, proof
from mediation.core.case import (
    Act,
    CallBack,
    Capability,
    CarrierExtension,
    CarrierToken,
    Command,
    LegalExtension,
    LegalToken,
    Revocation,
    Role,
    Standing,
    Task,
    TaskRequest,
)
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from mediation.core.particulars import (
    NONCE,
    check_call_back,
    check_carrier,
    check_carrier_extension,
    check_legal,
    check_legal_extension,
)
from mediation.core.trust import Key, Trust

US, NS = 1_000_000, 1_000_000_000  # one second, in micro- and nanoseconds
CLOCK_SKEW_S = 60  # how far the clock of a person's signing tool may run ahead of the ledger's (ours)
MAX_COMMANDS = 1_024  # acts on one order: a toggle every hour for 42 days (ours)
TYP = {
    LegalToken: "mediation-legal",
    CarrierToken: "mediation-carrier",
    Command: "mediation-command",
    Revocation: "mediation-revocation",
    LegalExtension: "mediation-legal-extension",
    CarrierExtension: "mediation-carrier-extension",
    CallBack: "mediation-call-back",
}

T = TypeVar("T", LegalToken, CarrierToken, Command, Revocation, LegalExtension, CarrierExtension, CallBack)


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """The two tokens of an order that passed `examine_order`, and the keys that signed them; the call-back of an
    emergency order."""

    legal: LegalToken
    carrier: CarrierToken
    legal_key: Key
    carrier_key: Key
    call_back: tuple[CallBack, Key] | None = None


class Extended(msgspec.Struct, frozen=True, kw_only=True):
    """The two tokens of an extension, the keys that signed them, and the end before it."""

    legal: LegalExtension
    carrier: CarrierExtension
    legal_key: Key
    carrier_key: Key
    previous_end_s: int


class Acts(msgspec.Struct, frozen=True, kw_only=True):
    """An order and the officer's acts on it, each with the key that signed it; the extensions that he put in force."""

    order: Order
    commands: tuple[tuple[Command, Key], ...]
    extensions: tuple[Extended, ...] = ()
    suspended: bool = False

    @property
    def not_after_s(self) -> int:
        """The order's end, the last extension's if there is one."""
        return self.extensions[-1].legal.not_after_s if self.extensions else self.order.legal.not_after_s


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
    # 1. to 3. The order, the officer's acts with their extensions, and whether anybody has taken any of it back.
    pairs = tuple((extension.legal, extension.carrier) for extension in request.extensions)
    acts = examine_acts(
        request.legal, request.carrier, request.commands, trust, extensions=pairs, call_back=request.call_back
    )
    legal_sha256, carrier_sha256 = jws.sha256_hex(request.legal), jws.sha256_hex(request.carrier)

    if acts.commands[-1][0].act is Act.DEACTIVATE:
        raise AuthorizationError(Check.DEACTIVATED)

    # 4. The ledger: each act stands in it, entered while the keys and the act itself were good.
    if len(request.proofs) != len(request.commands):
        raise AuthorizationError(Check.PROOF_COUNT)
    last_index = proof.call_back(request, acts.order.legal.case, trust)
    entered: list[int] = []
    extensions = iter(zip(request.extensions, acts.extensions, strict=True))
    for text, (command, officer_key), shown in zip(request.commands, acts.commands, request.proofs, strict=True):
        record = proof.proven(shown, trust, entry.CommandAccepted)
        if (record.case, record.act, record.sequence) != (command.case, command.act, command.sequence) or (
            record.legal_sha256, record.carrier_sha256, record.command_sha256
        ) != (legal_sha256, carrier_sha256, jws.sha256_hex(text)):  # fmt: skip
            raise AuthorizationError(Check.PROOF_RECORD)
        entered_s = record.time_us // US
        if command.act is Act.EXTEND:
            extension, extended = next(extensions)
            last_index = proof.extension(extension, extended.legal, carrier_sha256, last_index, trust)
            check_extension_dates(extended, entered_s)
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

    legal, carrier, last = acts.order.legal, acts.order.carrier, acts.commands[-1][0]
    return Task(
        xid=xid(request.carrier),
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
        standing=_standing(acts, entered, request, trust),
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
    carrier_sha256 = jws.sha256_hex(carrier)

    # 2. The officer's acts: each signed, each for this order and no other, in unbroken sequence.
    if not commands:
        raise AuthorizationError(Check.ACTIVATION)
    if len(commands) > MAX_COMMANDS:
        raise AuthorizationError(Check.STRUCTURE, "too many acts")
    acts: list[tuple[Command, Key]] = []
    found: list[Extended] = []
    waiting = list(extensions)[::-1]
    previous_sha256, suspended = "", False
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
        if command.act in (Act.SUSPEND, Act.RESUME):
            if suspended is (command.act is Act.SUSPEND):
                raise AuthorizationError(Check.SUSPENSION)
            suspended = not suspended
        acts.append((command, officer_key))
        pair = waiting.pop() if command.act is Act.EXTEND and waiting else None
        if (jws.sha256_hex(pair[1]) if pair else "") != command.extension_sha256 or (
            command.act is Act.EXTEND and pair is None
        ):
            raise AuthorizationError(Check.EXTENSION)
        if pair is not None:
            end_s = found[-1].legal.not_after_s if found else order.legal.not_after_s
            extended = _extension(
                pair, order, trust, carrier_sha256=carrier_sha256, previous_sha256=previous_sha256, end_s=end_s
            )
            distinct(extended.legal_key, extended.carrier_key, officer_key)
            found.append(extended)
            previous_sha256 = jws.sha256_hex(pair[0])
    if waiting:
        raise AuthorizationError(Check.EXTENSION)
    extenders = [key for extended in found for key in (extended.legal_key, extended.carrier_key)]
    single_role(trust, *_signers(order), *(key for _, key in acts), *extenders)

    # 3. Nobody has taken it back.
    texts = (legal, carrier, call_back, *(text for pair in extensions for text in pair))
    if not trust.revoked.isdisjoint(jws.sha256_hex(text) for text in texts):
        raise AuthorizationError(Check.REVOKED)
    return Acts(order=order, commands=tuple(acts), extensions=tuple(found), suspended=suspended)


def examine_order(legal_text: str, carrier_text: str, trust: Trust, call_back: str = "") -> Order:
    """The two tokens of an order, checked by themselves and against each other; an emergency order's call-back too."""
    order = _order(legal_text, carrier_text, trust, call_back)
    single_role(trust, *_signers(order))
    return order


def _signers(order: Order) -> Iterable[Key]:
    return (order.legal_key, order.carrier_key, *((order.call_back[1],) if order.call_back is not None else ()))


def _order(legal_text: str, carrier_text: str, trust: Trust, call_back: str) -> Order:
    legal, legal_key = signed(legal_text, LegalToken, Role.LEGAL, trust)
    carrier, carrier_key = signed(carrier_text, CarrierToken, Role.CARRIER, trust)
    distinct(legal_key, carrier_key)
    if legal.lab is not trust.lab or carrier.lab is not trust.lab:
        raise AuthorizationError(Check.LAB_TOKEN)
    if carrier.case != legal.case:
        raise AuthorizationError(Check.SAME_CASE)
    if carrier.legal_sha256 != jws.sha256_hex(legal_text):
        raise AuthorizationError(Check.LEGAL_BINDING)
    check_legal(legal, trust.terms)
    check_carrier(carrier)
    if bool(call_back) is not legal.authority.emergency:
        raise AuthorizationError(Check.CALL_BACK)
    called = _call_back(call_back, legal, legal_text, legal_key, trust) if call_back else None
    return Order(legal=legal, carrier=carrier, legal_key=legal_key, carrier_key=carrier_key, call_back=called)


def call_back_role(kid: str, trust: Trust) -> Role:
    """Whose role a call-back's key is looked up in: an officer's, else a carrier authorizer's."""
    return Role.OFFICER if kid in trust.rings.get(Role.OFFICER, {}) else Role.CARRIER


def _call_back(text: str, legal: LegalToken, legal_text: str, legal_key: Key, trust: Trust) -> tuple[CallBack, Key]:
    """The call-back of an emergency order: by a second person, to the directory's number, and confirmed (SEC-30)."""
    call_back, key = signed(text, CallBack, call_back_role(jws.split(text).header.kid, trust), trust)
    distinct(legal_key, key)
    if call_back.lab is not trust.lab:
        raise AuthorizationError(Check.LAB_TOKEN)
    if call_back.case != legal.case:
        raise AuthorizationError(Check.SAME_CASE)
    if call_back.legal_sha256 != jws.sha256_hex(legal_text):
        raise AuthorizationError(Check.LEGAL_BINDING)
    check_call_back(call_back)
    if call_back.agency != legal.agency or call_back.answer != "confirmed":
        raise AuthorizationError(Check.CALL_BACK)
    if not legal.issued_s - CLOCK_SKEW_S <= call_back.called_s <= call_back.issued_s:
        raise AuthorizationError(Check.CALL_BACK)
    return call_back, key


def _extension(
    pair: tuple[str, str], order: Order, trust: Trust, *, carrier_sha256: str, previous_sha256: str, end_s: int
) -> Extended:
    """The two tokens of an extension, which continues the order from `end_s`."""
    legal, legal_key = signed(pair[0], LegalExtension, Role.LEGAL, trust)
    carrier, carrier_key = signed(pair[1], CarrierExtension, Role.CARRIER, trust)
    distinct(legal_key, carrier_key)
    if legal.lab is not trust.lab or carrier.lab is not trust.lab:
        raise AuthorizationError(Check.LAB_TOKEN)
    if not legal.case == carrier.case == order.legal.case:
        raise AuthorizationError(Check.SAME_CASE)
    if legal.legal_sha256 != order.carrier.legal_sha256 or carrier.extension_sha256 != jws.sha256_hex(pair[0]):
        raise AuthorizationError(Check.LEGAL_BINDING)
    if carrier.carrier_sha256 != carrier_sha256:
        raise AuthorizationError(Check.CARRIER_BINDING)
    check_legal_extension(legal)
    check_carrier_extension(carrier)
    if legal.previous_sha256 != previous_sha256 or legal.not_after_s <= end_s:
        raise AuthorizationError(Check.EXTENSION)
    whole = order.legal
    trust.terms.check_extension(whole.authority, whole.term_days, whole.not_before_s, end_s, legal.not_after_s)
    return Extended(
        legal=legal, carrier=carrier, legal_key=legal_key, carrier_key=carrier_key, previous_end_s=end_s
    )  # fmt: skip


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
    """The tokens were signed before the activation was entered, with keys that were good at both times."""
    check_key_dates(order.legal_key, order.legal.issued_s, entered_s)
    check_key_dates(order.carrier_key, order.carrier.issued_s, entered_s)
    if order.call_back is not None:
        call_back, key = order.call_back
        check_key_dates(key, call_back.issued_s, entered_s)


def check_extension_dates(extended: Extended, entered_s: int) -> None:
    """An extension counts only if it was entered before the end that it moves, by keys that were good."""
    if entered_s >= extended.previous_end_s:
        raise AuthorizationError(Check.EXTENSION)
    if extended.legal.issued_s > extended.carrier.issued_s + CLOCK_SKEW_S:
        raise AuthorizationError(Check.COMMAND_DATES)
    check_key_dates(extended.legal_key, extended.legal.issued_s, entered_s)
    check_key_dates(extended.carrier_key, extended.carrier.issued_s, entered_s)


def check_senior_officer(trust: Trust, entered_s: int) -> None:
    """Somebody was appointed to see to it that interceptions are lawful, when one began (47 CFR 1.20003(b)(4))."""
    if trust.senior_officer(entered_s) is None:
        raise AuthorizationError(Check.SENIOR_OFFICER)


def _standing(acts: Acts, entered_s: Sequence[int], request: TaskRequest, trust: Trust) -> Standing:
    order, first_s = acts.order, entered_s[0]
    signers = [
        (Role.LEGAL, order.legal_key.kid, order.legal.issued_s, first_s),
        (Role.CARRIER, order.carrier_key.kid, order.carrier.issued_s, first_s),
    ]
    texts = [request.legal, request.carrier]
    if order.call_back is not None:
        call_back, key = order.call_back
        signers.append((call_back_role(key.kid, trust), key.kid, call_back.issued_s, first_s))
    extended = iter(zip(request.extensions, acts.extensions, strict=True))
    for (command, key), at_s in zip(acts.commands, entered_s, strict=True):
        signers.append((Role.OFFICER, key.kid, command.issued_s, at_s))
        if command.act is Act.EXTEND:
            extension, tokens = next(extended)
            texts += [extension.legal, extension.carrier]
            signers.append((Role.LEGAL, tokens.legal_key.kid, tokens.legal.issued_s, at_s))
            signers.append((Role.CARRIER, tokens.carrier_key.kid, tokens.carrier.issued_s, at_s))
    return Standing(tokens=tuple(jws.sha256_hex(text) for text in texts), signers=tuple(signers))


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
