"""What the keepers of records share: the site, its books and vault, and the orders as they stand. It does nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from mediation.administration.ledger.books import Books
from mediation.administration.order.store import Stored
from mediation.administration.records.history import History
from mediation.core.authority.trust import Trust
from mediation.runtime.config import Site
from mediation.runtime.vault import Vault


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
