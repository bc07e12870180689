"""The administrator's store: the exact texts of orders, acts and revocations, and where each order stands.

Trust: none. An attacker who changes it can make the administrator forget an order, so an interception stops or does
not start; he cannot start one, because every text is verified again before use and by each receiver, and he cannot
bring a stopped one back, because stops are read from the ledger at each start. Every text, name and time in it is
sealed: an order's under the order's own key (`Vault.order_key`), so that destroying that key destroys them wherever a
copy of this file lies; what moves with its life under the vault's key `store`. Who reads the file learns how many
orders there are, and hashes of tokens with a secret nonce.

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
from mediation.core.authority import jws
from mediation.core.case import Act, Command, Extension, Proof, State, TaskRequest
from mediation.core.errors import ConfigurationError
from mediation.core.ledger import note
from mediation.core.ledger.sealing import Box, SealError
from mediation.runtime.order_keys import KeyDestroyedError
from mediation.runtime.vault import Vault

APPLICATION_ID = 0x6D656469
VERSION = 3  # 2: sealed; 3: extensions and call-backs
BUSY_MS = 5_000
STATE_OCTETS = 32
CACHE_KIB, WAL_PAGES = 65_536, 8_192  # 10,000 orders without reading a page again; 32 MB between two tidyings
PENDING = -1  # in place of a ledger index: written here first, not yet entered there

SCHEMA = """
CREATE TABLE orders (
    carrier_sha256 TEXT PRIMARY KEY, legal_sha256 TEXT NOT NULL, xid TEXT NOT NULL, case_id BLOB NOT NULL,
    legal BLOB NOT NULL, carrier BLOB NOT NULL, not_before_s BLOB NOT NULL, not_after_s BLOB NOT NULL,
    state BLOB NOT NULL, filed INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE commands (
    carrier_sha256 TEXT NOT NULL REFERENCES orders, sequence INTEGER NOT NULL, text BLOB NOT NULL,
    ledger_index INTEGER NOT NULL, record BLOB NOT NULL, salt BLOB NOT NULL, PRIMARY KEY (carrier_sha256, sequence)
) STRICT, WITHOUT ROWID;
CREATE TABLE revocations (
    token_sha256 TEXT PRIMARY KEY, carrier_sha256 TEXT NOT NULL REFERENCES orders, text BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE extensions (
    carrier_sha256 TEXT NOT NULL REFERENCES orders, number INTEGER NOT NULL, legal BLOB NOT NULL,
    approval BLOB NOT NULL, ledger_index INTEGER NOT NULL, record BLOB NOT NULL, salt BLOB NOT NULL,
    PRIMARY KEY (carrier_sha256, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE call_backs (
    carrier_sha256 TEXT PRIMARY KEY REFERENCES orders, text BLOB NOT NULL, ledger_index INTEGER NOT NULL,
    record BLOB NOT NULL, salt BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL, root TEXT NOT NULL) STRICT;
"""

ANY_PENDING = """
SELECT EXISTS (SELECT 1 FROM orders WHERE filed = ?1) OR EXISTS (SELECT 1 FROM commands WHERE ledger_index = ?1)
    OR EXISTS (SELECT 1 FROM extensions WHERE ledger_index = ?1)
    OR EXISTS (SELECT 1 FROM call_backs WHERE ledger_index = ?1)
"""


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
        self._keys: dict[str, Box] = {}  # of orders, by carrier token
        self.destroyed = 0
        if vault is not None:
            vault.reload_order_keys()
        flags = apsw.SQLITE_OPEN_READONLY if readonly else apsw.SQLITE_OPEN_READWRITE
        if create:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            self._db = apsw.Connection(str(path), flags=flags)
            self._db.set_busy_timeout(BUSY_MS)
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

    def add_order(self, order: Stored) -> None:
        carrier = order.carrier_sha256
        self._keys[carrier] = self._sealing.order_keys.make(order.xid)
        self._db.execute(
            "INSERT INTO orders VALUES (?,?,?,?,?,?,?,?,?,?)",
            (
                carrier, order.legal_sha256, order.xid, self._seal(carrier, "case", order.case),
                self._seal(carrier, "legal", order.legal), self._seal(carrier, "carrier", order.carrier),
                self._seal(carrier, "not_before_s", str(order.not_before_s)),
                self._seal(carrier, "not_after_s", str(order.not_after_s)),
                self._state(carrier, order.state), order.filed,
            ),
        )  # fmt: skip
        if order.call_back is not None:
            sealed = self._seal(carrier, "call-back", order.call_back[0])
            self._db.execute("INSERT INTO call_backs VALUES (?,?,?,x'',x'')", (carrier, sealed, PENDING))

    def add_extension(self, carrier_sha256: str, number: int, legal: str, approval: str) -> None:
        """As `add_command`, in the same transaction as the act that puts it in force."""
        texts = (
            self._seal(carrier_sha256, f"extension {number}", legal),
            self._seal(carrier_sha256, f"approval {number}", approval),
        )
        self._db.execute("INSERT INTO extensions VALUES (?,?,?,?,?,x'',x'')", (carrier_sha256, number, *texts, PENDING))

    def extended(self, carrier_sha256: str, number: int, entered: Entered, not_after_s: int) -> None:
        """The extension stands in the ledger, and its act: the order has another end."""
        self._db.execute(
            "UPDATE extensions SET ledger_index = ?, record = ?, salt = ? WHERE carrier_sha256 = ? AND number = ?",
            (*self._place(carrier_sha256, f"extension {number}", entered), carrier_sha256, number),
        )
        self._db.execute(
            "UPDATE orders SET not_after_s = ? WHERE carrier_sha256 = ?",
            (self._seal(carrier_sha256, "not_after_s", str(not_after_s)), carrier_sha256),
        )

    def called_back(self, carrier_sha256: str, entered: Entered) -> None:
        self._db.execute(
            "UPDATE call_backs SET ledger_index = ?, record = ?, salt = ? WHERE carrier_sha256 = ?",
            (*self._place(carrier_sha256, "call-back", entered), carrier_sha256),
        )

    def add_command(self, carrier_sha256: str, sequence: int, text: str) -> None:
        """An act that is about to be entered in the ledger; `entered` follows, or `drop_pending` at the next start."""
        sealed = self._seal(carrier_sha256, f"command {sequence}", text)
        self._db.execute("INSERT INTO commands VALUES (?,?,?,?,x'',x'')", (carrier_sha256, sequence, sealed, PENDING))

    def filed(self, carrier_sha256: str, index: int, state: State | None = None) -> None:
        """The filing stands in the ledger; with `state` the order stands there now (one writing of a long row)."""
        if state is None:
            self._db.execute("UPDATE orders SET filed = ? WHERE carrier_sha256 = ?", (index, carrier_sha256))
        else:
            self._db.execute(
                "UPDATE orders SET filed = ?, state = ? WHERE carrier_sha256 = ?",
                (index, self._state(carrier_sha256, state), carrier_sha256),
            )

    def entered(self, carrier_sha256: str, sequence: int, entered: Entered) -> None:
        self._db.execute(
            "UPDATE commands SET ledger_index = ?, record = ?, salt = ? WHERE carrier_sha256 = ? AND sequence = ?",
            (*self._place(carrier_sha256, str(sequence), entered), carrier_sha256, sequence),
        )

    def drop_command(self, carrier_sha256: str, sequence: int) -> None:
        """Forgets one act that did not reach the ledger, with its extension; others may still be owed."""
        self._db.execute("DELETE FROM commands WHERE carrier_sha256 = ? AND sequence = ?", (carrier_sha256, sequence))
        self._db.execute(
            "DELETE FROM extensions WHERE carrier_sha256 = ? AND ledger_index = ?", (carrier_sha256, PENDING)
        )

    def drop_pending(self) -> None:
        """Forgets what never reached the ledger: nobody was told that it was accepted."""
        self._db.execute("DELETE FROM commands WHERE ledger_index = ?", (PENDING,))
        self._db.execute("DELETE FROM extensions WHERE ledger_index = ?", (PENDING,))
        self._db.execute("DELETE FROM call_backs WHERE ledger_index = ?", (PENDING,))
        self._db.execute("DELETE FROM orders WHERE filed = ?", (PENDING,))

    def add_revocation(self, token_sha256: str, carrier_sha256: str, text: str) -> None:
        sealed = self._seal(carrier_sha256, f"revocation {token_sha256}", text)
        self._db.execute("INSERT OR IGNORE INTO revocations VALUES (?,?,?)", (token_sha256, carrier_sha256, sealed))

    def set_state(self, carrier_sha256: str, state: State) -> None:
        self._db.execute(
            "UPDATE orders SET state = ? WHERE carrier_sha256 = ?", (self._state(carrier_sha256, state), carrier_sha256)
        )

    def set_head(self, head: note.Checkpoint) -> None:
        self._db.execute("INSERT OR REPLACE INTO head VALUES (1, ?, ?)", (head.size, head.root.hex()))

    def head(self, origin: str) -> note.Checkpoint | None:
        """The ledger's head at the last transaction."""
        for size, root in self._db.execute("SELECT size, root FROM head"):
            return note.Checkpoint(origin=origin, size=size, root=bytes.fromhex(root))
        return None

    def revoked(self) -> set[str]:
        return {token for (token,) in self._db.execute("SELECT token_sha256 FROM revocations")}

    def revocations(self, carriers: Container[str]) -> list[str]:
        """The signed texts of the withdrawals of these orders' tokens."""
        return [
            self._open(carrier, f"revocation {token}", sealed)
            for token, carrier, sealed in self._db.execute("SELECT token_sha256, carrier_sha256, text FROM revocations")
            if carrier in carriers and carrier in self._keys
        ]

    @property
    def pending(self) -> bool:
        """Whether anything stands here that the ledger may not have."""
        return any(found for (found,) in self._db.execute(ANY_PENDING, (PENDING,)))

    def orders(self) -> Iterator[Stored]:
        """All orders in the order of their filing, with their commands.

        Raises ConfigurationError for what was changed.
        """
        commands: dict[str, list[tuple[int, bytes, int, bytes, bytes]]] = {}
        for carrier, *rest in self._db.execute(
            "SELECT carrier_sha256, sequence, text, ledger_index, record, salt FROM commands"
            " ORDER BY carrier_sha256, sequence"
        ):
            commands.setdefault(carrier, []).append((rest[0], rest[1], rest[2], rest[3], rest[4]))
        self.destroyed = 0
        beside = "SELECT carrier_sha256 FROM extensions UNION SELECT carrier_sha256 FROM call_backs"
        more = {carrier for (carrier,) in self._db.execute(beside)}
        for carrier, legal_sha256, xid, case, legal, text, not_before, not_after, state, filed in self._db.execute(
            "SELECT carrier_sha256, legal_sha256, xid, case_id, legal, carrier, not_before_s, not_after_s, state, filed"
            " FROM orders ORDER BY filed"
        ):
            try:
                self._keys[carrier] = self._sealing.order_key(xid)
            except KeyDestroyedError:
                self.destroyed += 1
                continue
            extensions, call_back = self._beside(carrier) if carrier in more else ([], None)
            yield Stored(
                carrier_sha256=carrier, legal_sha256=legal_sha256, xid=xid, case=self._open(carrier, "case", case),
                legal=self._open(carrier, "legal", legal), carrier=self._open(carrier, "carrier", text),
                not_before_s=int(self._open(carrier, "not_before_s", not_before)),
                not_after_s=int(self._open(carrier, "not_after_s", not_after)),
                state=self._read_state(carrier, state), filed=filed,
                commands=[self._command(carrier, row) for row in commands.pop(carrier, [])],
                extensions=extensions, call_back=call_back, emergency=call_back is not None,
            )  # fmt: skip

    def remove(self, xid: str) -> None:
        """Every row of an order; done again it changes nothing. Its key is destroyed before: what the file system keeps
        of the rows opens for nobody."""
        for (carrier,) in list(self._db.execute("SELECT carrier_sha256 FROM orders WHERE xid = ?", (xid,))):
            for table in ("commands", "revocations", "extensions", "call_backs", "orders"):
                self._db.execute(f"DELETE FROM {table} WHERE carrier_sha256 = ?", (carrier,))  # noqa: S608 - our names
            self.forget_key(carrier)

    def forget_key(self, carrier_sha256: str) -> None:
        """The order's key is destroyed: nothing more is sealed or opened under it here."""
        self._keys.pop(carrier_sha256, None)

    # -- seals --------------------------------------------------------------------------------------------------------

    @property
    def _sealing(self) -> Vault:
        if self._vault is None:
            raise ConfigurationError("the store was opened without the vault")
        return self._vault

    def _seal(self, carrier: str, place: str, text: str) -> bytes:
        """Under the order's own key; it opens in this column of this order alone."""
        return self._keys[carrier].seal(text.encode(), f"{carrier} {place}".encode())

    def _open(self, carrier: str, place: str, sealed: bytes) -> str:
        try:
            return self._keys[carrier].open(sealed, f"{carrier} {place}".encode()).decode()
        except SealError as error:
            raise ConfigurationError(f"store: {place.split(maxsplit=1)[0]} of an order: {error}") from None

    def _place(self, carrier: str, place: str, entered: Entered) -> tuple[int, bytes, bytes]:
        """Where something stands in the ledger, as it is stored."""
        record = self._seal(carrier, f"record {place}", entered.record)
        return entered.index, record, self._seal(carrier, f"salt {place}", entered.salt)

    def _entered(self, carrier: str, place: str, row: tuple[int, bytes, bytes]) -> Entered:
        index, record, salt = row
        if index == PENDING:
            return Entered(index=index, record="", salt="")
        return Entered(
            index=index,
            record=self._open(carrier, f"record {place}", record),
            salt=self._open(carrier, f"salt {place}", salt),
        )

    def _command(self, carrier: str, row: tuple[int, bytes, int, bytes, bytes]) -> tuple[str, Entered]:
        sequence, text, index, record, salt = row
        opened = self._open(carrier, f"command {sequence}", text)
        return opened, self._entered(carrier, str(sequence), (index, record, salt))

    def _beside(self, carrier: str) -> tuple[list[tuple[str, str, Entered]], tuple[str, Entered] | None]:
        """The extensions and the call-back of an order."""
        extensions = [
            (
                self._open(carrier, f"extension {number}", legal),
                self._open(carrier, f"approval {number}", approval),
                self._entered(carrier, f"extension {number}", (index, record, salt)),
            )
            for number, legal, approval, index, record, salt in self._db.execute(
                "SELECT number, legal, approval, ledger_index, record, salt FROM extensions"
                " WHERE carrier_sha256 = ? ORDER BY number",
                (carrier,),
            )
        ]
        for text, index, record, salt in self._db.execute(
            "SELECT text, ledger_index, record, salt FROM call_backs WHERE carrier_sha256 = ?", (carrier,)
        ):
            place = self._entered(carrier, "call-back", (index, record, salt))
            return extensions, (self._open(carrier, "call-back", text), place)
        return extensions, None

    def _state(self, carrier: str, state: State) -> bytes:
        """Under the vault's key, for it outlives the order's, and of one length for all states."""
        return self._sealing.seal("store", state.value.encode().ljust(STATE_OCTETS), f"{carrier} state".encode())

    def _read_state(self, carrier: str, sealed: bytes) -> State:
        try:
            return State(self._sealing.open("store", sealed, f"{carrier} state".encode()).decode().strip())
        except (SealError, ValueError) as error:
            raise ConfigurationError(f"store: state of an order: {error}") from None
