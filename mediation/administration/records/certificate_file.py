"""The file of a site's certifications: exact texts and signatures, sealed under their orders' keys.

Answers for finding them again, and for telling who steals the file neither whose they are nor how many (decoys.py).
Decides nothing. Trust: none; what was changed does not open. Blocking.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import apsw
import msgspec

from mediation.administration.order import decoys
from mediation.administration.order.connection import connect
from mediation.core.errors import ConfigurationError
from mediation.core.ledger.sealing import SealError
from mediation.runtime import log
from mediation.runtime.order_keys import KeyDestroyedError
from mediation.runtime.vault import Vault

logger = log.get("administrator")

APPLICATION_ID = 0x6D636572
VERSION = 2  # 2: names and facts sealed, decoys
PURPOSE = "records"  # the key of the names of rows, and of facts
SCHEMA = """
CREATE TABLE certificates (
    row TEXT NOT NULL, number INTEGER NOT NULL, facts BLOB NOT NULL, text BLOB NOT NULL, signature BLOB NOT NULL,
    PRIMARY KEY (row, number)
) STRICT, WITHOUT ROWID;
"""
TABLES = ("certificates",)
USUAL: decoys.Usual = {"certificates": [(decoys.NAME, 0, *map(decoys.Sealed, (296, 1832)), b"")]}


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a certification without opening it. `owner`: the XID, or the incident of one without an order.
    `replaces`: SHA-256 of the unsigned draft that it takes the place of."""

    sha256: str
    owner: str
    number: int
    replaces: str
    signed: bool


class CertificateFile:
    """Open on the file, made if missing. Raises ConfigurationError at opening, apsw.Error after."""

    def __init__(self, path: Path, vault: Vault) -> None:
        self._name, self._vault, self._db = path.name, vault, _open(path)
        self._moved = self._covered = False  # as the store's

    def close(self) -> None:
        self._db.close()

    def transaction(self) -> AbstractContextManager[object]:
        """All that is written inside is durable at the end, or none of it."""
        return self._db

    def rows(self) -> Iterator[Row]:
        """One that was changed is not given, and said in the log: what is missing is drafted again."""
        key = self._vault.name_key(PURPOSE)
        for name, number, facts, signature in self._db.execute(
            "SELECT row, number, facts, length(signature) FROM certificates"
        ):
            if _is_decoy(name, key):
                continue
            try:
                opened = decoys.emptied(self._vault.open(PURPOSE, facts, f"{name} {number}".encode())).decode()
                sha256, replaces, owner = opened.split(" ", 2)
            except (SealError, ValueError) as error:
                logger.error("alarm_certification_changed", reason=type(error).__name__)  # noqa: TRY400
                continue
            yield Row(sha256=sha256, owner=owner, number=number, replaces=replaces, signed=bool(signature))

    def cover(self) -> None:
        """As the store's."""
        if self._covered and not self._moved:
            return
        key = self._vault.name_key(PURPOSE)
        with self._db:
            self._covered = decoys.cover(self._db, key, TABLES, USUAL, anew=self._moved)
        self._moved = False
        decoys.settle(self._db)

    def add(self, row: Row, text: str) -> None:
        """A draft. Raises KeyDestroyedError."""
        name, number = self._named(row)
        sealed = self._vault.order_key(row.owner).seal(decoys.filled(text.encode()), _place(row, "text"))
        facts = decoys.filled(f"{row.sha256} {row.replaces} {row.owner}".encode())
        facts = self._vault.another_box(PURPOSE).seal(facts, f"{name} {number}".encode())
        # In the place of one that was changed, if it had this number.
        self._db.execute("INSERT OR REPLACE INTO certificates VALUES (?,?,?,?,x'')", (name, number, facts, sealed))
        self._moved = True

    def sign(self, row: Row, signature: str) -> None:
        """Keeps the signature; an empty one takes it away."""
        sealed = b""
        if signature:
            sealed = self._vault.order_key(row.owner).seal(decoys.filled(signature.encode()), _place(row, "signature"))
        self._db.execute(
            "UPDATE certificates SET signature = ? WHERE row = ? AND number = ?", (sealed, *self._named(row))
        )
        self._moved = True

    def text(self, row: Row) -> tuple[str, str]:
        """The exact text and the signature. Raises ConfigurationError for what was changed or destroyed."""
        for text, signature in self._db.execute(
            "SELECT text, signature FROM certificates WHERE row = ? AND number = ?", self._named(row)
        ):
            try:
                box = self._vault.order_key(row.owner)
                opened = decoys.emptied(box.open(text, _place(row, "text")))
                signed = decoys.emptied(box.open(signature, _place(row, "signature"))) if signature else b""
                return opened.decode(), signed.decode()
            except SealError as error:
                raise ConfigurationError(f"{self._name}: {error}") from None
            except KeyDestroyedError:
                break
        raise ConfigurationError(f"{self._name}: a certification's key is destroyed")

    def remove(self, owner: str) -> None:
        """All of one order; done again it changes nothing."""
        with self._db:
            decoys.remove(self._db, TABLES, self._vault.name(PURPOSE, owner))
        self._moved = True

    def _named(self, row: Row) -> tuple[str, int]:
        return self._vault.name(PURPOSE, row.owner), row.number


def _is_decoy(name: str, key: bytes) -> bool:
    try:
        return decoys.is_decoy(name, key)
    except (ConfigurationError, ValueError):
        return False  # a name that was changed


def _place(row: Row, what: str) -> bytes:
    return f"{row.sha256} {what}".encode()


def _open(path: Path) -> apsw.Connection:
    try:
        if not path.exists():
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        db = connect(path)
        if not db.pragma("application_id"):
            db.pragma("journal_mode", "wal")
            with db:
                db.execute(SCHEMA)
                db.pragma("application_id", APPLICATION_ID)
                db.pragma("user_version", VERSION)
        db.pragma("synchronous", "full")
        decoys.even(db)
        if (db.pragma("application_id"), db.pragma("user_version")) != (APPLICATION_ID, VERSION):
            raise ConfigurationError(f"{path.name}: not certifications of this release")
    except (apsw.Error, OSError) as error:
        raise ConfigurationError(f"{path.name}: {error}") from error
    return db
