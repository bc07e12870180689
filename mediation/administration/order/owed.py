"""The entry of an end that an earlier process carried out and could not enter: the store has the end, the ledger not.

Answers for the same record that the end would have had, but for its time: by whom a token was withdrawn, by which
change of the roster an order fell, by which order an emergency one was replaced. It decides nothing: an order that has
ended has ended, and without its entry it would never be sealed.
"""

from __future__ import annotations

from collections.abc import Iterable

from mediation.administration.order.stored import Stored
from mediation.core.authority import jws, withdrawal
from mediation.core.authority.signature import TYP
from mediation.core.authority.trust import Trust
from mediation.core.case import AgencyRevocation, Revocation, Role, State
from mediation.core.ledger import entry
from mediation.core.units import US

ENDS = frozenset({State.REVOKED, State.EXPIRED})  # an officer's stop has its own text, and is owed with that


def end(
    order: Stored, withdrawals: Iterable[str], of_case: Iterable[Stored], trust: Trust, time_us: int
) -> entry.Revoked | entry.Expired:
    """Of an order in a state of ENDS; `withdrawals` are the texts that the store has of it, `of_case` the orders of its
    case."""
    if order.state is State.EXPIRED:
        ordinary = (other.carrier_sha256 for other in of_case if not other.emergency and other.commands)
        early = order.emergency and time_us // US < order.not_after_s
        by = next(ordinary, "") if early else ""
        return entry.Expired(time_us=time_us, case=order.case, carrier_sha256=order.carrier_sha256, by=by)
    for text in withdrawals:
        token, person = _withdrawn(text, order, trust)
        return _revoked(order, token, jws.sha256_hex(text), person, time_us)
    # By the roster's last change: one after it could not have been entered without this.
    judged = trust.roster.judged
    approver = judged[-1].approvers[0] if judged else ""
    return _revoked(order, order.carrier_sha256, trust.roster.head, approver, time_us)


def _revoked(order: Stored, token: str, by: str, person: str, time_us: int) -> entry.Revoked:
    return entry.Revoked(
        time_us=time_us, case=order.case, carrier_sha256=order.carrier_sha256, token_sha256=token,
        revocation_sha256=by, person=person,
    )  # fmt: skip


def _withdrawn(text: str, order: Stored, trust: Trust) -> tuple[str, str]:
    """The token that is withdrawn by a text that was found good when it came, and by whom."""
    parts = jws.split(text)
    role = withdrawal.role_of(parts.header.kid, trust)
    key = trust.rings.get(role, {}).get(parts.header.kid)
    person = key.person if key is not None else ""
    if parts.header.typ == TYP[AgencyRevocation]:
        return (order.legal_sha256 if role is Role.LEGAL else order.carrier_sha256), person
    return jws.decode(parts.payload, Revocation).token_sha256, person
