"""PDUs that came before their order was armed again, and orders before there is a PDU of them: what happens while the
mediator starts.

The access function sends what it kept as soon as it is connected; the administrator tells of the orders a moment later.
Only of orders that were in force when the process before this one ended are PDUs held, for LIMIT_NS and up to
MAX_PDUS, then they are lost and counted. Nothing of them is delivered but through the task table, like all others.

Of the same orders those that have nothing to go on with may wait to be judged (core/interface/task_table.py) until the
first PDU of them comes, which then waits for that, a millisecond: thousands that are quiet do not keep one that is not
from being heard.
"""

from __future__ import annotations

from typing import Final

import msgspec

from mediation.core.authority import jws
from mediation.core.case import Capability, TaskRequest
from mediation.core.errors import AuthorizationError
from mediation.core.interface.x2 import Pdu
from mediation.delivery.calls import CallJournal

LIMIT_NS: Final = 30_000_000_000  # the administrator arms 10,000 orders in less. Ours
MAX_PDUS: Final = 65_536  # some 50 MiB of signalling. Ours


class EarlyCounters(msgspec.Struct):
    held: int = 0
    lost: int = 0  # of orders that were not armed in time, or beyond the bound


class _Covered(msgspec.Struct, frozen=True, kw_only=True):
    """Of a legal token."""

    capabilities: tuple[Capability, ...]


class Early:
    """`journal` says which orders are expected; times are of one clock that does not go back, in nanoseconds.
    `third_parties`: PDUs come of orders that nothing here announces."""

    def __init__(self, journal: CallJournal, now_ns: int, *, third_parties: bool = False) -> None:
        self.counters = EarlyCounters()
        self._journal = journal
        self._third_parties = third_parties
        self._waiting = set(journal.orders())
        self._until_ns = now_ns + LIMIT_NS
        self._held: list[Pdu] = []

    def may_wait(self, xid: bytes, request: TaskRequest) -> bool:
        """Whether an order can be judged when its first PDU comes: it was in force here before, no call of it goes on,
        no PDU of it is held, and it covers no content, which has another way in (content_intake.py). Its text is
        believed in nothing else: it is not judged yet."""
        if self._third_parties or xid not in self._waiting or not self._journal.quiet(xid):
            return False
        if any(pdu.xid == xid for pdu in self._held):
            return False
        try:
            covered = jws.claimed(request.legal, _Covered)
        except AuthorizationError:
            return False
        return Capability.CONTENT not in covered.capabilities

    def hold(self, pdus: list[Pdu], now_ns: int) -> list[Pdu]:
        """Keeps what is early; returns the rest."""
        if not self._waiting:
            return pdus
        if now_ns >= self._until_ns:
            self.give_up()
            return pdus
        rest = []
        for pdu in pdus:
            if pdu.xid not in self._waiting:
                rest.append(pdu)
            elif len(self._held) < MAX_PDUS:
                self._held.append(pdu)
                self.counters.held += 1
            else:
                self.counters.lost += 1
        return rest

    def release(self, xid: bytes) -> list[Pdu]:
        """The order is armed: what was held of it, in its order."""
        self._waiting.discard(xid)
        if not self._held:
            return []
        found = [pdu for pdu in self._held if pdu.xid == xid]
        self._held = [pdu for pdu in self._held if pdu.xid != xid]
        return found

    def lose(self, xid: bytes) -> None:
        """The order will not be armed."""
        self.counters.lost += len(self.release(xid))

    def give_up(self) -> None:
        """Nobody is waited for any more."""
        self.counters.lost += len(self._held)
        self._held, self._waiting = [], set()
