"""One destination of content: CC-APDUs over a mutual-TLS 1.3 connection of their own, or PacketCable datagrams in UDP.

The far side is the one that the signed order names, with the certificate that the order names (SEC-12, SEC-28); UDP has
no certificate, which is why an order has to ask for that form by name. Content is worth something now or never: what
cannot be sent is dropped within a bound, counted, and told of on the call data channel; it is never stored.
What the far side says on a content connection ends it.

A link begins neither up nor down: the first connection, or its failure, is the first thing that anybody is told.
"""

from __future__ import annotations

import enum
import errno
import hashlib
import hmac
import secrets
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import trio

from mediation.core.case import ContentDestination, Destination
from mediation.core.errors import MediationError, RemoteProtocolError
from mediation.delivery._content import Queue
from mediation.runtime import log, network
from mediation.runtime.tls import Channel

QUEUE_OCTETS: Final = 32 << 20  # in all: five seconds of 20,000 packets a second
CHANNEL_OCTETS: Final = 256 << 10  # of one call: ten seconds of G.711 in both directions
CHUNK_OCTETS: Final = 16 << 10  # one TLS record (RFC 8446 section 5.1)
TURN_CHUNKS: Final = 8  # then everything else has its turn
CONNECT_LIMIT_S: Final = 10.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0
JITTER = secrets.SystemRandom()
IP_MTU_DISCOVER, IP_PMTUDISC_DONT = 10, 0  # linux/in.h; the socket module has neither
SEND_BUFFER_OCTETS: Final = 1 << 20  # of a UDP socket
RECOVERED_S: Final = 2.0  # so long without a refusal, and a UDP destination is there again


class ContentState(enum.StrEnum):
    CONNECTING = "connecting"
    UP = "up"
    DOWN = "down"
    REFUSED = "refused"  # what answered is not the far side of the order


class ContentLinkCounters(msgspec.Struct):
    connections: int = 0
    failed_connections: int = 0
    refused_certificates: int = 0
    tls_failures: int = 0
    protocol_errors: int = 0  # the far side said something
    resets: int = 0  # connections ended because an order ended in the middle of a packet
    unreachable: int = 0  # datagrams that the network or the far side refused
    oversize: int = 0  # packets that no datagram can carry


class Refused(MediationError):
    """The far side is not the one that the order names."""


