"""The network namespaces that can be looked into: the own one, the named ones, and those that processes live in.

Entering another needs CAP_SYS_ADMIN (setns(2)), seeing where a process lives CAP_SYS_PTRACE (proc(5)). What is known to
be there and may not be entered is named, so that nobody takes it for looked at. The calling thread is back
in its own namespace afterwards, or the process ends: a look in the wrong place would account for nothing.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

NAMED: Final = Path("/run/netns")  # ip-netns(8)
OWN: Final = Path("/proc/thread-self/ns/net")
PROCESSES: Final = Path("/proc")
FIRST: Final = "1"
CLONE_NEWNET: Final = 0x40000000  # linux/sched.h
MAX_NAMESPACES: Final = 1024

_libc = ctypes.CDLL(None, use_errno=True)


class Namespace(NamedTuple):
    """`label` as in a Sight; `path` opens it; None for the own one."""

    label: str
    path: Path | None


class Survey(NamedTuple):
    found: list[Namespace]
    unseen: list[str]


def survey() -> Survey:
    """All that are known here, the own one first. Never raises: what cannot be read is in `unseen`."""
    own = OWN.stat().st_ino
    found = [Namespace("", None)]
    known = {own}
    unseen: list[str] = []
    try:
        named = sorted(NAMED.iterdir())
    except OSError:
        named = []
    for path in named:
        try:
            inode = path.stat().st_ino
        except OSError:
            unseen.append(f"namespace {path.name}")
            continue
        if inode not in known:
            known.add(inode)
            found.append(Namespace(path.name, path))
    # With hidepid= (ProtectProc=invisible) others' processes are not refused but missing, and the first one too, which
    # every PID namespace has.
    hidden = int(not (PROCESSES / FIRST).exists())
    for process in PROCESSES.iterdir():
        if not process.name.isdecimal():
            continue
        path = process / "ns" / "net"
        try:
            inode = path.stat().st_ino
        except PermissionError:
            hidden += 1
            continue
        except OSError:
            continue  # it has ended
        if inode not in known:
            known.add(inode)
            found.append(Namespace(f"net:[{inode}]", path))
    if hidden:
        unseen.append("namespaces of other users' processes")
    if len(found) > MAX_NAMESPACES:
        unseen.append(f"{len(found) - MAX_NAMESPACES} namespaces beyond {MAX_NAMESPACES}")
    return Survey(found[:MAX_NAMESPACES], unseen)


@contextmanager
def inside(namespace: Namespace) -> Iterator[None]:
    """This thread in the namespace, and back. Raises OSError when it may not be entered."""
    if namespace.path is None:
        yield
        return
    home = os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(namespace.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            try:
                _enter(home)
            except OSError:
                os._exit(1)
    finally:
        os.close(home)


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
