"""The witness as an HTTP server (C2SP tlog-witness, HTTP/1.1 by RFC 9112): add-checkpoint, and the latest heads.

One request is judged at a time, and its update is on the disk before its answer leaves, also when the asker goes away
in between. Nothing is known of an asker but his address; what he can take is bounded: connections, requests a second,
octets, time. It opens no connection, and listens at the one address it was told.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h11
import trio

from mediation.core.errors import ConfigurationError
from mediation.core.ledger import note
from mediation.core.ledger.witness import ADD_CHECKPOINT, MAX_REQUEST_OCTETS, TEXT, Answer, Witness
from mediation.runtime import log
from mediation.witness import folder

# All ours. A log asks a few times a second over one connection, and a site has one log.
MAX_CONNECTIONS, MAX_CONNECTIONS_EACH = 64, 8
REQUESTS_A_SECOND, BURST = 50.0, 200.0  # of one address
MAX_ADDRESSES = 1_024  # whose rates are remembered; the longest silent one is forgotten
MAX_HEADER_OCTETS = 8_192
IDLE_S = 60.0  # between requests, headers included
REQUEST_S = 15.0  # from the headers to the end of the answer
RECEIVE_OCTETS = 1 << 16
REPORT_S = 3_600.0

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class Rates:
    """A bucket of tokens for each address."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, when

    def take(self, address: str, now: float) -> bool:
        """Whether `address` may make a request at `now` (monotonic seconds)."""
        tokens, at = self._buckets.pop(address, (BURST, now))
        tokens = min(BURST, tokens + (now - at) * REQUESTS_A_SECOND)
        allowed = tokens >= 1.0
        self._buckets[address] = (tokens - 1.0 if allowed else tokens, now)
        if len(self._buckets) > MAX_ADDRESSES:
            self._buckets.popitem(last=False)
        return allowed


