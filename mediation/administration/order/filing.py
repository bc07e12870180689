"""How an order comes in: its two tokens, with or without its activation, judged before anything is entered.

Answers for refusing here, by the name of a check, whatever the order's tokens, the site or another order of the case
do not allow. It holds no authority and writes nothing: `orders` enters and stores what this module has found good.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from mediation.administration.ledger.ledger import Entered
from mediation.administration.order import acting, provision
from mediation.administration.order.acting import accepted
from mediation.administration.order.stored import PENDING, PENDING_ENTRY, Stored
from mediation.administration.records.history import xid_of
from mediation.core.authority import authorization, jws
from mediation.core.authority.trust import Key, Trust
from mediation.core.case import ENDED, Act, Command, State
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from mediation.core.interface.control import Filing
from mediation.core.ledger import entry
from mediation.core.units import NS
from mediation.runtime.config import Site


def confirm(order: Stored, entered: Iterator[Entered]) -> None:
    """The entries of an order that was examined, taken in their turn: it and its acts stand in the ledger."""
    order.filed = next(entered).index
    if order.call_back is not None:
        order.call_back = (order.call_back[0], next(entered))
    order.commands = [(text, next(entered)) for text, _ in order.commands]


def examine(filing: Filing, trust: Trust, site: Site, now_ns: int) -> tuple[Stored, list[entry.Record]]:
    """One order, ready to be stored, with its entries: the filing, the call-back if it has one, then each act.

    Does not look at other orders. Raises AuthorizationError.
    """
    acts: tuple[tuple[Command, Key], ...] = ()
    if filing.commands:
        found = authorization.examine_acts(
            filing.legal, filing.carrier, filing.commands, trust, call_back=filing.call_back
        )
        order, acts = found.order, found.commands
    else:
        order = authorization.examine_order(filing.legal, filing.carrier, trust, filing.call_back)
    carrier_sha256, legal_sha256 = jws.sha256_hex(filing.carrier), jws.sha256_hex(filing.legal)
    if not trust.revoked.isdisjoint((carrier_sha256, legal_sha256)):
        raise AuthorizationError(Check.REVOKED)
    if now_ns >= order.legal.not_after_s * NS:
        raise AuthorizationError(Check.EXPIRED)
    authorization.check_order_dates(order, now_ns // NS)
    authorization.check_agency(order, trust, now_ns // NS)
    provision.check(order, site)
    time_us, xid = now_ns // 1000, xid_of(carrier_sha256)
    records: list[entry.Record] = [
        entry.OrderFiled(
            time_us=time_us, case=order.legal.case, xid=xid,
            agency=order.legal.agency, authority=order.legal.authority, legal_sha256=legal_sha256,
            carrier_sha256=carrier_sha256, document_sha256=order.legal.document_sha256,
            legal_person=order.legal_key.person, carrier_person=order.carrier_key.person,
        )
    ]  # fmt: skip
    if order.call_back is not None:
        records.append(
            entry.CallBackFiled(
                time_us=time_us, case=order.legal.case, legal_sha256=legal_sha256,
                call_back_sha256=jws.sha256_hex(filing.call_back), person=order.call_back[1].person,
            )
        )  # fmt: skip
    state = State.FILED
    for text, (command, key) in zip(filing.commands, acts, strict=True):
        authorization.check_dates(command, key, now_ns // NS)
        if command.act is Act.ACTIVATE:
            authorization.check_senior_officer(trust, now_ns // NS)
        records.append(accepted(text, command, key.person, legal_sha256, time_us))
        state = acting.after(state, command.act)
    stored = Stored(
        carrier_sha256=carrier_sha256, legal_sha256=legal_sha256, xid=xid,
        case=order.legal.case, legal=filing.legal, carrier=filing.carrier,
        not_before_s=order.legal.not_before_s, not_after_s=order.legal.not_after_s, state=state, filed=PENDING,
        commands=[(text, PENDING_ENTRY) for text in filing.commands],
        call_back=(filing.call_back, PENDING_ENTRY) if filing.call_back else None, emergency=bool(filing.call_back),
        stands_by=trust,
    )  # fmt: skip
    return stored, records


def check_alone(order: Stored, filed: Container[str], of_case: Iterable[Stored], batch: Container[str]) -> None:
    """That neither this order was filed before, nor another of its case is live; `filed` are all carrier tokens,
    `batch` the cases of the same request. An ordinary order may come before the emergency one of its case has run out,
    in whose place it then is.

    Raises AuthorizationError `already-filed` or `case-live`.
    """
    if order.carrier_sha256 in filed:
        raise AuthorizationError(Check.ALREADY_FILED)
    others = [other for other in of_case if other.state not in ENDED]
    if order.case in batch or any(order.emergency or not other.emergency for other in others):
        raise AuthorizationError(Check.CASE_LIVE)
