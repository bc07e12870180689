"""The orders of a site as they are held in memory, and what is asked of each: should its task be armed, by which of its
acts, and with which proofs.

Answers for nothing that changes an order on disk or in the ledger (`orders` does). The functions are shown only acts
that a quorum of the witnesses has seen, but for what narrows. Times: `now_ns`, UTC nanoseconds.
"""

from __future__ import annotations

from collections.abc import Iterator

from mediation.administration.ledger.heads import Heads
from mediation.administration.ledger.ledger import Ledger
from mediation.administration.order.stored import Stored
from mediation.administration.order.timetable import Timetable
from mediation.core.authority import jws
from mediation.core.case import ENDED, LIFE, RUNNING, Command, Event, State, TaskRequest
from mediation.core.units import NS


class Register:
    """By the SHA-256 of their carrier tokens, and by case."""

    heads: Heads
    ledger: Ledger

    def __init__(self) -> None:
        self.held: set[str] = set()  # orders whose store is older than the ledger
        self.lost: list[Stored] = []  # of which the ledger knows alone: to be stopped, at each session with a function
        self._orders: dict[str, Stored] = {}
        self._cases: dict[str, list[Stored]] = {}
        self._timetable = Timetable()
        self._unwitnessed: dict[str, Stored] = {}  # orders with an act above the witnessed head

    def __iter__(self) -> Iterator[Stored]:
        return iter(list(self._orders.values()))

    def get(self, carrier_sha256: str) -> Stored | None:
        return self._orders.get(carrier_sha256)

    def of_case(self, case: str) -> list[Stored]:
        """The orders of one case, oldest first."""
        return list(self._cases.get(case, ()))

    def wanted(self, order: Stored) -> bool:
        """Whether the functions should have its task now: only by acts that a quorum of the witnesses has seen.

        A suspended task they keep. One that was suspended is not shown without the act that did it.
        """
        if order.carrier_sha256 in self.held or (order.state not in RUNNING and order.state is not State.SUSPENDED):
            return False
        shown, _ = self.standing(order)
        return shown > 0 and (shown == len(order.commands) or shown >= order.suspended_at)

    def standing(self, order: Stored) -> tuple[int, bool]:
        """How many of its acts the functions can be shown, and whether a later one has switched digits off.

        What narrows need not wait for the witnesses, and must not be undone by showing the acts before it.
        """
        shown, covered = 0, self.heads.covered
        while shown < len(order.commands) and 0 <= order.commands[shown][1].index < covered:
            shown += 1
        if shown == len(order.commands):
            return shown, False
        return shown, not jws.decode(jws.split(order.commands[-1][0]).payload, Command).dde

    def waiting(self, order: Stored) -> bool:
        """Whether an act of it waits for the witnesses."""
        return order.carrier_sha256 in self._unwitnessed and order.state not in ENDED

    @property
    def any_waiting(self) -> bool:
        """The same, of any order."""
        return any(order.state not in ENDED for order in self._unwitnessed.values())

    def request(self, order: Stored) -> TaskRequest:
        """Everything that a function needs to decide for itself, with proofs under the witnessed head."""
        shown, _ = self.standing(order)
        return order.request(self.ledger.witnessed_proof, shown)

    def _await_witnesses(self, order: Stored, now_ns: int) -> None:
        """Moves an order on whose activation a quorum has seen; notes one with an act that none has seen yet."""
        if order.state in ENDED:
            return
        shown, _ = self.standing(order)
        if shown < len(order.commands):
            self._unwitnessed[order.carrier_sha256] = order
        if shown and order.state is State.LOGGED:
            order.state = LIFE[order.state, Event.WITNESS]
        if order.state is State.WITNESSED:
            begun = now_ns >= order.not_before_s * NS
            order.state = LIFE[order.state, Event.BEGIN if begun else Event.AWAIT]

    def _hold(self, order: Stored) -> None:
        self._orders[order.carrier_sha256] = order
        self._cases.setdefault(order.case, []).append(order)
        if order.state not in ENDED:
            self._timetable.add(order)

    def forget(self, order: Stored) -> None:
        """Its records are destroyed."""
        self._orders.pop(order.carrier_sha256, None)
        self._unwitnessed.pop(order.carrier_sha256, None)
        self._cases[order.case] = [o for o in self._cases.get(order.case, ()) if o is not order]
