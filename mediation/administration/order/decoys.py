"""Rows of no order, so that the administrator's files do not tell how many orders there are (SEC-19).

Answers for the number of rows: a class (runtime/cover.py), the least that holds those of orders. A decoy has the form
of an order that is there, chosen by chance: as many acts, extensions and revocations, sealed texts of the same lengths,
numbers in its nonces that are as far. Its octets are random; by its name alone it is known for what it is. When orders
change, decoys are made anew in their likeness, so many at a time. Knows no order and opens nothing.

Trust: who adds or removes decoys changes nothing but what a thief sees. A row that was changed into a decoy's place
would need the vault's key; one that was removed is an order that is forgotten (store.py).
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import secrets
from collections.abc import Mapping, Sequence
from typing import Final

import apsw

from mediation.core.errors import ConfigurationError
from mediation.runtime import cover as hiding

AT_ONCE: Final = 256  # decoys made in one turn, some 50 µs each: whoever waits, waits 15 ms
CHUNK_OCTETS: Final = 1 << 20  # of a file. Ours
BUSY_MS: Final = 5_000
PREFIX_OCTETS, NONCE_OCTETS = 12, 24  # of sealed octets (core/ledger/sealing.py)
FILL_OCTETS, FIELD_OCTETS = 256, 64  # texts are filled up to multiples of the first, words to the second. Ours

NAME: Final = ""  # of the row, in a usual form


class Sealed(int):
    """A cell of so many sealed octets."""


Cell = str | int | bytes
Usual = Mapping[str, Sequence[tuple[Cell, ...]]]
Form = dict[str, list[tuple[Cell, ...]]]


def is_decoy(row: str, key: bytes) -> bool:
    """Whether no order has this name. `key` makes names (`Vault.name_key`). Raises ConfigurationError for a name that
    was changed into none."""
    try:
        return hiding.is_made_up(bytes.fromhex(row), key)
    except ValueError:
        raise ConfigurationError("a row's name was changed") from None


def filled(text: bytes) -> bytes:
    """The text, a mark and zeros (ISO/IEC 7816-4 padding): short ones of one length, long ones of few."""
    octets = text + b"\x80"
    short = len(octets) <= FIELD_OCTETS
    return octets.ljust(FIELD_OCTETS if short else -(-len(octets) // FILL_OCTETS) * FILL_OCTETS, b"\0")


def emptied(octets: bytes) -> bytes:
    """What `filled` was given."""
    return octets.rstrip(b"\0")[:-1]


def cover(db: apsw.Connection, key: bytes, tables: Sequence[str], usual: Usual, *, anew: bool) -> bool:
    """One turn, inside the caller's transaction: decoys leave, or are made in the likeness of orders, `anew` also those
    that are there. False when there is more to do.

    Each of the `tables` has a column `row`, a primary key of the first; the others refer to it. `usual` is the form of
    a decoy where there is no order yet: of each table's rows the cells, instead of sealed octets their length.
    """
    orders: list[str] = []
    others: list[str] = []
    for (row,) in db.execute(f"SELECT DISTINCT row FROM {tables[0]}"):  # noqa: S608 - our names
        (others if is_decoy(row, key) else orders).append(row)
    others.sort(key=lambda _: os.urandom(8))
    target = hiding.wanted(len(orders)) - len(orders)
    keep = min(target, len(others))
    if anew and keep == target:
        keep = max(target - AT_ONCE, 0)  # the rest keep the likeness that they have
    for row in others[keep:]:
        remove(db, tables, row)
    make = min(target - keep, AT_ONCE)
    for _ in range(make):
        _add(db, _form(db, tables, secrets.choice(orders)) if orders else _made(usual), key)
    return keep + make == target


def remove(db: apsw.Connection, tables: Sequence[str], row: str) -> None:
    """All rows of this name."""
    for table in reversed(tables):
        db.execute(f"DELETE FROM {table} WHERE row = ?", (row,))  # noqa: S608 - our names


def even(db: apsw.Connection) -> None:
    """From now on the file has a size of whole CHUNK_OCTETS."""
    size = ctypes.c_int(CHUNK_OCTETS)
    db.file_control("main", apsw.SQLITE_FCNTL_CHUNK_SIZE, ctypes.addressof(size))


def settle(db: apsw.Connection) -> None:
    """The log of what was written goes into the file and is empty; not while somebody reads it."""
    db.set_busy_timeout(0)
    try:
        with contextlib.suppress(apsw.BusyError, apsw.LockedError):
            db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    finally:
        db.set_busy_timeout(BUSY_MS)


def _form(db: apsw.Connection, tables: Sequence[str], row: str) -> Form:
    found: Form = {}
    for table in tables:
        found[table] = list(db.execute(f"SELECT * FROM {table} WHERE row = ?", (row,)))  # noqa: S608 - our names
    return found


def _made(usual: Usual) -> Form:
    """As sealed one after the other by one box."""
    numbers = itertools.count()
    return {
        table: [
            tuple(
                next(numbers).to_bytes(NONCE_OCTETS, "big").ljust(cell, b"\0") if isinstance(cell, Sealed) else cell
                for cell in cells
            )
            for cells in rows
        ]
        for table, rows in usual.items()
    }


def _add(db: apsw.Connection, form: Form, key: bytes) -> None:
    names: dict[Cell, str] = {NAME: hiding.made_up(key).hex()}
    prefixes: dict[bytes, bytes] = {}
    for table, rows in form.items():
        for name, *rest in rows:
            names.setdefault(name, names[NAME])
            copy = [_like(cell, names, prefixes) for cell in (name, *rest)]
            db.execute(f"INSERT INTO {table} VALUES ({','.join('?' * len(copy))})", copy)  # noqa: S608 - our names


def _like(cell: Cell, names: dict[Cell, str], prefixes: dict[bytes, bytes]) -> Cell:
    """Chance in the form of a cell: its length, its nonce's number, and one prefix where the other has one."""
    match cell:
        case bytes() if cell:
            prefix = prefixes.setdefault(cell[:PREFIX_OCTETS], os.urandom(PREFIX_OCTETS))
            return prefix + cell[PREFIX_OCTETS:NONCE_OCTETS] + os.urandom(len(cell) - NONCE_OCTETS)
        case str():
            return names.get(cell) or os.urandom(hiding.NAME_OCTETS).hex()
    return cell
