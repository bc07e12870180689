"""Readiness, told the way systemd's Type=notify services tell it (sd_notify(3)).

`mediation run` listens on the same protocol, so a function does not know who started it. The socket is opened at
construction, because the access process can open none once it is confined.
"""

from __future__ import annotations

import os
import socket


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
