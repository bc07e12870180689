"""What persons do with an order that was filed: an officer's acts, and the withdrawal of a token.

Answers for judging each against its order and the order's whole history before it is entered. It holds no authority
and writes nothing: `orders` does, with what this module has found good.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from mediation.administration.order.stored import Stored
from mediation.core.authority import authorization, extension, jws
from mediation.core.authority.trust import Trust
from mediation.core.case import ENDED, LIFE, Act, Command, Event, Revocation, Role, State
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from mediation.core.ledger import entry
from mediation.core.units import NS

# What an act is refused by that the order's state does not have.
UNFIT = {Act.EXTEND: Check.EXTENSION, Act.SUSPEND: Check.SUSPENSION, Act.RESUME: Check.SUSPENSION}

OVER = {State.EXPIRED: Check.EXPIRED, State.REVOKED: Check.REVOKED}  # any other end is called `deactivated`


class Acted(msgspec.Struct, frozen=True, kw_only=True):
    """An officer's act that is good, with its entry; an extension has one of its own before it."""

    command: Command
    state: State  # of the order after it
    record: entry.CommandAccepted
    extension: entry.ExtensionFiled | None = None

    @property
    def stop(self) -> bool:
        """Whether it only ends or interrupts: that waits for nothing."""
        return self.command.act in (Act.DEACTIVATE, Act.SUSPEND)


def after(state: State, act: Act) -> State:
    """Where an act leads. Raises AuthorizationError for an order that is not in a state for it."""
    if act is Act.DDE:
        return state
    to = LIFE.get((state, Event(act)))
    if to is None:
        raise AuthorizationError(UNFIT.get(act, Check.SEQUENCE))
    return to


def examine(
    text: str, order: Stored, trust: Trust, now_ns: int, *, held: bool, pair: tuple[str, str] | None = None
) -> Acted:
    """One more act on `order`; `held`: the ledger knows of acts on it that the store has lost. `pair` are the legal and
    the carrier text of an extension, for an act that puts it in force.

    Raises AuthorizationError.
    """
    claimed = jws.decode(jws.split(text).payload, Command)
    if order.state in ENDED:
        raise AuthorizationError(OVER.get(order.state, Check.DEACTIVATED))
    if held and claimed.act is not Act.DEACTIVATE:
        raise AuthorizationError(Check.SUPERSEDED, "the ledger knows of acts that the store has lost")
    if now_ns >= order.not_after_s * NS:
        raise AuthorizationError(Check.EXPIRED)
    if len(order.commands) >= authorization.MAX_COMMANDS - 1 and claimed.act is not Act.DEACTIVATE:
        raise AuthorizationError(Check.STRUCTURE, "too many acts: the last place is that of its end")
    texts = [*(earlier for earlier, _ in order.commands), text]
    pairs = [(legal, carrier) for legal, carrier, _ in order.extensions] + ([pair] if pair is not None else [])
    call_back = order.call_back[0] if order.call_back is not None else ""
    acts = authorization.examine_acts(order.legal, order.carrier, texts, trust, extensions=pairs, call_back=call_back)
    command, key = acts.commands[-1]
    authorization.check_dates(command, key, now_ns // NS)
    if command.act is Act.ACTIVATE:
        authorization.check_order_dates(acts.order, now_ns // NS)
        authorization.check_senior_officer(trust, now_ns // NS)
        authorization.check_agency(acts.order, trust, now_ns // NS)
    filed = None
    if pair is not None:
        extended = acts.extensions[-1]
        extension.check_dates(extended, now_ns // NS)
        filed = entry.ExtensionFiled(
            time_us=now_ns // 1000, case=order.case, carrier_sha256=order.carrier_sha256,
            legal_extension_sha256=jws.sha256_hex(pair[0]), carrier_extension_sha256=jws.sha256_hex(pair[1]),
            document_sha256=extended.legal.document_sha256, legal_person=extended.legal_key.person,
            carrier_person=extended.carrier_key.person, not_after_s=extended.legal.not_after_s,
        )  # fmt: skip
    state = after(order.state, command.act)
    if command.act is Act.RESUME and order.extensions:
        state = LIFE[state, Event.EXTEND]  # what was extended still is
    record = accepted(text, command, key.person, order.legal_sha256, now_ns // 1000)
    return Acted(command=command, state=state, record=record, extension=filed)


class Withdrawn(msgspec.Struct, frozen=True, kw_only=True):
    """A withdrawal that is good, the order that it ends, and its entry."""

    order: Stored
    revocation: Revocation
    record: entry.Revoked


def examine_revocation(text: str, orders_of_case: Iterable[Stored], trust: Trust, now_ns: int) -> Withdrawn:
    """The withdrawal of a token of one of these orders. Raises AuthorizationError."""
    claimed = jws.decode(jws.split(text).payload, Revocation)
    found = [order for order in orders_of_case if claimed.token_sha256 in signed_by(order) and order.state not in ENDED]
    if not found:
        raise AuthorizationError(Check.REVOCATION)
    order = found[0]  # no other has this token
    role = signed_by(order)[claimed.token_sha256]
    revocation, key = authorization.signed(text, Revocation, role, trust)
    if revocation.lab is not trust.lab:
        raise AuthorizationError(Check.LAB_TOKEN)
    authorization.check_key_dates(key, revocation.issued_s, now_ns // NS)
    record = entry.Revoked(
        time_us=now_ns // 1000, case=order.case, carrier_sha256=order.carrier_sha256,
        token_sha256=revocation.token_sha256, revocation_sha256=jws.sha256_hex(text), person=key.person,
    )  # fmt: skip
    return Withdrawn(order=order, revocation=revocation, record=record)


def signed_by(order: Stored) -> dict[str, Role]:
    """The tokens of an order that can be withdrawn, by hash, each with the role that signs it."""
    tokens = {order.legal_sha256: Role.LEGAL, order.carrier_sha256: Role.CARRIER}
    for legal, carrier, _ in order.extensions:
        tokens |= {jws.sha256_hex(legal): Role.LEGAL, jws.sha256_hex(carrier): Role.CARRIER}
    return tokens


def accepted(text: str, command: Command, person: str, legal_sha256: str, time_us: int) -> entry.CommandAccepted:
    """The entry of an act."""
    return entry.CommandAccepted(
        time_us=time_us, case=command.case, act=command.act, sequence=command.sequence, legal_sha256=legal_sha256,
        carrier_sha256=command.carrier_sha256, command_sha256=jws.sha256_hex(text), officer=person,
    )  # fmt: skip


def accepted_late(text: str, trust: Trust, legal_sha256: str, time_us: int) -> entry.CommandAccepted:
    """The same of a stop that was found good when it came, and is entered by a later process."""
    parts = jws.split(text)
    key = trust.rings.get(Role.OFFICER, {}).get(parts.header.kid)
    command = jws.decode(parts.payload, Command)
    return accepted(text, command, key.person if key is not None else "", legal_sha256, time_us)
