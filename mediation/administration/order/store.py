"""The administrator's store: the exact texts of orders, acts and revocations, and where each order stands.

Trust: none. An attacker who changes it can make the administrator forget an order, so an interception stops or does
not start; he cannot start one, because every text is verified again by each receiver, and he cannot bring a stopped
one back, because stops, suspensions and where each text stands are read from the ledger at each start. All that it says
is sealed: an order's texts under the order's own key (`Vault.order_key`), so that destroying that key destroys them
wherever a copy of this file lies; what outlives that key under the vault's key `store`. Rows have names that only the
vault's key turns back, texts are filled up, and rows of no order stand between the others (decoys.py): who reads the
file learns the number of orders to a factor of four.

SQLite in WAL mode with full synchronisation: a transaction that returned survives a power cut. One writer, which
holds the site's lock; readers may come at any time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import apsw
import msgspec

from mediation.administration.order import decoys
from mediation.administration.order.connection import connect
from mediation.administration.order.store_schema import APPLICATION_ID, SCHEMA, TABLES, USUAL, VERSION, WITHDRAWALS
from mediation.administration.order.stored import PENDING, PENDING_ENTRY, Stored
from mediation.administration.records.history import xid_of
from mediation.core.authority import jws
from mediation.core.case import State
from mediation.core.errors import ConfigurationError
from mediation.core.ledger import note
from mediation.core.ledger.sealing import Box, SealError
from mediation.runtime import log
from mediation.runtime.cover import Hidden
from mediation.runtime.order_keys import KeyDestroyedError
from mediation.runtime.vault import Vault

CACHE_KIB, WAL_PAGES = 65_536, 8_192  # 10,000 orders without reading a page again; 32 MB between two tidyings
logger = log.get("administrator")


class Filed(msgspec.Struct, frozen=True, array_like=True):
    """What is sealed of an order when it is filed: its tokens, and the acts and the call-back that came with them."""

    case: str
    legal_sha256: str
    legal: str
    carrier: str
    not_before_s: int
    not_after_s: int
    commands: tuple[str, ...]
    call_back: str


_filed: msgspec.msgpack.Decoder[Filed] = msgspec.msgpack.Decoder(Filed)
_encoder = msgspec.msgpack.Encoder()


class Store:
    """Open on a file. Blocking calls. Raises ConfigurationError at opening, apsw.Error after.

    `destroyed` counts orders whose key is gone: of them nothing is given.
    """

    def __init__(self, path: Path, vault: Vault | None, *, create: bool = False, readonly: bool = False) -> None:
        """`vault` None only to make the empty store of a site whose key is made later."""
        self._vault = vault
        self._keys: dict[str, Box] = {}  # of orders, by row
        self._moved = self._covered = False  # orders look otherwise than at the last covering; that is complete
        self.destroyed = 0
        if vault is not None:
            vault.reload_order_keys()
        flags = apsw.SQLITE_OPEN_READONLY if readonly else apsw.SQLITE_OPEN_READWRITE
        if create:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            self._db = connect(path, flags)
            self._db.set_busy_timeout(decoys.BUSY_MS)
            if create:
                self._db.pragma("journal_mode", "wal")
                with self._db:
                    self._db.execute(SCHEMA)
                    self._db.pragma("application_id", APPLICATION_ID)
                    self._db.pragma("user_version", VERSION)
            if not readonly:
                self._db.pragma("synchronous", "full")
                self._db.pragma("cache_size", -CACHE_KIB)
                self._db.pragma("wal_autocheckpoint", WAL_PAGES)
                self._db.pragma("foreign_keys", True)
                decoys.even(self._db)
            if (self._db.pragma("application_id"), self._db.pragma("user_version")) != (APPLICATION_ID, VERSION):
                raise ConfigurationError(f"{path.name}: not a store of this release")
            if not readonly:
                self._db.execute(WITHDRAWALS)
        except apsw.Error as error:
            raise ConfigurationError(f"{path.name}: {error}") from error

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside is durable at the end, or none of it."""
        with self._db:
            yield
            if self._vault is not None:
                self._vault.order_keys.flush()  # a text is never there without its key

    def cover(self) -> None:
        """Sees to it that rows of no order hide how many others there are, some more at each call. Not inside a
        transaction."""
        if self._covered and not self._moved:
            return
        with self._db:
            self._covered = decoys.cover(self._db, self._name_key, TABLES, USUAL, anew=self._moved)
        self._moved = False
        decoys.settle(self._db)

    def add_order(self, order: Stored) -> None:
        """An order with what was filed with it, about to be entered in the ledger: at the next start it is forgotten
        (`drop`) unless the ledger has it."""
        row = self._row(order.carrier_sha256)
        self._keys[row] = self._sealing.order_keys.make(order.xid)
        body = Filed(
            order.case, order.legal_sha256, order.legal, order.carrier, order.not_before_s, order.not_after_s,
            tuple(text for text, _ in order.commands), order.call_back[0] if order.call_back is not None else "",
        )  # fmt: skip
        sealed = self._keys[row].seal(decoys.filled(_encoder.encode(body)), f"{row} order".encode())
        self._insert("orders", row, sealed)

    def add_extension(self, carrier_sha256: str, number: int, legal: str, approval: str) -> None:
        """As `add_command`, in the same transaction as the act that puts it in force."""
        row = self._row(carrier_sha256)
        texts = self._seal(row, f"extension {number}", legal), self._seal(row, f"approval {number}", approval)
        self._insert("extensions", row, number, *texts)

    def add_command(self, carrier_sha256: str, sequence: int, text: str) -> None:
        """An act after the filing that is about to be entered in the ledger."""
        row = self._row(carrier_sha256)
        self._insert("commands", row, sequence, self._seal(row, f"command {sequence}", text))

    def drop(self, carriers: Iterable[str]) -> None:
        """Forgets orders that never reached the ledger: nobody was told that they were accepted."""
        for carrier in carriers:
            self._remove(self._row(carrier))

    def drop_command(self, carrier_sha256: str, sequence: int) -> None:
        """Forgets one act that did not reach the ledger; others may still be owed."""
        row = self._row(carrier_sha256)
        self._db.execute("DELETE FROM commands WHERE row = ? AND sequence = ?", (row, sequence))

    def drop_extension(self, carrier_sha256: str, number: int) -> None:
        """Forgets an extension whose act did not reach the ledger."""
        row = self._row(carrier_sha256)
        self._db.execute("DELETE FROM extensions WHERE row = ? AND number = ?", (row, number))

    def add_revocation(self, token_sha256: str, carrier_sha256: str, text: str) -> None:
        row = self._row(carrier_sha256)
        token = self._sealing.name("store", f"{token_sha256} {row}")
        withdrawn = self._seal_outer(row, f"withdrawn {token}", token_sha256)
        self._insert("revocations", row, token, withdrawn, self._seal(row, f"revocation {token}", text))

    def set_state(self, carrier_sha256: str, state: State) -> None:
        """Where an order stands, if that is not what the ledger says of one that was filed and activated."""
        row = self._row(carrier_sha256)
        self._insert("states", row, self._seal_outer(row, "state", state.value))

    def set_head(self, head: note.Checkpoint) -> None:
        self._db.execute("INSERT OR REPLACE INTO head VALUES (1, ?, ?)", (head.size, head.root.hex()))

    def head(self, origin: str) -> note.Checkpoint | None:
        """The ledger's head at the last transaction."""
        for size, root in self._db.execute("SELECT size, root FROM head"):
            return note.Checkpoint(origin=origin, size=size, root=bytes.fromhex(root))
        return None

    def revoked(self) -> set[str]:
        rows = list(self._db.execute("SELECT row, token, withdrawn FROM revocations"))
        return set(_whole(self._open_outer, ((row, f"withdrawn {token}", text) for row, token, text in rows
                                             if not self._is_decoy(row))))  # fmt: skip

    def revocations(self, carriers: Iterable[str]) -> list[str]:
        """The signed texts of the withdrawals of these orders' tokens."""
        wanted = {self._row(carrier) for carrier in carriers}
        rows = list(self._db.execute("SELECT row, token, text FROM revocations"))
        return list(_whole(self._open, ((row, f"revocation {token}", text) for row, token, text in rows
                                        if row in wanted and row in self._keys)))  # fmt: skip

    def add_withdrawal(self, text: str) -> None:
        """An agency's, whether it has orders or not: kept for good, since an order of it can come to light later."""
        row = self._withdrawal(text)
        self._db.execute(
            "INSERT OR REPLACE INTO withdrawals VALUES (?, ?)", (row, self._seal_outer(row, "withdrawal", text))
        )

    def withdrawals(self) -> list[str]:
        """The signed texts of the withdrawals of agencies."""
        rows = list(self._db.execute("SELECT row, text FROM withdrawals"))
        return list(_whole(self._open_outer, ((row, "withdrawal", text) for row, text in rows)))

    def orders(self) -> Iterator[Stored]:
        """All orders, with all texts; FILED unless another state was stored. One of which anything was changed is not
        given, and said in the log: of what it was the ledger knows (recovery.py), and the others go on."""
        self.destroyed = 0
        states = dict(self._db.execute("SELECT row, state FROM states"))
        more = {row for (row,) in self._db.execute("SELECT row FROM extensions UNION SELECT row FROM commands")}
        for row, sealed in self._db.execute("SELECT row, body FROM orders"):
            try:
                order = None if self._is_decoy(row) else self._order(row, sealed, states.get(row), later=row in more)
            except KeyDestroyedError:
                self.destroyed += 1
            except (ConfigurationError, SealError, ValueError, msgspec.MsgspecError) as error:
                logger.error("alarm_order_changed", reason=type(error).__name__)  # noqa: TRY400
            else:
                if order is not None:
                    yield order

    def _order(self, row: str, sealed: bytes, state: bytes | None, *, later: bool) -> Stored:
        xid = self._hidden.show(bytes.fromhex(row)).hex()
        key = self._keys[row] = self._sealing.order_key(xid)
        body = _filed.decode(decoys.emptied(key.open(sealed, f"{row} order".encode())))
        order = Stored(
            carrier_sha256=jws.sha256_hex(body.carrier), legal_sha256=body.legal_sha256, xid=xid, case=body.case,
            legal=body.legal, carrier=body.carrier, not_before_s=body.not_before_s, not_after_s=body.not_after_s,
            state=State.FILED if state is None else self._read_state(row, state), filed=PENDING,
            commands=[(text, PENDING_ENTRY) for text in body.commands],
            call_back=(body.call_back, PENDING_ENTRY) if body.call_back else None, emergency=bool(body.call_back),
        )  # fmt: skip
        if later:
            self._add_later(row, order)
        return order

    def _add_later(self, row: str, order: Stored) -> None:
        """The acts and the extensions that came after the filing."""
        rows = self._db.execute("SELECT sequence, text FROM commands WHERE row = ? ORDER BY sequence", (row,))
        order.commands += [(self._open(row, f"command {number}", text), PENDING_ENTRY) for number, text in rows]
        order.extensions = [
            (
                self._open(row, f"extension {number}", legal),
                self._open(row, f"approval {number}", approval),
                PENDING_ENTRY,
            )
            for number, legal, approval in self._db.execute(
                "SELECT number, legal, approval FROM extensions WHERE row = ? ORDER BY number", (row,)
            )
        ]

    def remove(self, xid: str) -> None:
        """Every row of an order; done again it changes nothing. Its key is destroyed before: what the file system keeps
        of the rows opens for nobody."""
        self._remove(self._hidden.hide(bytes.fromhex(xid)).hex())

    def _remove(self, row: str) -> None:
        decoys.remove(self._db, TABLES, row)
        self._keys.pop(row, None)
        self._moved = True

    def _insert(self, table: str, *cells: str | int | bytes) -> None:
        self._moved = True
        places = ",".join("?" * len(cells))
        self._db.execute(f"INSERT OR REPLACE INTO {table} VALUES ({places})", cells)  # noqa: S608 - our names

    # -- seals --------------------------------------------------------------------------------------------------------

    @property
    def _sealing(self) -> Vault:
        if self._vault is None:
            raise ConfigurationError("the store was opened without the vault")
        return self._vault

    @cached_property
    def _name_key(self) -> bytes:
        return self._sealing.name_key("store")

    @cached_property
    def _hidden(self) -> Hidden:
        return Hidden(self._name_key)

    def _row(self, carrier_sha256: str) -> str:
        """The name of an order's rows: its XID, hidden."""
        return self._hidden.hide(bytes.fromhex(xid_of(carrier_sha256))).hex()

    def _withdrawal(self, text: str) -> str:
        return self._sealing.name("store", f"withdrawal {jws.sha256_hex(text)}")

    def _is_decoy(self, row: str) -> bool:
        return decoys.is_decoy(row, self._name_key)

    def _seal(self, row: str, place: str, text: str) -> bytes:
        """Under the order's own key; it opens in this column of this order alone."""
        return self._keys[row].seal(decoys.filled(text.encode()), f"{row} {place}".encode())

    def _open(self, row: str, place: str, sealed: bytes) -> str:
        return _opened(self._keys[row], row, place, sealed)

    def _seal_outer(self, row: str, place: str, text: str) -> bytes:
        """Under the vault's key, for it outlives the order's; each time by a box of its own, so that no nonce tells
        which rows were written by one process."""
        return self._sealing.another_box("store").seal(decoys.filled(text.encode()), f"{row} {place}".encode())

    def _open_outer(self, row: str, place: str, sealed: bytes) -> str:
        return _opened(self._sealing.box("store"), row, place, sealed)

    def _read_state(self, row: str, sealed: bytes) -> State:
        try:
            return State(self._open_outer(row, "state", sealed))
        except ValueError as error:
            raise ConfigurationError(f"store: state of an order: {error}") from None


def _whole(read: Callable[[str, str, bytes], str], rows: Iterable[tuple[str, str, bytes]]) -> Iterator[str]:
    """Of rows what they say; one that was changed is passed over, for the ledger has what it said."""
    for row in rows:
        try:
            yield read(*row)
        except (ConfigurationError, ValueError) as error:
            logger.error("alarm_withdrawal_changed", reason=type(error).__name__)  # noqa: TRY400


def _opened(box: Box, row: str, place: str, sealed: bytes) -> str:
    try:
        return decoys.emptied(box.open(sealed, f"{row} {place}".encode())).decode()
    except SealError as error:
        raise ConfigurationError(f"store: {place.split(maxsplit=1)[0]} of an order: {error}") from None
