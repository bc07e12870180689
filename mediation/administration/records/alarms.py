"""Alarms of the administration: raised once each, counted, told in the log by case number alone, and never again.

Answers for one entry in the ledger for each alarm (entry.Alarm), over all restarts: what was raised is read from the
ledger itself, so that no file beside it can silence an alarm or repeat one. An alarm never fails for a ledger that
cannot be written; its entry is then owed. It decides nothing: who finds something raises it here by its name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from mediation.administration.ledger.books import Books
from mediation.administration.order.stored import Stored
from mediation.core.case import LIVE, State
from mediation.core.ledger import entry
from mediation.core.records import alarm
from mediation.core.records.alarm import Alarm
from mediation.core.units import NS
from mediation.runtime import log

Raised = tuple[str, str, str]  # name, case, detail

logger = log.get("administrator")


class Alarms:
    """`raised`: those that the ledger has. Counters are named `alarm_` and the alarm's name."""

    def __init__(self, books: Books, counters: Counter[str], raised: Iterable[Raised] = ()) -> None:
        self._books = books
        self._counters = counters
        self._raised = set(raised)
        # For `status`, of the functions: which conditions stand now, by name, with whom they concern.
        self.standing: Callable[[], dict[str, str]] = dict

    def sound(self, name: Alarm, now_ns: int, *, case: str = "", detail: str = "") -> bool:
        """Raises an alarm unless it was raised for the same case with the same detail before. Whether it was raised.

        `detail` makes an alarm another one (the end that it announces, the head that was lost), and holds no identity.
        """
        what = (name.value, case, detail)
        if what in self._raised:
            return False
        self._raised.add(what)
        self._counters[f"alarm_{name.value}"] += 1
        logger.error("alarm", alarm=name.value, case=case, detail=detail)
        record = entry.Alarm(time_us=now_ns // 1000, alarm=name.value, case=case, detail=detail)
        self._books.note([record], stop=True)
        return True

    def announce(self, order: Stored, of_case: Iterable[Stored], now_ns: int) -> None:
        """The alarm that is due before an order's end, and the one when an emergency has run out without an ordinary
        order after it; `of_case` are all orders of its case."""
        end = f"end {order.not_after_s}"
        if order.state in LIVE:
            due = alarm.due(order.not_before_s, order.not_after_s, now_ns // NS, emergency=order.emergency)
            if due is not None:
                self.sound(due, now_ns, case=order.case, detail=end)
        elif (
            order.emergency
            and order.state is State.EXPIRED
            and order.commands
            and not any(not other.emergency and other.filed > order.filed for other in of_case)
        ):
            self.sound(Alarm.EMERGENCY_LAPSED, now_ns, case=order.case, detail=end)
