"""An agency's own receiver, from docs/COLLECTION.md and the published ASN.1 alone: the standard library and asn1tools.

It imports nothing of this project. `Receiver` serves one connection after the other, in a thread of its own.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from pathlib import Path
from typing import Any

import asn1tools

HELLO, WELCOME, DATA, ACK, LOSS, EPOCH, KEEPALIVE, KEEPALIVE_ACK, CLOSE = range(1, 10)
PCESP = b"\x30"


def decoder(folder: Path) -> Any:
    """A function from the octets of one message to its name and members."""
    t1678, pcesp = (asn1tools.compile_files(str(folder / f"{name}.asn"), "ber") for name in ("t1678", "pcesp"))

    def decode(octets: bytes) -> tuple[str, dict[str, Any]]:
        if octets[:1] == PCESP:
            return pcesp.decode("CdcPdu", octets)["message"]  # type: ignore[no-any-return]
        form, inner = t1678.decode("LAESProtocol", octets)
        return inner["laesMessage"] if form == "enhancedProtocol" else inner  # type: ignore[no-any-return]

    return decode


class Receiver:
    """`got` are (epoch, number, octets) as they came, `lost` (first, last, reason); `expected` is what WELCOME asks
    for: an epoch and a number, None for HELLO's own."""

    def __init__(self, folder: Path, name: str = "server") -> None:
        self.got: list[tuple[int, int, bytes]] = []
        self.lost: list[tuple[int, int, int]] = []
        self.seen: list[int] = []
        self.expected: tuple[int, int] | None = None
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_3
        self._tls.verify_mode = ssl.CERT_REQUIRED
        self._tls.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
        self._tls.load_verify_locations(folder / "ca.pem")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._connection: ssl.SSLSocket | None = None
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()
        self.hang_up()

    def hang_up(self) -> None:
        """The connection ends in mid-stream."""
        if self._connection is not None:
            with contextlib.suppress(OSError):  # the other end was first
                self._connection.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        while True:
            try:
                self._connection = self._tls.wrap_socket(self._listener.accept()[0], server_side=True)
                self._receive(self._connection)
            except EOFError:
                continue
            except OSError:  # ssl.SSLError is one
                if self._listener.fileno() < 0:
                    return

    def _receive(self, one: ssl.SSLSocket) -> None:
        epoch = number = 0
        while True:
            length, kind = struct.unpack("!IB", _exactly(one, 5))
            body = _exactly(one, length - 1)
            self.seen.append(kind)
            if kind == HELLO:
                _, epoch, number = struct.unpack_from("!HQQ", body)
                if self.expected is not None and self.expected[0] >= epoch:
                    epoch, number = self.expected
                one.sendall(_frame(WELCOME, struct.pack("!HQQ", 1, epoch, number)))
                continue
            if kind == EPOCH:
                epoch, number = struct.unpack("!QQ", body)
            elif kind == KEEPALIVE:
                one.sendall(_frame(KEEPALIVE_ACK))
            elif kind == DATA:
                self.got.append((epoch, struct.unpack_from("!Q", body)[0], body[21:]))
                number = self.got[-1][1] + 1
            elif kind == LOSS:
                first, last, _, reason = struct.unpack("!QQQB", body)
                self.lost.append((first, last, reason))
                number = last + 1
            self.expected = epoch, number
            if kind in (DATA, LOSS):
                one.sendall(_frame(ACK, struct.pack("!QQ", epoch, number)))


def _frame(kind: int, body: bytes = b"") -> bytes:
    return struct.pack("!IB", 1 + len(body), kind) + body


def _exactly(one: ssl.SSLSocket, count: int) -> bytes:
    octets = b""
    while len(octets) < count:
        if not (more := one.recv(count - len(octets))):
            raise EOFError
        octets += more
    return octets
