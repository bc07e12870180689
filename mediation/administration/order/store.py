"""The administrator's store: the exact texts of orders, acts and revocations, and where each order stands.

Trust: none. An attacker who changes it can make the administrator forget an order, so an interception stops or does
not start; he cannot start one, because every text is verified again before use and by each receiver, and he cannot
bring a stopped one back, because stops are read from the ledger at each start. All that it says is sealed: an order's
texts under the order's own key (`Vault.order_key`), so that destroying that key destroys them wherever a copy of this
file lies; what outlives that key under the vault's key `store`. Rows have names that the vault's key makes, texts are
filled up, and rows of no order stand between the others (decoys.py): who reads the file learns the number of orders to
a factor of four.

SQLite in WAL mode with full synchronisation: a transaction that returned survives a power cut. One writer, which
holds the site's lock; readers may come at any time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import msgspec

from mediation.administration.ledger.ledger import Entered
from mediation.administration.order import decoys
from mediation.administration.order.store_schema import ANY_PENDING, APPLICATION_ID, SCHEMA, TABLES, USUAL, VERSION
from mediation.core.authority import jws
from mediation.core.case import Act, Command, Extension, Proof, State, TaskRequest
from mediation.core.errors import ConfigurationError
from mediation.core.ledger import note
from mediation.core.ledger.sealing import Box, Octets, SealError
from mediation.runtime.order_keys import KeyDestroyedError
from mediation.runtime.vault import Vault

CACHE_KIB, WAL_PAGES = 65_536, 8_192  # 10,000 orders without reading a page again; 32 MB between two tidyings
PENDING = -1  # in place of a ledger index: written here first, not yet entered there


class Stored(msgspec.Struct, kw_only=True):
    """One order as stored. `commands` with their entries in the ledger, in order of sequence; `extensions` likewise,
    legal text, carrier text and entry; `call_back` of an emergency order. `filed` is the index of the ledger's entry of
    the filing, which orders the orders of one case. Any index may be PENDING. `not_after_s` is the end that is in
    force, of the last extension if there is one."""

    carrier_sha256: str
    legal_sha256: str
    xid: str
    case: str
    legal: str
    carrier: str
    not_before_s: int
    not_after_s: int
    state: State
    filed: int
    commands: list[tuple[str, Entered]] = []
    extensions: list[tuple[str, str, Entered]] = []
    call_back: tuple[str, Entered] | None = None
    emergency: bool = False

    @property
    def suspended_at(self) -> int:
        """The number of the act that suspended it last; 0 when none did."""
        acts = (jws.decode(jws.split(text).payload, Command) for text, _ in reversed(self.commands))
        return next((command.sequence for command in acts if command.act is Act.SUSPEND), 0)

    @property
    def entries(self) -> Iterator[Entered]:
        """Where in the ledger all stands that a function must see proven."""
        if self.call_back is not None:
            yield self.call_back[1]
        yield from (place for _, _, place in self.extensions)
        yield from (place for _, place in self.commands)

    def request(self, prove: Callable[[Entered], Proof], shown: int | None = None) -> TaskRequest:
        """Everything that a function needs to decide for itself; `shown` of its acts, all by default."""
        commands = self.commands[:shown]
        acts = [jws.decode(jws.split(text).payload, Command).act for text, _ in commands] if self.extensions else []
        extensions = self.extensions[: acts.count(Act.EXTEND)]
        return TaskRequest(
            legal=self.legal,
            carrier=self.carrier,
            commands=tuple(text for text, _ in commands),
            proofs=tuple(prove(place) for _, place in commands),
            extensions=tuple(
                Extension(legal=legal, carrier=carrier, proof=prove(place)) for legal, carrier, place in extensions
            ),
            call_back=self.call_back[0] if self.call_back is not None else "",
            call_back_proof=prove(self.call_back[1]) if self.call_back is not None else None,
        )


class Store:
    """Open on a file. Blocking calls. Raises ConfigurationError at opening, apsw.Error after.

    `destroyed` counts orders whose key is gone: of them nothing is given.
    """

    def __init__(self, path: Path, vault: Vault | None, *, create: bool = False, readonly: bool = False) -> None:
        """`vault` None only to make the empty store of a site whose key is made later."""
        self._vault = vault
        self._rows: dict[str, str] = {}  # names of rows, by carrier token
        self._keys: dict[str, Box] = {}  # of orders, by row
        self._outer: dict[str, Box] = {}  # what seals that which outlives them, by row
        self._xids: dict[str, str] = {}  # by row
        self._moved = self._covered = False  # orders look otherwise than at the last covering; that is complete
        self.destroyed = 0
        if vault is not None:
            vault.reload_order_keys()
        flags = apsw.SQLITE_OPEN_READONLY if readonly else apsw.SQLITE_OPEN_READWRITE
        if create:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            self._db = apsw.Connection(str(path), flags=flags)
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
            self._covered = decoys.cover(self._db, self._sealing.name_key("store"), TABLES, USUAL, anew=self._moved)
        self._moved = False
        decoys.settle(self._db)

    def add_order(self, order: Stored) -> None:
        row = self._row(order.carrier_sha256)
        self._keys[row], self._xids[row] = self._sealing.order_keys.make(order.xid), order.xid
        self._moved = True
        self._db.execute(
            "INSERT INTO orders VALUES (?,?,?,?,?,?,?,?,?)",
            (
                row, self._sealing.name("store", order.xid),
                self._seal_outer(row, "place", f"{order.xid} {order.filed}"),
                self._seal(row, "terms", f"{order.not_before_s} {order.case}"), self._seal(row, "legal", order.legal),
                self._seal(row, "carrier", order.carrier), self._seal(row, "not_after_s", str(order.not_after_s)),
                self._seal_outer(row, "state", order.state.value), order.filed == PENDING,
            ),
        )  # fmt: skip
        if order.call_back is not None:
            sealed = self._seal(row, "call-back", order.call_back[0])
            self._db.execute("INSERT INTO call_backs VALUES (?,?,x'')", (row, sealed))

    def add_extension(self, carrier_sha256: str, number: int, legal: str, approval: str) -> None:
        """As `add_command`, in the same transaction as the act that puts it in force."""
        row = self._row(carrier_sha256)
        texts = self._seal(row, f"extension {number}", legal), self._seal(row, f"approval {number}", approval)
        self._moved = True
        self._db.execute("INSERT INTO extensions VALUES (?,?,?,?,x'')", (row, number, *texts))

    def extended(self, carrier_sha256: str, number: int, entered: Entered, not_after_s: int) -> None:
        """The extension stands in the ledger, and its act: the order has another end."""
        row = self._row(carrier_sha256)
        self._db.execute(
            "UPDATE extensions SET entered = ? WHERE row = ? AND number = ?",
            (self._place(row, f"extension {number}", entered), row, number),
        )
        sealed = self._seal(row, "not_after_s", str(not_after_s))
        self._db.execute("UPDATE orders SET not_after_s = ? WHERE row = ?", (sealed, row))

    def called_back(self, carrier_sha256: str, entered: Entered) -> None:
        row = self._row(carrier_sha256)
        self._db.execute(
            "UPDATE call_backs SET entered = ? WHERE row = ?", (self._place(row, "call-back", entered), row)
        )

    def add_command(self, carrier_sha256: str, sequence: int, text: str) -> None:
        """An act that is about to be entered in the ledger; `entered` follows, or `drop_pending` at the next start."""
        row = self._row(carrier_sha256)
        self._moved = True
        sealed = self._seal(row, f"command {sequence}", text)
        self._db.execute("INSERT INTO commands VALUES (?,?,?,x'')", (row, sequence, sealed))

    def filed(self, carrier_sha256: str, index: int, state: State | None = None) -> None:
        """The filing stands in the ledger; with `state` the order stands there now (one writing of a long row)."""
        row = self._row(carrier_sha256)
        place = self._seal_outer(row, "place", f"{self._xids[row]} {index}")
        if state is None:
            self._db.execute("UPDATE orders SET place = ?, owed = 0 WHERE row = ?", (place, row))
        else:
            sealed = self._seal_outer(row, "state", state.value)
            self._db.execute("UPDATE orders SET place = ?, owed = 0, state = ? WHERE row = ?", (place, sealed, row))

    def entered(self, carrier_sha256: str, sequence: int, entered: Entered) -> None:
        row = self._row(carrier_sha256)
        self._db.execute(
            "UPDATE commands SET entered = ? WHERE row = ? AND sequence = ?",
            (self._place(row, str(sequence), entered), row, sequence),
        )

    def drop_command(self, carrier_sha256: str, sequence: int) -> None:
        """Forgets one act that did not reach the ledger, with its extension; others may still be owed."""
        row = self._row(carrier_sha256)
        self._db.execute("DELETE FROM commands WHERE row = ? AND sequence = ?", (row, sequence))
        self._db.execute("DELETE FROM extensions WHERE row = ? AND entered = x''", (row,))

    def drop_pending(self) -> None:
        """Forgets what never reached the ledger: nobody was told that it was accepted."""
        for table in ("commands", "extensions", "call_backs"):
            self._db.execute(f"DELETE FROM {table} WHERE entered = x''")  # noqa: S608 - our names
        self._db.execute("DELETE FROM orders WHERE owed")

    def add_revocation(self, token_sha256: str, carrier_sha256: str, text: str) -> None:
        row, token = self._row(carrier_sha256), self._sealing.name("store", token_sha256)
        self._moved = True
        sealed = self._seal(row, f"revocation {token}", text)
        withdrawn = self._seal_outer(row, f"withdrawn {token}", token_sha256)
        self._db.execute("INSERT OR IGNORE INTO revocations VALUES (?,?,?,?)", (token, row, withdrawn, sealed))

    def set_state(self, carrier_sha256: str, state: State) -> None:
        row = self._row(carrier_sha256)
        self._db.execute(
            "UPDATE orders SET state = ? WHERE row = ?", (self._seal_outer(row, "state", state.value), row)
        )

    def set_head(self, head: note.Checkpoint) -> None:
        self._db.execute("INSERT OR REPLACE INTO head VALUES (1, ?, ?)", (head.size, head.root.hex()))

    def head(self, origin: str) -> note.Checkpoint | None:
        """The ledger's head at the last transaction."""
        for size, root in self._db.execute("SELECT size, root FROM head"):
            return note.Checkpoint(origin=origin, size=size, root=bytes.fromhex(root))
        return None

    def revoked(self) -> set[str]:
        return {
            self._open_outer(row, f"withdrawn {token}", sealed)
            for token, row, sealed in self._db.execute("SELECT token, row, withdrawn FROM revocations")
            if not self._is_decoy(row)
        }

    def revocations(self, carriers: Container[str]) -> list[str]:
        """The signed texts of the withdrawals of these orders' tokens."""
        wanted = {row for carrier, row in self._rows.items() if carrier in carriers and row in self._keys}
        return [
            self._open(row, f"revocation {token}", sealed)
            for token, row, sealed in self._db.execute("SELECT token, row, text FROM revocations")
            if row in wanted
        ]

    @property
    def pending(self) -> bool:
        """Whether anything stands here that the ledger may not have."""
        return any(found for (found,) in self._db.execute(ANY_PENDING))

    def orders(self) -> list[Stored]:
        """All orders in the order of their filing, with their commands.

        Raises ConfigurationError for what was changed.
        """
        commands: dict[str, list[tuple[int, bytes, bytes]]] = {}
        for row, sequence, text, entered in self._db.execute("SELECT * FROM commands ORDER BY row, sequence"):
            commands.setdefault(row, []).append((sequence, text, entered))
        self.destroyed = 0
        beside = "SELECT row FROM extensions UNION SELECT row FROM call_backs"
        more = {row for (row,) in self._db.execute(beside)}
        found = []
        for row, _, place, terms, legal, carrier, not_after, state, owed in self._db.execute("SELECT * FROM orders"):
            if self._is_decoy(row):
                continue
            xid, _, filed = self._open_outer(row, "place", place).partition(" ")
            try:
                self._keys[row] = self._sealing.order_key(xid)
            except KeyDestroyedError:
                self.destroyed += 1
                continue
            extensions, call_back = self._beside(row) if row in more else ([], None)
            not_before, _, case = self._open(row, "terms", terms).partition(" ")
            texts = self._open(row, "legal", legal), self._open(row, "carrier", carrier)
            order = Stored(
                carrier_sha256=jws.sha256_hex(texts[1]), legal_sha256=jws.sha256_hex(texts[0]), xid=xid, case=case,
                legal=texts[0], carrier=texts[1], not_before_s=int(not_before),
                not_after_s=int(self._open(row, "not_after_s", not_after)), state=self._read_state(row, state),
                filed=PENDING if owed else int(filed),
                commands=[self._command(row, each) for each in commands.pop(row, [])],
                extensions=extensions, call_back=call_back, emergency=call_back is not None,
            )  # fmt: skip
            self._rows[order.carrier_sha256], self._xids[row] = row, xid
            found.append(order)
        return sorted(found, key=lambda order: order.filed)

    def remove(self, xid: str) -> None:
        """Every row of an order; done again it changes nothing. Its key is destroyed before: what the file system keeps
        of the rows opens for nobody."""
        named = self._sealing.name("store", xid)
        self._moved = True
        for (row,) in list(self._db.execute("SELECT row FROM orders WHERE xid = ?", (named,))):
            decoys.remove(self._db, TABLES, row)
            self._keys.pop(row, None)

    def forget_key(self, carrier_sha256: str) -> None:
        """The order's key is destroyed: nothing more is sealed or opened under it here."""
        self._keys.pop(self._row(carrier_sha256), None)

    # -- seals --------------------------------------------------------------------------------------------------------

    @property
    def _sealing(self) -> Vault:
        if self._vault is None:
            raise ConfigurationError("the store was opened without the vault")
        return self._vault

    def _row(self, carrier_sha256: str) -> str:
        """The name of an order's rows."""
        row = self._rows.get(carrier_sha256)
        if row is None:
            row = self._rows[carrier_sha256] = self._sealing.name("store", carrier_sha256)
        return row

    def _is_decoy(self, row: str) -> bool:
        return decoys.is_decoy(row, self._sealing.name_key("store"))

    def _seal(self, row: str, place: str, text: str) -> bytes:
        """Under the order's own key; it opens in this column of this order alone."""
        return self._keys[row].seal(decoys.filled(text), f"{row} {place}".encode())

    def _open(self, row: str, place: str, sealed: bytes) -> str:
        return _opened(self._keys[row].open, row, place, sealed)

    def _seal_outer(self, row: str, place: str, text: str) -> bytes:
        """Under the vault's key, for it outlives the order's; each row by a box of its own, so that no nonce tells
        which rows were written by one process."""
        box = self._outer.get(row)
        if box is None:
            box = self._outer[row] = self._sealing.another_box("store")
        return box.seal(decoys.filled(text), f"{row} {place}".encode())

    def _open_outer(self, row: str, place: str, sealed: bytes) -> str:
        return _opened(self._sealing.box("store").open, row, place, sealed)

    def _place(self, row: str, place: str, entered: Entered) -> bytes:
        """Where something stands in the ledger, as it is stored."""
        return self._seal(row, f"record {place}", f"{entered.index} {entered.salt} {entered.record}")

    def _entered(self, row: str, place: str, sealed: bytes) -> Entered:
        if not sealed:
            return Entered(index=PENDING, record="", salt="")
        index, salt, record = self._open(row, f"record {place}", sealed).split(" ", 2)
        return Entered(index=int(index), record=record, salt=salt)

    def _command(self, row: str, stored: tuple[int, bytes, bytes]) -> tuple[str, Entered]:
        sequence, text, entered = stored
        return self._open(row, f"command {sequence}", text), self._entered(row, str(sequence), entered)

    def _beside(self, row: str) -> tuple[list[tuple[str, str, Entered]], tuple[str, Entered] | None]:
        """The extensions and the call-back of an order."""
        extensions = [
            (
                self._open(row, f"extension {number}", legal),
                self._open(row, f"approval {number}", approval),
                self._entered(row, f"extension {number}", entered),
            )
            for _, number, legal, approval, entered in self._db.execute(
                "SELECT * FROM extensions WHERE row = ? ORDER BY number", (row,)
            )
        ]
        for _, text, entered in self._db.execute("SELECT * FROM call_backs WHERE row = ?", (row,)):
            return extensions, (self._open(row, "call-back", text), self._entered(row, "call-back", entered))
        return extensions, None

    def _read_state(self, row: str, sealed: bytes) -> State:
        try:
            return State(self._open_outer(row, "state", sealed))
        except ValueError as error:
            raise ConfigurationError(f"store: state of an order: {error}") from None


def _opened(opening: Callable[[Octets, bytes], bytes], row: str, place: str, sealed: bytes) -> str:
    try:
        return decoys.emptied(opening(sealed, f"{row} {place}".encode()))
    except SealError as error:
        raise ConfigurationError(f"store: {place.split(maxsplit=1)[0]} of an order: {error}") from None
