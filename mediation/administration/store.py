"""The administrator's store: the exact texts of orders, acts and revocations, and where each order stands.

Trust: none. An attacker who changes it can make the administrator forget an order, so an interception stops or does
not start; he cannot start one, because every text is verified again before use and by each receiver, and he cannot
bring a stopped one back, because stops are read from the ledger at each start. Who reads it learns the subjects: the
file is of mode 0600.

SQLite in WAL mode with full synchronisation: a transaction that returned survives a power cut. One writer, which
holds the site's lock; readers may come at any time.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import apsw
import msgspec

from mediation.administration.ledger import Entered
from mediation.core import jws, note
from mediation.core.case import Act, Command, Extension, Proof, State, TaskRequest
from mediation.core.errors import ConfigurationError

APPLICATION_ID = 0x6D656469
VERSION = 2
BUSY_MS = 5_000
PENDING = -1  # in place of a ledger index: written here first, not yet entered there

SCHEMA = """
CREATE TABLE orders (
    carrier_sha256 TEXT PRIMARY KEY, legal_sha256 TEXT NOT NULL, xid TEXT NOT NULL, case_id TEXT NOT NULL,
    legal TEXT NOT NULL, carrier TEXT NOT NULL, not_before_s INTEGER NOT NULL, not_after_s INTEGER NOT NULL,
    state TEXT NOT NULL, filed INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX orders_case ON orders (case_id, filed);
CREATE INDEX orders_state ON orders (state);
CREATE TABLE commands (
    carrier_sha256 TEXT NOT NULL REFERENCES orders, sequence INTEGER NOT NULL, text TEXT NOT NULL,
    ledger_index INTEGER NOT NULL, record TEXT NOT NULL, salt TEXT NOT NULL, PRIMARY KEY (carrier_sha256, sequence)
) STRICT, WITHOUT ROWID;
CREATE TABLE revocations (
    token_sha256 TEXT PRIMARY KEY, carrier_sha256 TEXT NOT NULL REFERENCES orders, text TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL, root TEXT NOT NULL) STRICT;
"""

# What version 2 has beside version 1.
ADDED = """
CREATE TABLE extensions (
    carrier_sha256 TEXT NOT NULL REFERENCES orders, number INTEGER NOT NULL, legal TEXT NOT NULL,
    approval TEXT NOT NULL, ledger_index INTEGER NOT NULL, record TEXT NOT NULL, salt TEXT NOT NULL,
    PRIMARY KEY (carrier_sha256, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE call_backs (
    carrier_sha256 TEXT PRIMARY KEY REFERENCES orders, text TEXT NOT NULL, ledger_index INTEGER NOT NULL,
    record TEXT NOT NULL, salt TEXT NOT NULL
) STRICT, WITHOUT ROWID;
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

    def request(self, prove: Callable[[Entered], Proof]) -> TaskRequest:
        """Everything that a function needs to decide for itself."""
        return TaskRequest(
            legal=self.legal,
            carrier=self.carrier,
            commands=tuple(text for text, _ in self.commands),
            proofs=tuple(prove(place) for _, place in self.commands),
            extensions=tuple(
                Extension(legal=legal, carrier=carrier, proof=prove(place)) for legal, carrier, place in self.extensions
            ),
            call_back=self.call_back[0] if self.call_back is not None else "",
            call_back_proof=prove(self.call_back[1]) if self.call_back is not None else None,
        )


def lock(folder: Path) -> AbstractContextManager[None]:
    """Holds the site: one administrator, or one command in its place. Raises BlockingIOError while it is held."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"{folder.name}/lock: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return _held(descriptor)


@contextmanager
def _held(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)


class Store:
    """Open on a file. Blocking calls. Raises ConfigurationError at opening, apsw.Error after."""

    def __init__(self, path: Path, *, create: bool = False, readonly: bool = False) -> None:
        flags = apsw.SQLITE_OPEN_READONLY if readonly else apsw.SQLITE_OPEN_READWRITE
        if create:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            self._db = apsw.Connection(str(path), flags=flags)
            self._db.set_busy_timeout(BUSY_MS)
            if create:
                self._db.pragma("journal_mode", "wal")
                with self._db:
                    self._db.execute(SCHEMA + ADDED)
                    self._db.pragma("application_id", APPLICATION_ID)
                    self._db.pragma("user_version", VERSION)
            if not readonly:
                self._db.pragma("synchronous", "full")
                self._db.pragma("foreign_keys", True)
            if not readonly and (self._db.pragma("application_id"), self._db.pragma("user_version")) == (
                APPLICATION_ID,
                1,
            ):
                with self._db:
                    self._db.execute(ADDED)
                    self._db.pragma("user_version", VERSION)
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

    def add_order(self, order: Stored) -> None:
        self._db.execute(
            "INSERT INTO orders VALUES (?,?,?,?,?,?,?,?,?,?)",
            (
                order.carrier_sha256, order.legal_sha256, order.xid, order.case, order.legal, order.carrier,
                order.not_before_s, order.not_after_s, order.state.value, order.filed,
            ),
        )  # fmt: skip
        if order.call_back is not None:
            self._db.execute(
                "INSERT INTO call_backs VALUES (?,?,?,'','')", (order.carrier_sha256, order.call_back[0], PENDING)
            )

    def add_extension(self, carrier_sha256: str, number: int, legal: str, approval: str) -> None:
        """As `add_command`, in the same transaction as the act that puts it in force."""
        self._db.execute(
            "INSERT INTO extensions VALUES (?,?,?,?,?,'','')", (carrier_sha256, number, legal, approval, PENDING)
        )

    def extended(self, carrier_sha256: str, number: int, entered: Entered, not_after_s: int) -> None:
        """The extension stands in the ledger, and its act: the order has another end."""
        self._db.execute(
            "UPDATE extensions SET ledger_index = ?, record = ?, salt = ? WHERE carrier_sha256 = ? AND number = ?",
            (entered.index, entered.record, entered.salt, carrier_sha256, number),
        )
        self._db.execute("UPDATE orders SET not_after_s = ? WHERE carrier_sha256 = ?", (not_after_s, carrier_sha256))

    def called_back(self, carrier_sha256: str, entered: Entered) -> None:
        self._db.execute(
            "UPDATE call_backs SET ledger_index = ?, record = ?, salt = ? WHERE carrier_sha256 = ?",
            (entered.index, entered.record, entered.salt, carrier_sha256),
        )

    def add_command(self, carrier_sha256: str, sequence: int, text: str) -> None:
        """An act that is about to be entered in the ledger; `entered` follows, or `drop_pending` at the next start."""
        self._db.execute("INSERT INTO commands VALUES (?,?,?,?,'','')", (carrier_sha256, sequence, text, PENDING))

    def filed(self, carrier_sha256: str, index: int) -> None:
        self._db.execute("UPDATE orders SET filed = ? WHERE carrier_sha256 = ?", (index, carrier_sha256))

    def entered(self, carrier_sha256: str, sequence: int, entered: Entered) -> None:
        self._db.execute(
            "UPDATE commands SET ledger_index = ?, record = ?, salt = ? WHERE carrier_sha256 = ? AND sequence = ?",
            (entered.index, entered.record, entered.salt, carrier_sha256, sequence),
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
        self._db.execute("INSERT OR IGNORE INTO revocations VALUES (?,?,?)", (token_sha256, carrier_sha256, text))

    def set_state(self, carrier_sha256: str, state: State) -> None:
        self._db.execute("UPDATE orders SET state = ? WHERE carrier_sha256 = ?", (state.value, carrier_sha256))

    def set_head(self, head: note.Checkpoint) -> None:
        self._db.execute("INSERT OR REPLACE INTO head VALUES (1, ?, ?)", (head.size, head.root.hex()))

    def head(self, origin: str) -> note.Checkpoint | None:
        """The ledger's head at the last transaction."""
        for size, root in self._db.execute("SELECT size, root FROM head"):
            return note.Checkpoint(origin=origin, size=size, root=bytes.fromhex(root))
        return None

    def revoked(self) -> set[str]:
        return {token for (token,) in self._db.execute("SELECT token_sha256 FROM revocations")}

    def orders(self) -> Iterator[Stored]:
        """All orders in the order of their filing, with their commands, extensions and call-backs."""
        extensions: dict[str, list[tuple[str, str, Entered]]] = {}
        for carrier, legal, approval, index, record, salt in self._db.execute(
            "SELECT carrier_sha256, legal, approval, ledger_index, record, salt FROM extensions"
            " ORDER BY carrier_sha256, number"
        ):
            found = Entered(index=index, record=record, salt=salt)
            extensions.setdefault(carrier, []).append((legal, approval, found))
        call_backs = {
            carrier: (text, Entered(index=index, record=record, salt=salt))
            for carrier, text, index, record, salt in self._db.execute("SELECT * FROM call_backs")
        }
        commands: dict[str, list[tuple[str, Entered]]] = {}
        for carrier, text, index, record, salt in self._db.execute(
            "SELECT carrier_sha256, text, ledger_index, record, salt FROM commands ORDER BY carrier_sha256, sequence"
        ):
            commands.setdefault(carrier, []).append((text, Entered(index=index, record=record, salt=salt)))
        for row in self._db.execute(
            "SELECT carrier_sha256, legal_sha256, xid, case_id, legal, carrier, not_before_s, not_after_s, state, filed"
            " FROM orders ORDER BY filed"
        ):
            yield Stored(
                carrier_sha256=row[0], legal_sha256=row[1], xid=row[2], case=row[3], legal=row[4], carrier=row[5],
                not_before_s=row[6], not_after_s=row[7], state=State(row[8]), filed=row[9],
                commands=commands.pop(row[0], []), extensions=extensions.pop(row[0], []),
                call_back=call_backs.get(row[0]), emergency=row[0] in call_backs,
            )  # fmt: skip
