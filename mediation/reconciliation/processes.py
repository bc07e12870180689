"""Which processes hold a socket: by the inode behind their descriptors (proc(5)).

Another user's descriptors are shown only with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, which could also read that
process's memory. The unit therefore goes without; a site that wants its expected services told by name and executable
grants them (docs/OPERATING.md). Without, `commands` stay empty, and a rule that asks for a command fits nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

PROCESSES: Final = Path("/proc")
MAX_COMMAND: Final = 32
MAX_HOLDERS: Final = 16  # of one socket that are named
MAX_EXECUTABLE_OCTETS: Final = 256 << 20

_hashed: dict[tuple[int, int, int, int], str] = {}  # of executables, by device, inode, size and time of change


def holders(inodes: Collection[int]) -> dict[int, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Command names and SHA-256 of executables for each inode of which a holder may be seen; each name once, sorted."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[int, set[tuple[str, str]]] = {}
    if not wanted:
        return {}
    for process in PROCESSES.iterdir():
        if not process.name.isdecimal():
            continue
        try:
            descriptors = os.listdir(process / "fd")
        except OSError:
            continue  # ended, or not ours to see
        held: set[int] = set()
        for name in descriptors:
            try:
                inode = wanted.get(os.readlink(process / "fd" / name))
            except OSError:
                continue
            if inode is not None:
                held.add(inode)
        if held:
            who = (_command(process), _executable(process))
            for inode in held:
                found.setdefault(inode, set()).add(who)
    return {
        inode: (
            tuple(sorted({command for command, _ in who if command})[:MAX_HOLDERS]),
            tuple(sorted({sha256 for _, sha256 in who if sha256})[:MAX_HOLDERS]),
        )
        for inode, who in found.items()
    }


def _command(process: Path) -> str:
    try:
        word = (process / "comm").read_bytes().strip()
    except OSError:
        return ""
    return word.decode("ascii", "backslashreplace")[:MAX_COMMAND]


def _executable(process: Path) -> str:
    """Of the file that is running, whatever lies under its name now. "" when it cannot be read."""
    try:
        with (process / "exe").open("rb") as file:
            status = os.fstat(file.fileno())
            key = (status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns)
            if key not in _hashed:
                if status.st_size > MAX_EXECUTABLE_OCTETS:
                    return ""
                _hashed[key] = hashlib.file_digest(file, "sha256").hexdigest()
            return _hashed[key]
    except OSError:
        return ""
