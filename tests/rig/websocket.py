"""A SIP client over WebSocket (RFC 7118), as a browser is one: it talks to the SBC and has no port of its own.

It can make one call and end it. What it sends goes through the SBC like any phone's, so that one side of the call is
WebSocket and the other UDP.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import struct
from typing import Self

from tests.rig.carriers import WS_GUID
from tests.rig.kamailio import DOMAIN, WS_PORT
from tests.rig.ladder import sdp
from tests.rig.wire import stream_socket

LIMIT_S = 30.0
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10  # RFC 6455 §5.2
OWN_HOST = "df7jal23ls0d.invalid"  # RFC 7118 §5: a client has no address that it could name


class WebSocketPhone:
    """One connection and its call. Use as a context manager. OSError, TimeoutError, AssertionError."""

    def __init__(self, namespace: str, address: str, sbc: str, user: str) -> None:
        self._socket, self._sbc, self._address = stream_socket(namespace, address), sbc, address
        self._socket.settimeout(LIMIT_S)
        self._socket.bind((address, 0))
        self._kept, self._user, self._sequence = b"", user, 0
        self._call_id = f"ws-{os.urandom(8).hex()}"
        self._to, self._target, self._route = "", "", list[str]()

    def __enter__(self) -> Self:
        key = base64.b64encode(os.urandom(16))
        self._socket.connect((self._sbc, WS_PORT))
        self._socket.sendall(
            b"GET / HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: %s\r\n"
            b"Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 13\r\n\r\n" % (DOMAIN.encode(), key)
        )
        while b"\r\n\r\n" not in self._kept:
            self._more()
        answer, _, self._kept = self._kept.partition(b"\r\n\r\n")
        proof = base64.b64encode(hashlib.sha1(key + WS_GUID, usedforsecurity=False).digest())
        assert b" 101 " in answer, answer
        assert proof in answer, answer
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _more(self) -> None:
        octets = self._socket.recv(65_536)
        assert octets, "the SBC closed the WebSocket"
        self._kept += octets

    def _take(self, size: int) -> bytes:
        while len(self._kept) < size:
            self._more()
        taken, self._kept = self._kept[:size], self._kept[size:]
        return taken

    def _write(self, payload: bytes, kind: int = TEXT) -> None:
        size, mask = len(payload), os.urandom(4)
        head = (
            struct.pack("!BB", 0x80 | kind, 0x80 | size) if size < 126 else struct.pack("!BBH", 0x80 | kind, 254, size)
        )
        self._socket.sendall(head + mask + bytes(octet ^ mask[at & 3] for at, octet in enumerate(payload)))

    def _read(self) -> str:
        """The next SIP message; pings are answered."""
        while True:
            first, size = self._take(2)
            if size == 126:
                (size,) = struct.unpack("!H", self._take(2))
            payload = self._take(size)
            if first & 0x0F == PING:
                self._write(payload, PONG)
            elif payload.strip():  # RFC 7118 §6: blank frames keep the connection
                return payload.decode()

    def _request(self, method: str, target: str, *, body: str = "", new: bool = True) -> None:
        self._sequence += new
        kind = ["Content-Type: application/sdp"] if body else []
        self._write("\r\n".join([
            f"{method} {target} SIP/2.0",
            f"Via: SIP/2.0/WS {OWN_HOST};branch=z9hG4bK{os.urandom(6).hex()}",
            *(f"Route: {each}" for each in self._route),
            "Max-Forwards: 70",
            f"From: <sip:{self._user}@{DOMAIN}>;tag=ws",
            f"To: {self._to}",
            f"Call-ID: {self._call_id}",
            f"CSeq: {self._sequence} {method}",
            f"Contact: <sip:{self._user}@{OWN_HOST};transport=ws>",
            *kind,
            f"Content-Length: {len(body.encode())}", "", body,
        ]).encode())  # fmt: skip

    def until(self, status: int, method: str) -> str:
        """The response with this status; an error status of the method ends the wait. Raises AssertionError."""
        while True:
            message = self._read()
            found = re.match(r"SIP/2\.0 (\d{3})", message)
            if found is None or f" {method}\r\n" not in message:
                continue
            came = int(found.group(1))
            assert came <= max(status, 299), f"{method} was answered with {came}"
            if came == status:
                return message

    def invite(self, number: str) -> None:
        self._to = f"<sip:{number}@{DOMAIN}>"
        self._request("INVITE", f"sip:{number}@{DOMAIN}", body=sdp(self._address))

    def acknowledge(self, answer: str) -> None:
        """ACK of the 200, and the dialog's route from it (RFC 3261 §12.1.2)."""
        lines = answer.split("\r\n")
        self._to = next(line[4:] for line in lines if line.startswith("To: "))
        self._target = next(re.sub(r".*<|>.*", "", line) for line in lines if line.startswith("Contact:"))
        routes = [each for line in lines if line.startswith("Record-Route: ") for each in line[14:].split(",")]
        self._route = [each.strip() for each in reversed(routes)]
        self._request("ACK", self._target, new=False)

    def bye(self) -> None:
        self._request("BYE", self._target)
        self.until(200, "BYE")
