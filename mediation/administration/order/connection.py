"""Opens one of the administrator's SQLite files, on a full disk too.

In WAL mode SQLite needs a file of shared memory beside the database, even to read. Where there is no room for it the
database is held exclusively, with that index in this process's memory: the administrator must start to keep stops
working. Until it starts again, nobody else reads the file then. Decides nothing of what stands in it.
"""

from __future__ import annotations

from pathlib import Path

import apsw

NO_ROOM = (apsw.IOError, apsw.FullError, apsw.CantOpenError)


def connect(path: Path, flags: int = apsw.SQLITE_OPEN_READWRITE) -> apsw.Connection:
    """The database, which must exist. Raises apsw.Error."""
    db = apsw.Connection(str(path), flags=flags)
    try:
        db.pragma("user_version")  # the first reading
    except NO_ROOM:
        db.close()
        db = apsw.Connection(str(path), flags=flags)
        db.pragma("locking_mode", "exclusive")
    return db