class Server:
    """Serves one folder. `counters` count every answer by its status, and whatever was turned away."""

    def __init__(self, path: Path, witness: Witness, now_s: Callable[[], int]) -> None:
        self._path = path
        self._witness = witness
        self._now_s = now_s
        self._one_at_a_time = trio.Lock()
        self._connections: Counter[str] = Counter()
        self._rates = Rates()
        self._log = log.get("witness")
        self.counters: Counter[str] = Counter()

    async def add_checkpoint(self, octets: bytes) -> Answer:
        """Judges a request; its answer is true on the disk when this returns."""
        answer = Answer(status=503, body="cannot remember\n")
        async with self._one_at_a_time:
            # Once begun it is finished, whoever goes away: state on the disk and in memory never differ.
            with trio.CancelScope(shield=True):
                try:
                    answer = await self._judge(octets)
                except OSError as error:
                    self.counters["disk_failed"] += 1
                    self._log.error("disk_failed", error=error.strerror)
        return answer

    async def _judge(self, octets: bytes) -> Answer:
        now_s = self._now_s()
        answer = self._witness.add_checkpoint(octets, now_s)
        if answer.bad is not None:
            kept = await trio.to_thread.run_sync(folder.keep_evidence, self._path, answer, now_s)
            self.counters["evidence" if kept else "evidence_full"] += 1
            head = note.parse_checkpoint(note.split(answer.evidence[1])[0])
            self._log.error("bad_log", bad=answer.bad, origin=head.origin, size=head.size)
        if answer.update is not None:
            await trio.to_thread.run_sync(folder.keep, self._path, answer.update)
            self._witness.commit(answer.update)
        return answer

    async def connection(self, stream: trio.SocketStream, tls: ssl.SSLContext | None) -> None:
        """Serves one connection to its end. Raises nothing for what the other side does."""
        try:
            address = str(stream.socket.getpeername()[0])
        except OSError:
            address = ""  # gone before it was served; the reading below finds out
        if self._connections.total() >= MAX_CONNECTIONS or self._connections[address] >= MAX_CONNECTIONS_EACH:
            self.counters["connections_refused"] += 1
            await trio.aclose_forcefully(stream)
            return
        self._connections[address] += 1
        served: Stream = stream
        try:
            if tls is not None:
                served = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
                with trio.fail_after(REQUEST_S):
                    await served.do_handshake()
            await self._requests(served, address)
        except (trio.BrokenResourceError, trio.TooSlowError, h11.RemoteProtocolError, OSError):
            self.counters["connections_broken"] += 1
        finally:
            self._connections[address] -= 1
            if not self._connections[address]:
                del self._connections[address]
            await trio.aclose_forcefully(served)

    async def _requests(self, stream: Stream, address: str) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADER_OCTETS)
        while True:
            with trio.fail_after(IDLE_S):
                try:
                    request = await _event(http, stream)
                except h11.RemoteProtocolError as error:
                    await self._send(http, stream, Answer(status=error.error_status_hint), last=True)
                    raise
            if not isinstance(request, h11.Request):
                return  # the other side has gone
            with trio.fail_after(REQUEST_S):
                allowed = self._rates.take(address, trio.current_time())
                answer = await self._answer(http, stream, request) if allowed else Answer(status=429)
                whole = http.their_state is h11.DONE
                await self._send(http, stream, answer, last=not whole, head=request.method == b"HEAD")
            if http.our_state is not h11.DONE or not whole:
                return
            http.start_next_cycle()

    async def _answer(self, http: h11.Connection, stream: Stream, request: h11.Request) -> Answer:
        path = request.target.decode("ascii", "replace")
        if request.method not in (b"GET", b"POST"):
            return Answer(status=405)
        body = await self._body(http, stream)
        if body is None:
            return Answer(status=413)
        if request.method == b"POST":
            return await self.add_checkpoint(body) if path == ADD_CHECKPOINT else Answer(status=404)
        return self._witness.monitor(path)

    async def _body(self, http: h11.Connection, stream: Stream) -> bytes | None:
        """The whole body, or None when it is too long."""
        if http.they_are_waiting_for_100_continue:
            go_on = http.send(h11.InformationalResponse(status_code=100, headers=[]))
            await stream.send_all(go_on or b"")
        octets = bytearray()
        while True:
            event = await _event(http, stream)
            if isinstance(event, h11.EndOfMessage):
                return bytes(octets)
            assert isinstance(event, h11.Data)
            octets += event.data
            if len(octets) > MAX_REQUEST_OCTETS:
                return None

    async def _send(
        self, http: h11.Connection, stream: Stream, answer: Answer, *, last: bool, head: bool = False
    ) -> None:
        self.counters[f"answers_{answer.status}"] += 1
        if http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = answer.body.encode()
        headers = [("Content-Type", answer.content_type or TEXT), ("Content-Length", str(len(body)))]
        if last:
            headers.append(("Connection", "close"))
        octets = http.send(h11.Response(status_code=answer.status, headers=headers, reason=b"")) or b""
        octets += (http.send(h11.Data(data=b"" if head else body)) or b"") + (http.send(h11.EndOfMessage()) or b"")
        await stream.send_all(octets)


async def _event(http: h11.Connection, stream: Stream) -> Any:
    while True:
        event = http.next_event()
        if event is not h11.NEED_DATA:
            return event
        http.receive_data(bytes(await stream.receive_some(RECEIVE_OCTETS)))


def address(text: str) -> tuple[str, int]:
    """HOST:PORT, [HOST]:PORT for IPv6: one address, not a name and not all. Raises ConfigurationError."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    try:
        unspecified = ipaddress.ip_address(host).is_unspecified
        number = int(port) if port.isascii() and port.isdigit() else -1
    except ValueError as error:
        raise ConfigurationError("listen: an address and a port, like 192.0.2.7:8443") from error
    if unspecified or not 0 <= number < 1 << 16:
        raise ConfigurationError("listen: one address, not all, and a port")
    return host, number


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.3 and nothing less. Raises ConfigurationError."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        made.load_cert_chain(certificate, key)
    except OSError as error:
        raise ConfigurationError(f"tls: {certificate.name}: {error.strerror or 'not usable'}") from error
    return made


async def run(
    server: Server, host: str, port: int, tls: ssl.SSLContext | None, ready: Callable[[str, int], None]
) -> None:
    """Serves until it is cancelled. `ready` is told the address. Raises ConfigurationError when it cannot listen."""
    try:
        listeners = await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        raise ConfigurationError(f"listen: {error.strerror or error}") from error
    bound = listeners[0].socket.getsockname()
    ready(str(bound[0]), int(bound[1]))
    reporter = log.get("witness")

    async def report() -> None:
        while True:
            await trio.sleep(REPORT_S)
            reporter.info("counters", **server.counters)

    async def serve(stream: trio.SocketStream) -> None:
        await server.connection(stream, tls)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(report)
        await trio.serve_listeners(serve, listeners, handler_nursery=nursery)
