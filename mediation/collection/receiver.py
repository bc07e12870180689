"""The receiving side of delivery links: the reference collection function's TLS server.

Mutual TLS 1.3; any number of mediators, each with its own link identity, each link with its own journal of what came.
A message is journalled, handed to `on_message`, and acknowledged when the journal is on the disk: what is acknowledged
is never asked for again, what is not is sent again, and what comes again is not handed on again.

This is an example for an agency's engineers and the other end of the demo and the tests; nothing of the carrier's
depends on what it does. It grants the mediator nothing and asks it for nothing.
"""

from __future__ import annotations

import hashlib
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import trio

from mediation.collection.journal import Journal
from mediation.core.errors import RemoteProtocolError
from mediation.core.interface import link
from mediation.core.interface.link import (
    Ack,
    Close,
    CloseReason,
    Data,
    Hello,
    KeepaliveAck,
    Loss,
    LossClass,
    Position,
    Welcome,
)
from mediation.runtime.tls import Channel

GREETING_LIMIT_S: Final = 10.0  # TLS handshake and HELLO
GATHER_S: Final = 0.002  # one sync and one acknowledgement for what comes within it
SILENCE_S: Final = 45.0  # the mediator says something every 10 s
MAX_CONNECTIONS: Final = 64


class Received(msgspec.Struct, frozen=True):
    """One message as it came. Times are nanoseconds since 1970, UTC; `octets` are the BER."""

    link_id: str
    sequence: int
    received_ns: int  # at the IAP
    arrived_ns: int
    error_us: int
    disciplined: bool
    octets: bytes


class ReceiverCounters(msgspec.Struct):
    connections: int = 0
    refused_connections: int = 0
    tls_failures: int = 0
    protocol_errors: int = 0
    messages: int = 0
    reported_lost: int = 0
    duplicates: int = 0
    superseded: int = 0
    silences: int = 0
    storage_failures: int = 0


class _Session(msgspec.Struct):
    scope: trio.CancelScope
    ended: trio.Event


