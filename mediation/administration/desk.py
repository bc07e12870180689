"""What the administrator does with orders, acts and revocations, whether it runs or a command acts in its place.

Requests that show a case do not come here: `inquiries` answers those.
Answers for nothing of its own: orders decide (`orders`), functions are told by `tasking`. Sans-I/O but for those.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import apsw

from mediation.administration.order.orders import Orders
from mediation.administration.order.stored import Stored
from mediation.core.authority import jws
from mediation.core.case import Command, LegalToken
from mediation.core.errors import AuthorizationError, ConfigurationError, LedgerError
from mediation.core.interface.control import (
    Answer,
    CaseView,
    Certify,
    ChangeRoster,
    Destroy,
    Extend,
    Failed,
    Hold,
    Perform,
    Report,
    Request,
    Result,
    Results,
    Revoke,
    RevokeAgency,
    Settle,
    Signed,
    SignStatement,
    Status,
    Submit,
)
from mediation.core.interface.policies import AdoptPlan, FilePlan, OrderModification, ShowPlan, TryContact

OPEN = (Settle, ShowPlan, Status)  # what needs no signature: it shows no case and changes nothing


def handle(orders: Orders, request: Request, now_ns: int) -> Answer:
    """Carries `request` out as far as orders and ledger go. Never raises for what a command sent."""
    orders.advance(now_ns)
    try:
        match request:
            case Submit():
                return Results(results=tuple(orders.submit(request.filings, now_ns)))
            case Perform():
                return Results(results=tuple(orders.perform(request.commands, now_ns)))
            case Extend():
                return Results(results=tuple(orders.extend(request.extensions, now_ns)))
            case Revoke():
                return Results(results=tuple(orders.revoke(request.revocations, now_ns)))
            case RevokeAgency():
                return Results(results=(orders.revoke_agency(request.revocation, now_ns),))
            case ChangeRoster():
                return Results(results=(orders.change_roster(request.approvals, now_ns),))
            case (
                Certify() | SignStatement() | AdoptPlan() | FilePlan() | OrderModification() | TryContact() | Hold()
                | Destroy()
            ):  # fmt: skip
                return Results(results=(orders.records.act(request, now_ns),))
            case ShowPlan():
                return orders.records.show_plan(request, now_ns)
            case Settle():
                return Results()
            case Status():
                return report(orders, {})
            case Signed():
                return Failed(detail="control: not a request for this desk")
    except AuthorizationError as error:
        return Failed(detail=str(error), check=str(error.check))
    except ConfigurationError as error:
        return Failed(detail=str(error))
    except LedgerError as error:
        return Failed(detail=f"ledger: {error}")
    except (apsw.Error, OSError) as error:  # what a full disk refuses must not take the stops with it
        orders.counters["store_write_failed"] += 1
        return Failed(detail=f"store: {type(error).__name__}")


def touched(orders: Orders, answer: Answer) -> list[Stored]:
    """The orders that an answer speaks of."""
    if not isinstance(answer, Results):
        return []
    by_xid = {result.xid for result in answer.results if result.xid and not result.check}
    cases = {result.case for result in answer.results if result.case}
    return [order for case in cases for order in orders.of_case(case) if order.xid in by_xid]


def with_functions(answer: Results, told: dict[str, dict[str, str]]) -> Results:
    """The same answer, with what each function said; `told` by XID."""
    return Results(
        results=tuple(
            Result(case=r.case, xid=r.xid, check=r.check, detail=r.detail, functions=told.get(r.xid, {}))
            for r in answer.results
        )
    )


def report(orders: Orders, functions: dict[str, dict[str, Any] | None]) -> Report:
    """Live state without any target identity."""
    return Report(
        orders=dict(Counter(order.state.value for order in orders)),
        ledger={
            "origin": orders.ledger.verifier.name, "size": orders.ledger.size,
            "root": orders.ledger.head.root.hex(), **orders.heads.report(),
        },
        functions=functions,
        counters={**orders.counters, **orders.heads.counters, **orders.records.report()},
        alarms={**orders.heads.standing(), **orders.alarms.standing()},
    )  # fmt: skip


def signer(text: str) -> str:
    """The kid that signed a stored token, which was verified when it was filed."""
    return jws.split(text).header.kid


def view(order: Stored) -> CaseView:
    """An order for the eyes of an officer, without its subjects. The texts were verified when they were filed."""
    legal = jws.decode(jws.split(order.legal).payload, LegalToken)
    last = jws.decode(jws.split(order.commands[-1][0]).payload, Command) if order.commands else None
    return CaseView(
        case=order.case, xid=order.xid, state=order.state, agency=legal.agency, authority=legal.authority,
        profile=legal.profile, capabilities=legal.capabilities, not_before_s=order.not_before_s,
        not_after_s=order.not_after_s, dde=last is not None and last.dde,
        sequence=last.sequence if last is not None else 0, last_act=last.act if last is not None else None,
        legal_sha256=order.legal_sha256, carrier_sha256=order.carrier_sha256, lab=legal.lab,
        extensions=len(order.extensions),
        extension_sha256=jws.sha256_hex(order.extensions[-1][0]) if order.extensions else "",
    )  # fmt: skip
