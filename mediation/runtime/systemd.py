"""What the service manager and a function tell each other: readiness (sd_notify(3)) and sockets (sd_listen_fds(3)).

`mediation run` listens on the same protocol, so a function does not know who started it. The socket is opened at
construction, because the access process can open none once it is confined.
"""

from __future__ import annotations

import os
import socket

LISTEN_FDS_START = 3


def inherited(name: str) -> int | None:
    """The descriptor of the listening socket that the service manager made under this name; None without one."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    if name not in names or names.index(name) >= int(os.environ.get("LISTEN_FDS", "0")):
        return None
    descriptor = LISTEN_FDS_START + names.index(name)
    os.set_inheritable(descriptor, False)
    return descriptor


class Notifier:
    """Speaks to $NOTIFY_SOCKET; silent where there is none."""

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        self._socket: socket.socket | None = None
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.connect("\0" + address[1:] if address.startswith("@") else address)
            self._socket.setblocking(False)

    def ready(self) -> None:
        """The function serves now."""
        self._send(b"READY=1")

    def status(self, text: str) -> None:
        """One line for the operator; never a target."""
        self._send(b"STATUS=" + text.encode())

    def _send(self, octets: bytes) -> None:
        if self._socket is not None:
            # A full or closed notification socket must not stop an interception function.
            try:
                self._socket.send(octets)
            except OSError:
                self._socket.close()
                self._socket = None
