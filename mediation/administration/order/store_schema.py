"""The tables of the administrator's store (store.py), and what an order looks like in them to who cannot open it."""

from __future__ import annotations

from mediation.administration.order import decoys

APPLICATION_ID = 0x6D656469
VERSION = 4  # 2: sealed; 3: extensions and call-backs; 4: names and places sealed too, decoys

SCHEMA = """
CREATE TABLE orders (
    row TEXT PRIMARY KEY, xid TEXT NOT NULL, place BLOB NOT NULL, terms BLOB NOT NULL, legal BLOB NOT NULL,
    carrier BLOB NOT NULL, not_after_s BLOB NOT NULL, state BLOB NOT NULL, owed INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE commands (
    row TEXT NOT NULL REFERENCES orders, sequence INTEGER NOT NULL, text BLOB NOT NULL, entered BLOB NOT NULL,
    PRIMARY KEY (row, sequence)
) STRICT, WITHOUT ROWID;
CREATE TABLE revocations (
    token TEXT PRIMARY KEY, row TEXT NOT NULL REFERENCES orders, withdrawn BLOB NOT NULL, text BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE extensions (
    row TEXT NOT NULL REFERENCES orders, number INTEGER NOT NULL, legal BLOB NOT NULL, approval BLOB NOT NULL,
    entered BLOB NOT NULL, PRIMARY KEY (row, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE call_backs (row TEXT PRIMARY KEY REFERENCES orders, text BLOB NOT NULL, entered BLOB NOT NULL)
STRICT, WITHOUT ROWID;
CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL, root TEXT NOT NULL) STRICT;
"""

TABLES = ("orders", "commands", "extensions", "call_backs", "revocations")
_WORD, _LEGAL, _TEXT, _ENTERED = map(decoys.Sealed, (104, 1064, 808, 552))
USUAL: decoys.Usual = {
    "orders": [(decoys.NAME, "xid", _WORD, _WORD, _LEGAL, _TEXT, _WORD, _WORD, 0)],
    "commands": [(decoys.NAME, 1, _TEXT, _ENTERED)],
}

# What stands in `entered` once the ledger has the entry is never empty.
ANY_PENDING = """
SELECT EXISTS (SELECT 1 FROM orders WHERE owed) OR EXISTS (SELECT 1 FROM commands WHERE entered = x'')
    OR EXISTS (SELECT 1 FROM extensions WHERE entered = x'') OR EXISTS (SELECT 1 FROM call_backs WHERE entered = x'')
"""
