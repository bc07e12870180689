"""The administrator's store: the exact texts of orders, acts and revocations, and where each order stands.

Trust: none. An attacker who changes it can make the administrator forget an order, so an interception stops or does
not start; he cannot start one, because every text is verified again by each receiver, and he cannot bring a stopped
one back, because stops, suspensions and where each text stands are read from the ledger at each start. Every text, name
and time in it is sealed: an order's under the order's own key (`Vault.order_key`), so that destroying that key destroys
them wherever a copy of this file lies; what moves with its life under the vault's key `store`. Who reads the file
learns how many orders there are, and hashes of tokens with a secret nonce.

SQLite in WAL mode with full synchronisation: a transaction that returned survives a power cut. One writer, which
holds the site's lock; readers may come at any time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import msgspec

from mediation.administration.ledger.ledger import Entered
from mediation.administration.records.history import xid_of
from mediation.core.authority import jws
from mediation.core.authority.trust import Trust
from mediation.core.case import Act, Command, Extension, Proof, State, TaskRequest
from mediation.core.errors import ConfigurationError
from mediation.core.ledger import note
from mediation.core.ledger.sealing import Box, SealError
from mediation.runtime.order_keys import KeyDestroyedError
from mediation.runtime.vault import Vault

APPLICATION_ID = 0x6D656469
VERSION = 4  # 2: sealed; 3: extensions and call-backs; 4: one seal for a filing, places in the ledger alone
BUSY_MS = 5_000
STATE_OCTETS = 32
CACHE_KIB, WAL_PAGES = 65_536, 8_192  # 10,000 orders without reading a page again; 32 MB between two tidyings
PENDING = -1  # in place of a ledger index: written here first, not yet entered there
PENDING_ENTRY = Entered(index=PENDING, record="", salt="")

# Orders stand in the order of their filing: a new one is written at the end, and never again.
SCHEMA = """
CREATE TABLE orders (number INTEGER PRIMARY KEY, carrier_sha256 TEXT NOT NULL UNIQUE, body BLOB NOT NULL) STRICT;
CREATE TABLE states (
    carrier_sha256 TEXT PRIMARY KEY REFERENCES orders (carrier_sha256), state BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE commands (
    carrier_sha256 TEXT NOT NULL REFERENCES orders (carrier_sha256), sequence INTEGER NOT NULL, text BLOB NOT NULL,
    PRIMARY KEY (carrier_sha256, sequence)
) STRICT, WITHOUT ROWID;
CREATE TABLE revocations (
    token_sha256 TEXT PRIMARY KEY, carrier_sha256 TEXT NOT NULL REFERENCES orders (carrier_sha256), text BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE extensions (
    carrier_sha256 TEXT NOT NULL REFERENCES orders (carrier_sha256), number INTEGER NOT NULL, legal BLOB NOT NULL,
    approval BLOB NOT NULL, PRIMARY KEY (carrier_sha256, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL, root TEXT NOT NULL) STRICT;
"""
BESIDE = ("commands", "revocations", "extensions", "states", "orders")  # an order's rows, in the order of their removal


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


class Stored(msgspec.Struct, kw_only=True):
    """One order. `commands` with their entries in the ledger, in order of sequence; `extensions` likewise, legal text,
    carrier text and entry; `call_back` of an emergency order. `filed` is the index of the ledger's entry of the filing,
    which orders the orders of one case. As the store gives it every index is PENDING, and `not_after_s` the end that
    the order began with: where all stands, and which extension is in force, the ledger says (`recovery.place`)."""

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
    stands_by: Trust | None = None  # by whom its signers were last found good, in this process and of all its texts

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
        """An order with what was filed with it, about to be entered in the ledger: at the next start it is forgotten
        (`drop`) unless the ledger has it."""
        carrier = order.carrier_sha256
        self._keys[carrier] = self._sealing.order_keys.make(order.xid)
        body = Filed(
            order.case, order.legal_sha256, order.legal, order.carrier, order.not_before_s, order.not_after_s,
            tuple(text for text, _ in order.commands), order.call_back[0] if order.call_back is not None else "",
        )  # fmt: skip
        sealed = self._keys[carrier].seal(_encoder.encode(body), f"{carrier} order".encode())
        self._db.execute("INSERT INTO orders (carrier_sha256, body) VALUES (?,?)", (carrier, sealed))

    def add_extension(self, carrier_sha256: str, number: int, legal: str, approval: str) -> None:
        """As `add_command`, in the same transaction as the act that puts it in force."""
        texts = (
            self._seal(carrier_sha256, f"extension {number}", legal),
            self._seal(carrier_sha256, f"approval {number}", approval),
        )
        self._db.execute("INSERT INTO extensions VALUES (?,?,?,?)", (carrier_sha256, number, *texts))

    def add_command(self, carrier_sha256: str, sequence: int, text: str) -> None:
        """An act after the filing that is about to be entered in the ledger."""
        sealed = self._seal(carrier_sha256, f"command {sequence}", text)
        self._db.execute("INSERT INTO commands VALUES (?,?,?)", (carrier_sha256, sequence, sealed))

    def drop(self, carriers: Iterable[str]) -> None:
        """Forgets orders that never reached the ledger: nobody was told that they were accepted."""
        for carrier in carriers:
            self._remove(carrier)

    def drop_command(self, carrier_sha256: str, sequence: int) -> None:
        """Forgets one act that did not reach the ledger; others may still be owed."""
        self._db.execute("DELETE FROM commands WHERE carrier_sha256 = ? AND sequence = ?", (carrier_sha256, sequence))

    def drop_extension(self, carrier_sha256: str, number: int) -> None:
        """Forgets an extension whose act did not reach the ledger."""
        self._db.execute("DELETE FROM extensions WHERE carrier_sha256 = ? AND number = ?", (carrier_sha256, number))

    def add_revocation(self, token_sha256: str, carrier_sha256: str, text: str) -> None:
        sealed = self._seal(carrier_sha256, f"revocation {token_sha256}", text)
        self._db.execute("INSERT OR IGNORE INTO revocations VALUES (?,?,?)", (token_sha256, carrier_sha256, sealed))

    def set_state(self, carrier_sha256: str, state: State) -> None:
        """Where an order stands, if that is not what the ledger says of one that was filed and activated."""
        self._db.execute(
            "INSERT OR REPLACE INTO states VALUES (?, ?)", (carrier_sha256, self._state(carrier_sha256, state))
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

    def orders(self) -> Iterator[Stored]:
        """All orders in the order of their filing, with all texts; FILED unless another state was stored.

        Raises ConfigurationError for what was changed.
        """
        self.destroyed = 0
        states = dict(self._db.execute("SELECT carrier_sha256, state FROM states"))
        beside = "SELECT carrier_sha256 FROM extensions UNION SELECT carrier_sha256 FROM commands"
        more = {carrier for (carrier,) in self._db.execute(beside)}
        for carrier, sealed in self._db.execute("SELECT carrier_sha256, body FROM orders ORDER BY number"):
            xid = xid_of(carrier)
            try:
                key = self._keys[carrier] = self._sealing.order_key(xid)
            except KeyDestroyedError:
                self.destroyed += 1
                continue
            try:
                body = _filed.decode(key.open(sealed, f"{carrier} order".encode()))
            except (SealError, msgspec.MsgspecError) as error:
                raise ConfigurationError(f"store: an order: {error}") from None
            state = states.get(carrier)
            order = Stored(
                carrier_sha256=carrier, legal_sha256=body.legal_sha256, xid=xid, case=body.case, legal=body.legal,
                carrier=body.carrier, not_before_s=body.not_before_s, not_after_s=body.not_after_s,
                state=State.FILED if state is None else self._read_state(carrier, state), filed=PENDING,
                commands=[(text, PENDING_ENTRY) for text in body.commands],
                call_back=(body.call_back, PENDING_ENTRY) if body.call_back else None, emergency=bool(body.call_back),
            )  # fmt: skip
            if carrier in more:
                self._add_later(order)
            yield order

    def _add_later(self, order: Stored) -> None:
        """The acts and the extensions that came after the filing."""
        carrier = order.carrier_sha256
        rows = self._db.execute(
            "SELECT sequence, text FROM commands WHERE carrier_sha256 = ? ORDER BY sequence", (carrier,)
        )
        order.commands += [(self._open(carrier, f"command {number}", text), PENDING_ENTRY) for number, text in rows]
        order.extensions = [
            (
                self._open(carrier, f"extension {number}", legal),
                self._open(carrier, f"approval {number}", approval),
                PENDING_ENTRY,
            )
            for number, legal, approval in self._db.execute(
                "SELECT number, legal, approval FROM extensions WHERE carrier_sha256 = ? ORDER BY number", (carrier,)
            )
        ]

    def remove(self, xid: str) -> None:
        """Every row of an order; done again it changes nothing. Its key is destroyed before: what the file system keeps
        of the rows opens for nobody."""
        # An XID is how the hash of the carrier token begins; no hexadecimal digit comes after "f".
        found = self._db.execute(
            "SELECT carrier_sha256 FROM orders WHERE carrier_sha256 BETWEEN ? AND ?", (xid, f"{xid}g")
        )
        for (carrier,) in list(found):
            self._remove(carrier)

    def _remove(self, carrier: str) -> None:
        for table in BESIDE:
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

    def _state(self, carrier: str, state: State) -> bytes:
        """Under the vault's key, for it outlives the order's, and of one length for all states."""
        return self._sealing.seal("store", state.value.encode().ljust(STATE_OCTETS), f"{carrier} state".encode())

    def _read_state(self, carrier: str, sealed: bytes) -> State:
        try:
            return State(self._sealing.open("store", sealed, f"{carrier} state".encode()).decode().strip())
        except (SealError, ValueError) as error:
            raise ConfigurationError(f"store: state of an order: {error}") from None
