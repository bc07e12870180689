"""The withdrawal of all authority of one agency: what it ends here, and its entries (SEC-24).

Answers for judging the signed text and for every order of that agency, and no other, being named in one turn: those
that run, those that wait and those that nobody has activated; and for which texts are told to a function that comes
back. It writes nothing: `orders` does, and it waits for no witness, as no stop does.

A text is stored as soon as it was found good. Who could put one into the store stops orders, and begins none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from mediation.administration.order.stored import Stored
from mediation.administration.persons import roster
from mediation.core.authority import authorization, jws, withdrawal
from mediation.core.authority.roster import CONTACT_WAIT_S, Roster
from mediation.core.authority.trust import Trust
from mediation.core.case import ENDED, LegalToken, Role
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from mediation.core.ledger import entry
from mediation.core.units import NS

# To whom withdraws an agency's authority, when neither book could take it.
NOT_KEPT = "; nothing of it could be written: make room and withdraw it again, or a restart forgets it"


class Withdrawn(msgspec.Struct, frozen=True, kw_only=True):
    """A withdrawal that is good: the orders that it ends, each with the token of the signer's role, and its entries."""

    markers: tuple[str, ...]
    orders: tuple[tuple[Stored, str], ...]
    records: tuple[entry.Record, ...]


def examine(text: str, orders: Iterable[Stored], trust: Trust, now_ns: int, *, came: bool = False) -> Withdrawn:
    """Raises AuthorizationError. A text counts for a day: by then no order can stand by a contact that was approved
    after it (`CONTACT_WAIT_S`), so that who keeps an old one stops nothing new with it.

    One that `came` in time and was stored, and that the ledger could not take, never grows too old to be carried out:
    but for an order that stands by a contact which it does not withdraw.
    """
    found = withdrawal.examine(text, trust)
    revocation = found.revocation
    if not came:
        authorization.check_key_dates(found.key, revocation.issued_s, now_ns // NS)
        if now_ns // NS >= revocation.issued_s + CONTACT_WAIT_S:
            raise AuthorizationError(Check.COMMAND_DATES)
    left = trust.with_revoked(found.markers)
    ended = tuple(
        (order, order.legal_sha256 if found.role is Role.LEGAL else order.carrier_sha256)
        for order in orders
        if order.state not in ENDED
        and agency_of(order) == revocation.agency
        and not (came and order.commands and roster.stands(order, left))
    )
    time_us, digest = now_ns // 1000, jws.sha256_hex(text)
    records: list[entry.Record] = [
        entry.AgencyRevoked(
            time_us=time_us, agency=revocation.agency, revocation_sha256=digest, person=found.key.person,
            issued_s=revocation.issued_s, orders=len(ended),
        )
    ]  # fmt: skip
    records += [
        entry.Revoked(
            time_us=time_us, case=order.case, carrier_sha256=order.carrier_sha256, token_sha256=token,
            revocation_sha256=digest, person=found.key.person,
        )
        for order, token in ended
    ]  # fmt: skip
    return Withdrawn(markers=found.markers, orders=ended, records=tuple(records))


def remembered(withdrawn: Sequence[tuple[str, int]], roster: Roster) -> frozenset[str]:
    """What the ledger's entries of such withdrawals (agency, second of issue) add to what is revoked."""
    return frozenset(marker for agency, at_s in withdrawn for marker in withdrawal.markers(agency, at_s, roster))


def to_tell(texts: Iterable[str], trust: Trust) -> list[str]:
    """Of all withdrawals that were carried out, those that a function must know of, however long it was away: of each
    agency the latest, which takes no less than those before it.

    None grows old: what was activated by an old contact can be extended for ever. One whose agency or signer the roster
    does not have any more is told to nobody, for nobody could judge it.
    """
    latest: dict[str, tuple[int, str]] = {}
    for text in texts:
        try:
            revocation = withdrawal.examine(text, trust).revocation
        except AuthorizationError:
            continue
        latest[revocation.agency] = max((revocation.issued_s, text), latest.get(revocation.agency, (0, "")))
    return [text for _, text in latest.values()]


def unfinished(texts: Iterable[str], trust: Trust) -> list[str]:
    """Those of which the ledger has nothing, by a `trust` that knows what it has: a crash came before their entry."""
    found = []
    for text in texts:
        try:
            markers = withdrawal.examine(text, trust).markers
        except AuthorizationError:
            continue
        if not trust.revoked.issuperset(markers):
            found.append(text)
    return found


def agency_of(order: Stored) -> str:
    """Whose order it is. Its texts were verified when it was filed."""
    return jws.decode(jws.split(order.legal).payload, LegalToken).agency
