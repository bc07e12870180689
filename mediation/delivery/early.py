"""PDUs that came before their order was armed again: what happens to calls while the mediator starts.

The access function sends what it kept as soon as it is connected; the administrator arms the orders a moment later.
Only of orders that were in force when the process before this one ended are PDUs held, for LIMIT_NS and up to
MAX_PDUS, then they are lost and counted. Nothing of them is delivered but through the task table, like all others.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from mediation.core.interface.x2 import Pdu

LIMIT_NS: Final = 30_000_000_000  # the administrator arms 10,000 orders in less. Ours
MAX_PDUS: Final = 65_536  # some 50 MiB of signalling. Ours


class EarlyCounters(msgspec.Struct):
    held: int = 0
    lost: int = 0  # of orders that were not armed in time, or beyond the bound


class Early:
    """`xids` are the orders expected; times are of one clock that does not go back, in nanoseconds."""

    def __init__(self, xids: Iterable[bytes], now_ns: int) -> None:
        self.counters = EarlyCounters()
        self._waiting = set(xids)
        self._until_ns = now_ns + LIMIT_NS
        self._held: list[Pdu] = []

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
