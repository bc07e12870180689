"""A small HTTP/1.1 client (RFC 9112) over trio: one kept connection to one address, plain or TLS 1.3.

Answers for bounded, timed requests to an address that the policy or the configuration names, and to no other:
redirections are answers like any other. What comes back is hostile until its signatures are verified by the caller.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import h11
import msgspec
import trio

from mediation.core.errors import ConfigurationError, RemoteProtocolError
from mediation.runtime import outgoing

MAX_HEADER_OCTETS = 16_384
RECEIVE_OCTETS = 1 << 16

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """A URL taken apart; `authority` is the Host header."""

    host: str
    port: int
    authority: str
    tls: bool
    path: str


def address_of(url: str) -> Address:
    """http://HOST[:PORT][/PATH], https likewise; nothing else. Raises ConfigurationError."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"url: {error}") from error
    more = parts.query or parts.fragment or parts.username or parts.password
    plain = url.isascii() and not any(c <= " " or c == "\x7f" for c in url)
    if parts.scheme not in ("http", "https") or not parts.hostname or more or not plain or port == 0:
        raise ConfigurationError("url: http://HOST[:PORT][/PATH], https likewise")
    tls = parts.scheme == "https"
    return Address(
        host=parts.hostname, port=port or (443 if tls else 80), authority=parts.netloc, tls=tls,
        path=parts.path,
    )  # fmt: skip


def tls_context(authorities: Path | None) -> ssl.SSLContext:
    """TLS 1.3 with the names of certificates checked, against `authorities` or the system's. Raises
    ConfigurationError."""
    try:
        made = ssl.create_default_context(cafile=str(authorities) if authorities else None)
    except OSError as error:
        raise ConfigurationError(f"tls: {authorities.name if authorities else 'authorities'}: not usable") from error
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    return made


class Client:
    """Requests to one host and port, one after the other. Not for several tasks at a time."""

    def __init__(self, host: str, port: int, authority: str, tls: ssl.SSLContext | None, limit: int) -> None:
        """`authority` is the Host header; `limit` the most octets of a body that comes back."""
        self._host = host
        self._port = port
        self._authority = authority
        self._tls = tls
        self._limit = limit
        self._stream: Stream | None = None
        self._http = h11.Connection(h11.CLIENT)

    async def request(self, method: str, path: str, body: bytes, content_type: str = "") -> tuple[int, bytes]:
        """Status and body. A kept connection that the other side has closed meanwhile is opened again, once.

        Raises OSError or trio.BrokenResourceError for a network that fails, RemoteProtocolError for an answer that is
        not HTTP or too long. The caller bounds the time; when it runs out the connection is given up.
        """
        try:
            if self._stream is not None:
                try:
                    return await self._exchange(method, path, body, content_type)
                except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError):
                    await self.close()
            await self._open()
            return await self._exchange(method, path, body, content_type)
        except h11.RemoteProtocolError as error:
            await self.close()
            raise RemoteProtocolError(f"http: {error}") from error
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await trio.aclose_forcefully(stream)

    async def _open(self) -> None:
        stream: Stream = trio.SocketStream(await outgoing.connect(self._host, self._port))
        if self._tls is not None:
            assert isinstance(stream, trio.SocketStream)
            stream = trio.SSLStream(stream, self._tls, server_hostname=self._host, https_compatible=True)
        self._stream = stream
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADER_OCTETS)

    async def _exchange(self, method: str, path: str, body: bytes, content_type: str) -> tuple[int, bytes]:
        assert self._stream is not None
        headers = [("Host", self._authority), ("Content-Length", str(len(body)))]
        if content_type:
            headers.append(("Content-Type", content_type))
        http = self._http
        octets = http.send(h11.Request(method=method, target=path, headers=headers)) or b""
        octets += (http.send(h11.Data(data=body)) or b"") + (http.send(h11.EndOfMessage()) or b"")
        await self._stream.send_all(octets)
        status = 0
        received = bytearray()
        while True:
            event = await self._event()
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                received += event.data
                if len(received) > self._limit:
                    raise RemoteProtocolError("http: the answer is too long")
            elif isinstance(event, h11.EndOfMessage):
                break
            elif not isinstance(event, h11.InformationalResponse):
                raise h11.RemoteProtocolError("the connection ended")
        if http.our_state is h11.DONE and http.their_state is h11.DONE:
            http.start_next_cycle()
        else:
            await self.close()
        return status, bytes(received)

    async def _event(self) -> Any:
        assert self._stream is not None
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            self._http.receive_data(bytes(await self._stream.receive_some(RECEIVE_OCTETS)))
