"""Unix sockets below a site's run/ folder, where the functions meet.

A site may lie deeper than the 108 octets that sun_path holds (unix(7)); names are therefore resolved through the
folder's descriptor. Modes are 0600: who may speak to a function is decided by the owner of the socket. Where a service
manager made the socket (config/systemd/*.socket), its owner and mode are the unit's.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from mediation.runtime import systemd

BACKLOG = 64  # who comes while a function is at work waits here; beyond, `connect` says so
NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
ROOM_PAUSE_S = 0.1


def owner_of(site: Path) -> tuple[int, int] | None:
    """The site's owner, who runs the administrator; None when this process is not root and cannot give things away."""
    if os.geteuid() != 0:
        return None
    found = site.stat()
    return found.st_uid, found.st_gid


@contextmanager
def _short_path(folder: Path, name: str) -> Iterator[str]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)


def listen(folder: Path, name: str, *, owner: tuple[int, int] | None = None) -> trio.SocketListener:
    """A listening stream socket DIR/name, replacing a stale one; `owner` (uid, gid) when it is not this process's."""
    if (handed := systemd.inherited(name)) is not None:
        return trio.SocketListener(trio.socket.from_stdlib_socket(socket.socket(fileno=handed)))
    folder.mkdir(mode=0o755, exist_ok=True)
    raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        raw.setblocking(False)
        (folder / name).unlink(missing_ok=True)
        with _short_path(folder, name) as path:
            raw.bind(path)
        (folder / name).chmod(0o600)
        if owner is not None:
            os.chown(folder / name, *owner)
        raw.listen(BACKLOG)
    except BaseException:
        raw.close()
        raise
    return trio.SocketListener(trio.socket.from_stdlib_socket(raw))


async def accept(listener: trio.SocketListener) -> trio.SocketStream:
    """The next connection. Where there is no descriptor for it (accept(2)) it waits, and what is connected goes on."""
    while True:
        try:
            return await listener.accept()
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            await trio.sleep(ROOM_PAUSE_S)


async def connect(folder: Path, name: str) -> trio.SocketStream:
    """Connects to DIR/name. Raises OSError when nobody listens there, BlockingIOError when it has no room for one more.

    connect(2) of a Unix socket waits for room or says EAGAIN, and never goes on by itself; trio takes EAGAIN for the
    EINPROGRESS of other families, and would give a socket that is connected to nobody.
    """
    connection = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short_path(folder, name) as path:
            await connection.connect(path)
        try:
            connection.getpeername()
        except OSError as error:
            raise BlockingIOError(errno.EAGAIN, "no room for another connection") from error
    except BaseException:
        connection.close()
        raise
    # A stream of SocketStream sets TCP options only on TCP sockets, so an AF_UNIX one is fine here.
    return trio.SocketStream(connection)