class Receiver:
    """`on_message` is called once for each message, in order; `on_loss` for what the mediator reports lost; `on_link`
    with a link's identity and "up", or why it is not: a gap in time is then told from a quiet subject."""

    def __init__(
        self,
        folder: Path,
        tls: ssl.SSLContext,
        on_message: Callable[[Received], None],
        on_loss: Callable[[str, Loss], None] | None = None,
        on_link: Callable[[str, str], None] | None = None,
    ) -> None:
        self.counters = ReceiverCounters()
        self._folder = folder
        self._tls = tls
        self._on_message = on_message
        self._on_loss = on_loss or (lambda _link_id, _loss: None)
        self._on_link = on_link or (lambda _link_id, _state: None)
        self._sessions: dict[str, _Session] = {}
        self._open = 0

    async def serve(
        self, host: str, port: int, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Listens until cancelled; tells the port when it does. Raises OSError."""
        listener = (await trio.open_tcp_listeners(port, host=host))[0]
        async with listener, trio.open_nursery() as nursery:
            task_status.started(listener.socket.getsockname()[1])
            while True:
                stream = await listener.accept()
                if self._open >= MAX_CONNECTIONS:
                    self.counters.refused_connections += 1
                    stream.socket.close()
                    continue
                self._open += 1
                nursery.start_soon(self._serve, stream.socket)

    async def _serve(self, raw: trio.socket.SocketType) -> None:
        channel: Channel | None = None
        try:
            with trio.fail_after(GREETING_LIMIT_S):
                channel = await Channel.secure(raw, self._tls, server=True)
                connection = link.Connection(link.Role.COLLECTION)
                hello = await self._hello(channel, connection)
            self.counters.connections += 1
            await self._session(channel, connection, hello)
        except* RemoteProtocolError:
            self.counters.protocol_errors += 1
            if channel is not None:
                # Best effort: the mediator learns why, or finds the connection gone.
                channel.send_now(link.encode(Close(CloseReason.PROTOCOL_ERROR)))
        except* ssl.SSLError:
            self.counters.tls_failures += 1
        except* (OSError, trio.TooSlowError):
            pass  # the mediator connects again
        finally:
            self._open -= 1
            if channel is not None:
                channel.close()

    async def _hello(self, channel: Channel, connection: link.Connection) -> Hello:
        while (event := connection.next_event()) is None:
            octets = await channel.receive()
            if not octets:
                raise ConnectionResetError
            connection.receive(octets)
        if not isinstance(event, Hello):
            raise ConnectionResetError
        return event

    async def _session(self, channel: Channel, connection: link.Connection, hello: Hello) -> None:
        """One connection of one link. A newer connection of the same link ends an older one first."""
        if (older := self._sessions.get(hello.link_id)) is not None:
            self.counters.superseded += 1
            older.scope.cancel()
            await older.ended.wait()
        mine = self._sessions[hello.link_id] = _Session(trio.CancelScope(), trio.Event())
        journal: Journal | None = None
        ended = ""
        try:
            with mine.scope:
                journal = Journal(self._folder / hashlib.sha256(hello.link_id.encode()).hexdigest()[:32])
                self._agree(journal, hello)
                assert journal.position is not None
                await channel.send(connection.send(Welcome(link.VERSION, journal.position)))
                session = _Reception(self, channel, connection, journal, hello.link_id)
                ended = "broken"
                self._on_link(hello.link_id, "up")
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(session.acknowledge)
                    ended = await session.listen()
                    nursery.cancel_scope.cancel()
            if mine.scope.cancelled_caught:
                ended = "superseded by a newer connection"
        finally:
            if ended:
                self._on_link(hello.link_id, ended)
            if self._sessions.get(hello.link_id) is mine:
                del self._sessions[hello.link_id]
            mine.ended.set()
            self.counters.duplicates += connection.duplicates
            if journal is not None:
                journal.close()

    def _agree(self, journal: Journal, hello: Hello) -> None:
        """The mediator's numbers go on where the journal ends, or in a newer epoch where the mediator says."""
        known = journal.position
        if known is not None and known.epoch >= hello.position.epoch:
            return
        if known is not None and hello.position.sequence > known.sequence:
            # Acknowledged once, by a journal that is no longer here.
            self._lost(hello.link_id, Loss(known.sequence, hello.position.sequence - 1, LossClass.RELEASED))
        journal.begin(hello.position)

    def _lost(self, link_id: str, loss: Loss) -> None:
        self.counters.reported_lost += loss.count
        self._on_loss(link_id, loss)

    def _deliver(self, link_id: str, events: list[Data | Loss], arrived_ns: int) -> None:
        for event in events:
            if type(event) is Data:
                self.counters.messages += 1
                self._on_message(
                    Received(
                        link_id, event.sequence, event.received_ns, arrived_ns, event.error_us, event.disciplined,
                        event.octets,
                    )
                )  # fmt: skip
            elif isinstance(event, Loss):
                self._lost(link_id, event)


class _Reception:
    """The two halves of a session: what comes, and what is acknowledged."""

    def __init__(
        self, receiver: Receiver, channel: Channel, connection: link.Connection, journal: Journal, link_id: str
    ) -> None:
        self._receiver = receiver
        self._channel = channel
        self._connection = connection
        self._journal = journal
        self._link_id = link_id
        self._keepalives = 0
        self._work = trio.Event()

    async def listen(self) -> str:
        """Until the mediator closes the link; returns in words how it ended. Raises OSError, RemoteProtocolError."""
        while True:
            with trio.move_on_after(SILENCE_S) as silence:
                octets = await self._channel.receive()
            if silence.cancelled_caught:
                self._receiver.counters.silences += 1
                return f"silent for {SILENCE_S:.0f} s"
            if not octets:
                return "ended by the far side"
            arrived_ns = time.time_ns()
            self._connection.receive(octets)
            batch: list[Data | Loss] = []
            try:
                while (event := self._connection.next_event()) is not None:
                    if isinstance(event, Data | Loss):
                        batch.append(event)
                    elif isinstance(event, link.Epoch):
                        self._take(batch, arrived_ns)
                        self._journal.begin(event.position)
                        batch = []
                    elif isinstance(event, link.Keepalive):
                        self._keepalives += 1
                    elif isinstance(event, Close):
                        return f"closed by the far side ({event.reason.name.lower()})"
            finally:
                # What was good before a bad frame is kept.
                self._take(batch, arrived_ns)
                self._work.set()

    def _take(self, batch: list[Data | Loss], arrived_ns: int) -> None:
        if not batch:
            return
        try:
            self._journal.append(list(batch))
        except OSError:
            self._receiver.counters.storage_failures += 1
            self._channel.send_now(link.encode(Close(CloseReason.STORAGE)))
            raise
        self._receiver._deliver(self._link_id, batch, arrived_ns)

    async def acknowledge(self) -> None:
        """One sync for whatever came before it began, then one ACK."""
        done: Position | None = None
        while True:
            await self._work.wait()
            await trio.sleep(GATHER_S)
            self._work = trio.Event()
            position = self._journal.position
            if position is not None and position != done:
                await trio.to_thread.run_sync(self._journal.sync)
                await self._channel.send(self._connection.send(Ack(position)))
                done = position
            for _ in range(self._keepalives):
                self._keepalives -= 1
                await self._channel.send(self._connection.send(KeepaliveAck()))
