"""When something is due of the orders: windows that begin and end, and the announcements of their ends.

A heap of moments, in UTC seconds. Answers for naming each order whose moment has come; what is to be done then is
`orders`' to say, from the order's own state. A moment that an extension has moved is named all the same.
"""

from __future__ import annotations

import heapq

from mediation.administration.order.stored import Stored
from mediation.core.records import alarm


class Timetable:
    def __init__(self) -> None:
        self._moments: list[tuple[int, str]] = []

    def add(self, order: Stored) -> None:
        """An order, or one whose end has moved."""
        ends = [when_s for when_s, _ in alarm.moments(order.not_before_s, order.not_after_s)]
        for when_s in (order.not_before_s, *ends, order.not_after_s):
            heapq.heappush(self._moments, (when_s, order.carrier_sha256))

    def due(self, now_s: int) -> list[str]:
        """The orders, by carrier token, of all moments up to now; each once."""
        found: dict[str, None] = {}
        while self._moments and self._moments[0][0] <= now_s:
            found[heapq.heappop(self._moments)[1]] = None
        return list(found)

    def next_s(self) -> int | None:
        return self._moments[0][0] if self._moments else None
