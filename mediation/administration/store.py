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
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import apsw
import msgspec

from mediation.administration.ledger import Entered
from mediation.core import note
from mediation.core.case import State
from mediation.core.errors import ConfigurationError

APPLICATION_ID = 0x6D656469
VERSION = 1
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


class Stored(msgspec.Struct, kw_only=True):
    """One order as stored. `commands` with their entries in the ledger, in order of sequence; `filed` is the index of
    the ledger's entry of the filing, which orders the orders of one case. Either index may be PENDING."""

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
                    self._db.execute(SCHEMA)
                    self._db.pragma("application_id", APPLICATION_ID)
                    self._db.pragma("user_version", VERSION)
            if not readonly:
                self._db.pragma("synchronous", "full")
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

    def add_order(self, order: Stored) -> None:
        self._db.execute(
            "INSERT INTO orders VALUES (?,?,?,?,?,?,?,?,?,?)",
            (
                order.carrier_sha256, order.legal_sha256, order.xid, order.case, order.legal, order.carrier,
                order.not_before_s, order.not_after_s, order.state.value, order.filed,
            ),
        )  # fmt: skip

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

    def drop_pending(self) -> None:
        """Forgets what never reached the ledger: nobody was told that it was accepted."""
        self._db.execute("DELETE FROM commands WHERE ledger_index = ?", (PENDING,))
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

    def revocations(self, now_s: int) -> list[str]:
        """The signed texts of withdrawals whose order's window has not ended."""
        rows = self._db.execute(
            "SELECT text FROM revocations JOIN orders USING (carrier_sha256) WHERE not_after_s > ?", (now_s,)
        )
        return [text for (text,) in rows]

    def orders(self) -> Iterator[Stored]:
        """All orders in the order of their filing, with their commands."""
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
                commands=commands.pop(row[0], []),
            )  # fmt: skip
