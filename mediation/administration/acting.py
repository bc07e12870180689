"""What persons do with an order that was filed: an officer's acts, and the withdrawal of a token.

Answers for judging each against its order and the order's whole history before it is entered. It holds no authority
and writes nothing: `orders` does, with what this module has found good.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from mediation.administration.ledger import Entered
from mediation.administration.store import PENDING, Stored
from mediation.core import authorization, entry, jws
from mediation.core.authorization import NS
from mediation.core.case import ENDED, Act, Command, Revocation, Role
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from mediation.core.trust import Trust

PENDING_ENTRY = Entered(index=PENDING, record="", salt="")


class Acted(msgspec.Struct, frozen=True, kw_only=True):
    """An officer's act that is good, and its entry."""

    command: Command
    record: entry.CommandAccepted


def examine(text: str, order: Stored, trust: Trust, now_ns: int, *, held: bool) -> Acted:
    """One more act on `order`; `held`: the ledger knows of acts on it that the store has lost.

    Raises AuthorizationError.
    """
    claimed = jws.decode(jws.split(text).payload, Command)
    if order.state in ENDED:
        raise AuthorizationError(Check[order.state.name])
    if held and claimed.act is not Act.DEACTIVATE:
        raise AuthorizationError(Check.SUPERSEDED, "the ledger knows of acts that the store has lost")
    if now_ns >= order.not_after_s * NS:
        raise AuthorizationError(Check.EXPIRED)
    texts = [*(earlier for earlier, _ in order.commands), text]
    acts = authorization.examine_acts(order.legal, order.carrier, texts, trust)
    command, key = acts.commands[-1]
    authorization.check_dates(command, key, now_ns // NS)
    if command.act is Act.ACTIVATE:
        authorization.check_order_dates(acts.order, now_ns // NS)
        authorization.check_senior_officer(trust, now_ns // NS)
    return Acted(command=command, record=accepted(text, command, key.person, order.legal_sha256, now_ns // 1000))


class Withdrawn(msgspec.Struct, frozen=True, kw_only=True):
    """A withdrawal that is good, the order that it ends, and its entry."""

    order: Stored
    revocation: Revocation
    record: entry.Revoked


def examine_revocation(text: str, orders_of_case: Iterable[Stored], trust: Trust, now_ns: int) -> Withdrawn:
    """The withdrawal of a token of one of these orders. Raises AuthorizationError."""
    claimed = jws.decode(jws.split(text).payload, Revocation)
    found = [
        order
        for order in orders_of_case
        if claimed.token_sha256 in (order.legal_sha256, order.carrier_sha256) and order.state not in ENDED
    ]
    if not found:
        raise AuthorizationError(Check.REVOCATION)
    order = found[0]  # at most one order of a case is live
    role = Role.LEGAL if claimed.token_sha256 == order.legal_sha256 else Role.CARRIER
    revocation, key = authorization.signed(text, Revocation, role, trust)
    if revocation.lab is not trust.lab:
        raise AuthorizationError(Check.LAB_TOKEN)
    authorization.check_key_dates(key, revocation.issued_s, now_ns // NS)
    record = entry.Revoked(
        time_us=now_ns // 1000, case=order.case, carrier_sha256=order.carrier_sha256,
        token_sha256=revocation.token_sha256, revocation_sha256=jws.sha256_hex(text), person=key.person,
    )  # fmt: skip
    return Withdrawn(order=order, revocation=revocation, record=record)


def accepted(text: str, command: Command, person: str, legal_sha256: str, time_us: int) -> entry.CommandAccepted:
    """The entry of an act."""
    return entry.CommandAccepted(
        time_us=time_us, case=command.case, act=command.act, sequence=command.sequence, legal_sha256=legal_sha256,
        carrier_sha256=command.carrier_sha256, command_sha256=jws.sha256_hex(text), officer=person,
    )  # fmt: skip
