"""The file of the access function's call journal: calls that are up go on when this process was killed.

Holds signalling of calls that matched an armed task (INVITE, ACK, PRACK, UPDATE, BYE and their answers, RFC 3261),
who sent it and for which XIDs. It is in memory and in the clear, because the match writes it in C, between two
frames, and a cipher there would cost more than the match. So it must never have a name on a disk: the parent
(`mediation run`) holds an anonymous file (memfd_create(2)) and hands its descriptor on, by $MEDIATION_CALLS_FD, to
each process that it starts; without one the file lies in the run folder if that is a tmpfs, as the units mount it
(noswap where the kernel can), and else in memory of this process alone, said in the log: then a kill of it forgets
the calls. Content, messages outside of calls and anything of a call that did not match are never in it. When a task
is armed again its calls are played back through the same match, silently: afterwards their dialogs, media flows and
handles stand as they did, so the other party's BYE, its digits and its content find their call.

Trust: none. Whoever may write here can at most make this process see calls of an order that is armed now, in its
window, at its access points, matched by the same rules as a packet; a file that is not whole, or of other access
points, is begun anew. An order that ended while the process was down is never armed, so nothing of it is played back,
and its octets go with the first tidying after its window. A stopped or expired task's go within a second.

The file's room is taken before the process seals itself (a full tmpfs would else be a SIGBUS later), and it is mapped:
no system call is made for it afterwards.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from mediation.access._calls import HEADER_OCTETS
from mediation.core.errors import ConfigurationError
from mediation.runtime import log

FILE: Final = "iap.calls"
MAGIC: Final = b"IAPCALL\x01"
FILE_OCTETS: Final = HEADER_OCTETS + (16 << 20)  # two halves of some 8,000 messages each. Ours
FD: Final = "MEDIATION_CALLS_FD"
IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})
SECRET_AT, SECRET_OCTETS = 40, 16
MATCHER_SECRET_OCTETS = 64


def anonymous() -> int:
    """A file without a name, for the parent to keep over the lives of its child. Raises OSError."""
    return os.memfd_create(FILE, os.MFD_CLOEXEC)


def _descriptor(folder: Path) -> int:
    if FD in os.environ:
        descriptor = int(os.environ.pop(FD))
        os.set_inheritable(descriptor, False)
    elif file_system(folder) in IN_MEMORY:
        descriptor = os.open(folder / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        os.fchmod(descriptor, 0o600)
    else:
        descriptor = anonymous()
        log.get("iap").warning("calls_not_kept", why="no descriptor was handed over and run/ is on a disk")
    return descriptor


def file_system(folder: Path) -> str:
    """The type of the file system that `folder` is on (proc_pid_mountinfo(5)); empty when the kernel does not tell."""
    device = folder.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if before.split()[2] == wanted:
            return after.split()[0]
    return ""


def open_calls(folder: Path, points: Iterable[Any]) -> tuple[mmap.mmap, bytes]:
    """The mapped file, and a secret for the matcher that gives calls the handles they had. Raises ConfigurationError.

    [openat(O_CREAT) | memfd_create] ftruncate fallocate mmap close
    """
    points = list(points)
    identity = hashlib.sha256(repr(points).encode()).digest()
    try:
        descriptor = _descriptor(folder)
        try:
            os.ftruncate(descriptor, FILE_OCTETS)
            os.posix_fallocate(descriptor, 0, FILE_OCTETS)
            mapping = mmap.mmap(descriptor, FILE_OCTETS, mmap.MAP_SHARED | mmap.MAP_POPULATE)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"iap: {FILE}: {error}") from error
    if mapping[:SECRET_AT] != MAGIC + identity:
        mapping[:] = bytes(FILE_OCTETS)
        mapping[SECRET_AT : SECRET_AT + SECRET_OCTETS] = os.urandom(SECRET_OCTETS)
        mapping[:SECRET_AT] = MAGIC + identity
    handles = mapping[SECRET_AT : SECRET_AT + SECRET_OCTETS]
    around = os.urandom(MATCHER_SECRET_OCTETS - SECRET_OCTETS)
    return mapping, around[:32] + handles + around[32:]
