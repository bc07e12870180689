"""The ledger's entries of the roster's changes, and their proofs: what each function is shown before a change may begin
anything there (core/authority/proof.py).

Answers for which changes a quorum of the witnesses has seen, and for the head that shows that their approvers were
still in office: the last one, or where they have left since, the oldest that was kept. It decides nothing: each
function judges what it is shown.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from mediation.core.authority.roster import Judged
from mediation.core.case import Proof
from mediation.core.errors import AuthorizationError, LedgerError
from mediation.core.interface import x1
from mediation.runtime import log

if TYPE_CHECKING:
    from mediation.administration.ledger.ledger import Entered
    from mediation.administration.order.orders import Orders

logger = log.get("administrator")


class Entries:
    """Of one site's roster. `places` are by the number of the change; a lab's founding has none: it is pinned."""

    def __init__(self, orders: Orders, places: dict[int, Entered]) -> None:
        self.places = places
        self._orders = orders

    @property
    def first(self) -> int:
        """The change that the proofs begin with."""
        return 0 if 0 in self.places else 1

    def seen(self, number: int) -> bool:
        """Whether a quorum has seen this change."""
        place = self.places.get(number)
        return place is not None and place.index < self._orders.heads.covered

    def proof(self, number: int) -> Proof:
        """Of a change that a quorum has seen. Raises LedgerError when a tile was changed on the disk."""
        ledger, place = self._orders.ledger, self.places[number]
        judged = self._orders.trust.roster.judged[number]
        newest = ledger.witnessed_proof(place)
        if self._counts(newest, judged):
            return newest
        try:
            kept = ledger.kept_proof(place)
        except LedgerError as error:  # who was told in time needs no head of then
            logger.error("alarm_kept_head_not_read", number=number, reason=str(error))  # noqa: TRY400
            return newest
        return kept if kept is not None and self._counts(kept, judged) else newest

    def _counts(self, shown: Proof, judged: Judged) -> bool:
        with suppress(AuthorizationError):  # by a policy that was in force before
            return judged.counts_at(self._orders.trust.opened(shown.checkpoint).seen_s)
        return False


class Shown:
    """What one function was shown of them: nothing before it was told the roster (`again`), and after a refusal nothing
    more until it is told again."""

    def __init__(self, entries: Entries) -> None:
        self._entries = entries
        self._next = 0
        self.refused = True

    def again(self) -> None:
        """The function is told the roster now."""
        self._next, self.refused = self._entries.first, False

    @property
    def due(self) -> bool:
        """Whether there is more to show."""
        return not self.refused and self._entries.seen(self._next)

    def line(self) -> bytes | None:
        """The next message; None when no more is due, or none can be made."""
        first = self._next
        proofs: list[Proof] = []
        try:
            while self.due and len(proofs) < x1.CHANGES_AT_ONCE:
                proofs.append(self._entries.proof(self._next))
                self._next += 1
        except LedgerError as error:  # a tile that was changed under this process
            self.refused = True
            logger.error("alarm_roster_not_proven", number=self._next, reason=str(error))  # noqa: TRY400
        return x1.encode(x1.ProveRoster(first=first, proofs=tuple(proofs))) if proofs else None
