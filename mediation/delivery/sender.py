"""One delivery link: one mutual-TLS 1.3 connection to one agency's collection function, made again whenever it breaks.

The far side is the one that the signed order names: its address, and the SHA-256 of its certificate (SEC-12). Anything
else (another certificate, another authority, an expired one, an older TLS) is refused before the first octet, counted
and alarmed; nothing is ever sent in the clear (SEC-28). What the far side may say moves the cursor of its own spool and
nothing else (SEC-23).

A far side that is slow or away fills its own spool; no other link has a part in it. `offer` sends a batch in the turn
of the loop that made it; whatever does not fit, and everything after it, is read from the spool again by `_pump`.
"""

from __future__ import annotations

import enum
import hmac
import math
import secrets
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import trio

from mediation.core.case import Destination
from mediation.core.errors import MediationError, RemoteProtocolError
from mediation.core.interface import link
from mediation.core.interface.link import Ack, Close, CloseReason, Data, Hello, Keepalive, Loss, Position, Sent, Welcome
from mediation.delivery.histogram import Histogram
from mediation.delivery.reader import Reader
from mediation.delivery.spool import Spool
from mediation.runtime import log
from mediation.runtime.tls import Channel

FIRST_PAUSE_S: Final = 0.05
JITTER: Final = secrets.SystemRandom()
HEALTHY_S: Final = 5.0  # a connection that lived so long is made again without a growing pause
LONGEST_PAUSE_S: Final = 2.0  # a far side that is back waits no longer; a quarter of the 8 s of 1.20007(a)(14)
CONNECT_LIMIT_S: Final = 10.0  # TCP, TLS and WELCOME together
SETTLE_S: Final = 0.02
DELIVERY_LIMIT_US: Final = 8_000_000  # 47 CFR 1.20007(a)(14)
KEEPALIVE_S: Final = 10.0
SILENCE_S: Final = 30.0  # a far side that says nothing for so long is gone
INLINE_OCTETS: Final = 64 << 10  # the spool's newest octets are in memory: reading them needs no thread


class LinkState(enum.StrEnum):
    DOWN = "down"
    CONNECTING = "connecting"
    UP = "up"
    STALLED = "stalled"  # up, and the far side does not take what is there
    REFUSED = "refused"  # what answered is not the far side of the order
    CLOSED = "closed"  # its orders are over and everything is delivered


class LinkCounters(msgspec.Struct):
    connections: int = 0
    failed_connections: int = 0
    refused_certificates: int = 0  # another certificate than the order's
    tls_failures: int = 0  # authority, dates, version: refused by TLS itself
    protocol_errors: int = 0
    silences: int = 0
    closed_by_far_side: int = 0
    sent: int = 0  # events given to TLS, repeats after a reconnection included
    sent_at_once: int = 0  # of these, without a detour through the spool
    delivered: int = 0  # messages acknowledged
    reported_lost: int = 0  # numbers of acknowledged loss reports
    stalls: int = 0
    cut_off: int = 0  # a token was withdrawn and the rest could not be delivered in time: it stays in the spool


class Refused(MediationError):
    """The far side is not the one that the order names."""


class _Over(Exception):
    """Everything is delivered and no live order needs this link."""


