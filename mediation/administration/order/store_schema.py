"""The tables of the administrator's store (store.py), and what an order looks like in them to who cannot open it."""

from __future__ import annotations

from mediation.administration.order import decoys

APPLICATION_ID = 0x6D656469
VERSION = 5  # 2: sealed; 3: extensions and call-backs; 4: one seal for a filing, places in the ledger alone; 5: decoys

SCHEMA = """
CREATE TABLE orders (row TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE states (row TEXT PRIMARY KEY REFERENCES orders, state BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE commands (
    row TEXT NOT NULL REFERENCES orders, sequence INTEGER NOT NULL, text BLOB NOT NULL, PRIMARY KEY (row, sequence)
) STRICT, WITHOUT ROWID;
CREATE TABLE extensions (
    row TEXT NOT NULL REFERENCES orders, number INTEGER NOT NULL, legal BLOB NOT NULL, approval BLOB NOT NULL,
    PRIMARY KEY (row, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE revocations (
    row TEXT NOT NULL REFERENCES orders, token TEXT NOT NULL, withdrawn BLOB NOT NULL, text BLOB NOT NULL,
    PRIMARY KEY (row, token)
) STRICT, WITHOUT ROWID;
CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL, root TEXT NOT NULL) STRICT;
"""

# Withdrawals of agencies: of no order. Made where it is missing, so that a store of before it is one of this release.
WITHDRAWALS = """
CREATE TABLE IF NOT EXISTS withdrawals (row TEXT PRIMARY KEY, text BLOB NOT NULL) STRICT, WITHOUT ROWID;
"""

TABLES = ("orders", "states", "commands", "extensions", "revocations")
USUAL: decoys.Usual = {"orders": [(decoys.NAME, decoys.Sealed(2600))]}
