"""What the keepers of records share: the site, its books and vault, the orders as they stand, and one way of raising an
alarm. It decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from mediation.administration.ledger.books import Books
from mediation.administration.order.stored import Stored
from mediation.administration.records.history import History
from mediation.core.authority.trust import Trust
from mediation.core.ledger import entry
from mediation.core.records.alarm import Alarm
from mediation.runtime import log
from mediation.runtime.config import Site
from mediation.runtime.vault import Vault

logger = log.get("administrator")


class Keeping(msgspec.Struct, frozen=True, kw_only=True):
    """`trust` says who holds which role now; `orders` are all that are held, `order` the one of an XID (None: its
    records are destroyed, or the store was replaced by an older one); `forget` drops one of them from memory."""

    site: Site
    vault: Vault
    history: History
    books: Books
    trust: Callable[[], Trust]
    orders: Callable[[], Iterable[Stored]]
    order: Callable[[str], Stored | None]
    forget: Callable[[Stored], None]

    @property
    def origin(self) -> str:
        """The ledger's name, which every record carries."""
        return self.books.ledger.verifier.name

    def announce(self, alarms: Iterable[tuple[Alarm, str]], now_ns: int) -> None:
        """Raises each alarm, with its detail, that was not raised before: in the log and in the ledger."""
        due = [
            entry.Alarm(time_us=now_ns // 1000, alarm=name.value, detail=detail)
            for name, detail in alarms
            if self.history.once(name, detail)
        ]
        for alarm in due:
            logger.error("alarm", alarm=alarm.alarm, detail=alarm.detail)
        if due:
            self.books.note(due, stop=True)