class ContentLink:
    """`on_change` is called when it goes down or up; `up` says which, None before the first news."""

    def __init__(
        self,
        agency: str,
        destination: Destination,
        tls: ssl.SSLContext,
        on_change: Callable[[ContentLink], None],
    ) -> None:
        assert destination.content is not None
        self.agency = agency
        self.place: ContentDestination = destination.content
        self.up: bool | None = None
        self.state = ContentState.CONNECTING
        self.counters = ContentLinkCounters()
        self.queue = Queue(QUEUE_OCTETS, CHANNEL_OCTETS)
        self._pin = destination.certificate_sha256
        self._tls = tls
        self._on_change = on_change
        self._log = log.get("mediator").bind(link=f"{hashlib.sha256(agency.encode()).hexdigest()[:16]}/content")
        self._channel: Channel | None = None
        self._udp: socket.socket | None = None
        self._refused_at = 0.0
        self._blocked = False
        self._more = trio.Event()
        self._scope = trio.CancelScope()
        self._session_scope: trio.CancelScope | None = None

    # -- the way of a packet ------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Sends what waits, as far as it goes without waiting, and never long. Never raises."""
        if self._blocked or not self.queue.octets:
            return
        try:
            for _ in range(TURN_CHUNKS):
                if not self._send_some():
                    break
        except OSError:
            pass  # the session's own send meets the same error and ends it
        if self.queue.octets:
            self._more.set()

    def _send_some(self) -> bool:
        """False when nothing waits, or nothing can go now (then `_blocked`). Raises OSError."""
        if self._channel is not None:
            chunk = self.queue.chunk(CHUNK_OCTETS)
            if not chunk:
                return False
            taken = self._channel.send_now(chunk)
            self.queue.taken(taken)
            self._blocked = not taken
            return bool(taken)
        return self._udp is not None and self._send_datagrams(self._udp)

    def _send_datagrams(self, udp: socket.socket) -> bool:
        sent = self.queue.send(udp.fileno())
        if sent >= 0:
            if sent and self.up is False and trio.current_time() - self._refused_at > RECOVERED_S:
                self._tell(True)
            return sent > 0
        if sent == -errno.EAGAIN:
            self._blocked = True
            return False
        if sent == -errno.EMSGSIZE:
            self.counters.oversize += self.queue.skip()
            return True
        self.counters.unreachable += self.queue.skip()
        self._refused_at = trio.current_time()
        self._tell(False)
        return True

    def reset(self) -> None:
        """Ends the connection at once: what stands in it must not go out any more."""
        if self._session_scope is not None:
            self.counters.resets += 1
            if self._channel is not None:
                self._channel.abort()
            self._session_scope.cancel()

    @property
    def blocked(self) -> bool:
        """Octets that were taken wait inside of the connection, and are no longer ours to take back."""
        return self._blocked and self._channel is not None

    def close(self) -> None:
        """No live order needs it."""
        self._scope.cancel()

    def _tell(self, up: bool) -> None:
        if self.up is up:
            return
        self.up = up
        self.state = ContentState.UP if up else ContentState.DOWN
        self._on_change(self)

    # -- connections --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keeps the link up until `close`, or until it is cancelled."""
        session = self._tls_session if self.place.form == "cc-apdu" else self._udp_session
        pause = FIRST_PAUSE_S
        with self._scope:
            while True:
                connections = self.counters.connections
                try:
                    with trio.CancelScope() as self._session_scope:
                        await session()
                except* (MediationError, OSError, trio.TooSlowError) as group:
                    self._ended(_first(group), greeted=self.counters.connections > connections)
                finally:
                    self._down()
                pause = FIRST_PAUSE_S if self.counters.connections > connections else min(pause * 2, LONGEST_PAUSE_S)
                await trio.sleep(pause * JITTER.uniform(0.5, 1.0))

    def _down(self) -> None:
        """What waits is lost: it would be stale when the link is up again."""
        self._channel, self._session_scope = None, None
        self._blocked = False
        self.queue.clear()
        self.queue.accepting = False
        if not self._scope.cancel_called:
            refused = self.state is ContentState.REFUSED
            self._tell(False)
            self.state = ContentState.REFUSED if refused else ContentState.DOWN

    def _ended(self, error: BaseException, *, greeted: bool) -> None:
        if isinstance(error, Refused):
            self.state = ContentState.REFUSED
            self.counters.refused_certificates += 1
            self._log.error("alarm_far_side_refused", reason=str(error))
        elif isinstance(error, MediationError):
            self.counters.protocol_errors += 1
            self._log.error("alarm_content_protocol", reason=str(error))
        elif isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError) and not greeted:
            self.state = ContentState.REFUSED
            self.counters.tls_failures += 1
            self._log.error("alarm_tls_refused", reason=error.reason or "unknown")
        else:
            self.counters.failed_connections += not greeted
            self._log.info("content_link_down", reason=type(error).__name__)

    async def _tls_session(self) -> None:
        channel: Channel | None = None
        try:
            with trio.fail_after(CONNECT_LIMIT_S):
                channel = await Channel.connect(self.place.host, self.place.port, self._tls)
            if not hmac.compare_digest(channel.peer_sha256, self._pin):
                raise Refused("certificate is not the one in the order")
            self._channel = channel
            self._begin()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen, channel)
                nursery.start_soon(self._pump, channel.wait_writable)
        finally:
            self._channel = None
            if channel is not None:
                channel.close()

    @staticmethod
    async def _listen(channel: Channel) -> None:
        """The far side has nothing to say. Raises when the connection ends."""
        if await channel.receive():
            raise RemoteProtocolError("content: the far side sent something")
        raise ConnectionResetError("ended by the far side")

    async def _udp_session(self) -> None:
        found = await trio.socket.getaddrinfo(self.place.host, self.place.port, type=socket.SOCK_DGRAM)
        family, kind, protocol, _, address = found[0]
        udp = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
        try:
            udp.setblocking(False)
            network.bind(udp)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_OCTETS)
            if family == socket.AF_INET:
                # A full-sized packet does not fit with 12 octets before it: fragments, rather than nothing.
                udp.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
            udp.connect(address)
            self._udp = udp
            self._begin()

            async def wait_writable() -> None:
                await trio.lowlevel.wait_writable(udp)

            await self._pump(wait_writable)
        finally:
            self._udp = None
            trio.lowlevel.notify_closing(udp)
            udp.close()

    def _begin(self) -> None:
        self.counters.connections += 1
        self.queue.accepting = True
        self._log.info("content_link_up")
        self._tell(True)

    async def _pump(self, wait_writable: Callable[[], Awaitable[None]]) -> None:
        """Sends what `flush` could not. Raises OSError."""
        while True:
            self._more = more = trio.Event()
            for _ in range(TURN_CHUNKS):
                if not self._send_some():
                    break
            if self._blocked:
                await wait_writable()
                self._blocked = False
            elif self.queue.octets:
                await trio.lowlevel.checkpoint()
            else:
                await more.wait()


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