class Link:
    """One link over all its connections. `run` keeps it up; `offer` is called by the mediator's drain."""

    def __init__(self, link_id: str, agency: str, destination: Destination, spool: Spool, tls: ssl.SSLContext) -> None:
        self.link_id = link_id
        self.agency = agency
        self.destination = destination
        self.spool = spool
        self.state = LinkState.DOWN
        self.counters = LinkCounters()
        self.latency = Histogram()  # received at the IAP to acknowledged by the far side
        self.acknowledged_at_ns: int | None = None
        self.on_caught_up: Callable[[], None] = lambda: None
        self._tls = tls
        self._log = log.get("mediator").bind(link=link_id.rpartition("/")[2])  # a hash: a log names no agency
        self._channel: Channel | None = None
        self._connection: link.Connection | None = None
        self._reader: Reader | None = None
        self._pending: bytes | memoryview = b""
        self._sent: deque[tuple[Position, int, int]] = deque()  # (number, received ns, 0) or (last, 0, count)
        self._broken: OSError | None = None
        self._more = trio.Event()
        self._heard = 0.0
        self._finishing = False
        self._scope = trio.CancelScope()

    # -- the way of an event ------------------------------------------------------------------------------------------

    def offer(self, events: list[Sent]) -> None:
        """Sends what the spool has just stored, now if the link is up and idle, else in its turn. Never raises."""
        channel, reader = self._channel, self._reader
        if not events:  # there was no room for them: `_pump` sees to the report
            self._more.set()
            return
        if channel is not None and reader is not None and not self._pending and reader.is_at(events):
            try:
                frames = self._frames(events)
                reader.passed(events)
                taken = channel.send_now(frames)
            except OSError as error:  # `_pump` ends the session with it
                self._broken = error
                self._more.set()
                return
            self.counters.sent_at_once += len(events)
            if taken == len(frames):
                return
            self._pending = memoryview(frames)[taken:]
        self._more.set()

    @property
    def caught_up(self) -> bool:
        """Everything that was stored has been given to the connection."""
        reader = self._reader
        return reader is not None and not self._pending and reader.position == self.spool.position

    def finish(self, finishing: bool = True, *, limit_s: float = math.inf) -> None:
        """No live order needs the link: it ends when what was generated under the orders is delivered, or after
        `limit_s`; the rest stays in the spool. Nothing for a link that is needed and still is."""
        if not finishing and not self._finishing:
            return
        self._finishing = finishing
        self._scope.deadline = trio.current_time() + limit_s if finishing else math.inf
        self._more.set()

    def _frames(self, events: Sequence[link.Event]) -> bytes:
        connection = self._connection
        assert connection is not None
        parts = []
        epoch = connection.expected.epoch if connection.expected else 0
        for event in events:
            parts.append(connection.send(event))
            if type(event) is Data:
                self._sent.append((Position(epoch, event.sequence), event.received_ns, 0))
            elif isinstance(event, Loss):
                self._sent.append((Position(epoch, event.last), 0, event.count))
            elif isinstance(event, link.Epoch):
                epoch = event.position.epoch
        self.counters.sent += len(events)
        return b"".join(parts)

    # -- connections --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keeps the link up until it is cancelled, finished and empty, or finished and out of time."""
        with self._scope:
            await self._keep_up()
        if self._scope.cancelled_caught:
            self.counters.cut_off += 1
            self._log.warning("link_cut_off", queued=self.spool.queued)
        self.state = LinkState.CLOSED

    async def _keep_up(self) -> None:
        pause = FIRST_PAUSE_S
        while not (self._finishing and self.spool.queued == 0):
            began = trio.current_time()
            connections = self.counters.connections
            try:
                await self._session()
            except* _Over:
                pass
            except* (MediationError, OSError, trio.TooSlowError) as group:
                self._ended(_first(group), greeted=self.counters.connections > connections)
            if self._finishing and self.spool.queued == 0:
                break
            healthy = self.counters.connections > connections and trio.current_time() - began > HEALTHY_S
            pause = FIRST_PAUSE_S if healthy else min(pause * 2, LONGEST_PAUSE_S)
            # Jitter: links to a far side that comes back do not knock at once.
            await trio.sleep(pause * JITTER.uniform(0.5, 1.0))

    def _ended(self, error: BaseException, *, greeted: bool) -> None:
        """Counts and tells why a session ended."""
        self.state = LinkState.DOWN
        if isinstance(error, Refused):
            self.state = LinkState.REFUSED
            self.counters.refused_certificates += 1
            self._log.error("alarm_far_side_refused", reason=str(error))
        elif isinstance(error, MediationError):
            self.counters.protocol_errors += 1
            self._log.error("alarm_link_protocol", reason=str(error))
        elif isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError) and not greeted:
            self.state = LinkState.REFUSED
            self.counters.tls_failures += 1
            self._log.error("alarm_tls_refused", reason=error.reason or "unknown")
        else:
            self.counters.failed_connections += not greeted
            self._log.info("link_down", reason=type(error).__name__)

    async def _session(self) -> None:
        """One connection from its beginning to its end. Raises what ended it."""
        if self.state is not LinkState.REFUSED:
            self.state = LinkState.CONNECTING
        channel: Channel | None = None
        try:
            with trio.fail_after(CONNECT_LIMIT_S):
                channel = await Channel.connect(self.destination.host, self.destination.port, self._tls)
                if not hmac.compare_digest(channel.peer_sha256, self.destination.certificate_sha256):
                    raise Refused("certificate is not the one in the order")
                connection = await self._greet(channel)
            self._log.info("link_up")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen, channel, connection)
                nursery.start_soon(self._pump, channel)
                nursery.start_soon(self._keep_alive, channel, connection)
        finally:
            self._channel = self._connection = self._reader = self._broken = None
            self._pending = b""
            if channel is not None:
                channel.close()

    async def _greet(self, channel: Channel) -> link.Connection:
        """HELLO and WELCOME: where both agree to go on."""
        connection = link.Connection(link.Role.DELIVERY, self.spool.extents())
        await channel.send(connection.send(Hello(link.VERSION, self.spool.acknowledged, self.link_id)))
        event = await _next(channel, connection)
        if isinstance(event, Close):
            self.counters.closed_by_far_side += 1
            raise RemoteProtocolError(f"link: closed at the greeting ({event.reason.name.lower()})")
        assert isinstance(event, Welcome)
        self._acknowledged(event.position)  # what was stored although its acknowledgement was lost on the way
        self._sent.clear()  # the rest will be sent again
        self._connection = connection
        self._reader = Reader(self.spool, event.position)
        self._channel = channel
        self._heard = trio.current_time()
        self.counters.connections += 1
        self.state = LinkState.UP
        return connection

    async def _listen(self, channel: Channel, connection: link.Connection) -> None:
        """Acknowledgements, the only thing that the far side has to say. Raises when the connection ends."""
        while True:
            octets = await channel.receive_next()
            if not octets:
                raise ConnectionResetError("ended by the far side")
            self._heard = trio.current_time()
            connection.receive(octets)
            newest: Position | None = None
            while (event := connection.next_event()) is not None:
                if type(event) is Ack:
                    newest = event.position
                elif isinstance(event, Close):
                    self.counters.closed_by_far_side += 1
                    raise ConnectionResetError(f"closed by the far side: {event.reason.name}")
            if newest is not None:
                self._acknowledged(newest)

    def _acknowledged(self, position: Position) -> None:
        now = time.time_ns()
        sent = self._sent
        while sent and sent[0][0] < position:
            _, received_ns, lost = sent.popleft()
            if lost:
                self.counters.reported_lost += lost
            else:
                self.counters.delivered += 1
                self.latency.record(now - received_ns)
        self.acknowledged_at_ns = now
        self.spool.acknowledge(position)
        if self._finishing or self.spool.open_loss:
            self._more.set()

    async def _pump(self, channel: Channel) -> None:
        """Sends what `offer` could not: the rest of a batch, then the spool from the reader's position on."""
        reader = self._reader
        assert reader is not None
        while True:
            if self._broken is not None:
                raise self._broken
            if self._pending:
                taken = channel.send_now(self._pending)
                self._pending = memoryview(self._pending)[taken:]
                if not taken:
                    if self.state is not LinkState.STALLED:
                        self.counters.stalls += 1
                        self.state = LinkState.STALLED
                    await channel.wait_writable()
                continue
            self.state = LinkState.UP
            self._more = more = trio.Event()
            request = reader.request()
            if request is not None:
                current = request.segment is self.spool.current and request.size <= INLINE_OCTETS
                octets = request.load() if current else await trio.to_thread.run_sync(request.load)
                if events := reader.take(request, octets):
                    self._pending = self._frames(events)
                await trio.lowlevel.checkpoint()  # other links between two pieces
            elif self.spool.open_loss and self.spool.settle():
                self.spool.commit()
            elif self._finishing and self.spool.queued == 0:
                assert self._connection is not None
                await channel.send(self._connection.send(Close(CloseReason.DONE)))
                raise _Over
            else:
                self.on_caught_up()
                # A loss that finds no room yet is tried again: the thread wipes what was acknowledged.
                with trio.move_on_after(SETTLE_S if self.spool.open_loss else math.inf):
                    await more.wait()

    async def _keep_alive(self, channel: Channel, connection: link.Connection) -> None:
        """Asks a quiet far side whether it is there; raises when it has not answered for SILENCE_S."""
        while True:
            await trio.sleep(KEEPALIVE_S)
            quiet = trio.current_time() - self._heard
            if quiet > SILENCE_S:
                self.counters.silences += 1
                raise TimeoutError("the far side is silent")
            if quiet >= KEEPALIVE_S and not self._pending:
                frame = connection.send(Keepalive())
                taken = channel.send_now(frame)
                if taken < len(frame):
                    self._pending = memoryview(frame)[taken:]
                    self._more.set()


async def _next(channel: Channel, connection: link.Connection) -> link.Event:
    while (event := connection.next_event()) is None:
        octets = await channel.receive()
        if not octets:
            raise ConnectionResetError("ended at the greeting")
        connection.receive(octets)
    return event


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def link_report(link: Link) -> dict[str, Any]:
    """States and counters of one link, for ReportStatus."""
    spool = link.spool
    latency = link.latency
    return {
        "link": link.link_id,
        "agency": link.agency,
        "state": link.state.value,
        "queued": spool.queued,
        "acknowledged_at_ns": link.acknowledged_at_ns,
        "storage_failing": spool.failing,
        "latency_us": {
            "count": latency.count,
            "p50": latency.percentile(50),
            "p95": latency.percentile(95),
            "p99": latency.percentile(99),
            "p999": latency.percentile(99.9),
            "max": latency.max_us,
            "within_8s": latency.within(DELIVERY_LIMIT_US),
        },
        "counters": msgspec.to_builtins(link.counters),
        "spool": {
            **msgspec.to_builtins(msgspec.structs.replace(spool.counters, lost={})),
            "lost": {name.name.lower(): count for name, count in spool.counters.lost.items() if count},
        },
        "commits": msgspec.to_builtins(spool.commit_counters),
    }
