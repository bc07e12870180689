"""Links under test: the reference receiver on a port, a far side that does what a test says, and waiting for them."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import trio

from mediation.collection.receiver import Received, Receiver
from mediation.core.case import Destination
from mediation.core.interface import link
from mediation.core.interface.link import Hello, Loss, Position, Welcome
from mediation.delivery.sender import Link
from mediation.delivery.spool import Message, Spool
from mediation.runtime.tls import Channel
from tests.delivery.support import Certificates, number_of

LIMIT_S = 60


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def link_to(port: int, pin: str, spool: Spool, tls: ssl.SSLContext) -> Link:
    return Link("site/agency", "agency", Destination(host="127.0.0.1", port=port, certificate_sha256=pin), spool, tls)


class Collector:
    """The reference receiver on a port, with what it handed on, and waiting for a number of messages."""

    def __init__(self, folder: Path, tls: ssl.SSLContext) -> None:
        self.messages: list[Received] = []
        self.losses: list[Loss] = []
        self.receiver = Receiver(folder, tls, self._message, lambda _link_id, loss: self.losses.append(loss))
        self._wanted = 0
        self._reached = trio.Event()

    def _message(self, received: Received) -> None:
        self.messages.append(received)
        if len(self.messages) >= self._wanted:
            self._reached.set()

    async def has(self, count: int) -> list[int]:
        self._wanted, self._reached = count, trio.Event()
        if len(self.messages) < count:
            await self._reached.wait()
        return [number_of(received.octets) for received in self.messages]

    @contextlib.asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator[int]:
        async with trio.open_nursery() as nursery:
            yield await nursery.start(self.receiver.serve, "127.0.0.1", port)
            nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def running(one: Link, limit_s: float = LIMIT_S) -> AsyncIterator[Link]:
    with trio.fail_after(limit_s):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.run)
            yield one
            nursery.cancel_scope.cancel()


async def until(condition: Callable[[], bool]) -> None:
    """Lets everything else run until `condition()`; bounded by the test's own limit."""
    while not condition():
        await trio.sleep(0.001)


async def send(one: Link, *messages: Message) -> None:
    one.offer(one.spool.append(list(messages)))
    one.spool.commit()
    await trio.lowlevel.checkpoint()


def balanced(one: Link) -> bool:
    """received == delivered + reported lost, when nothing waits any more."""
    counters = one.spool.counters
    return one.spool.queued == 0 and counters.received == one.counters.delivered + one.counters.reported_lost


class Puppet:
    """A far side that does exactly what a test says."""

    def __init__(self, certificates: Certificates) -> None:
        self.tls = certificates.server()
        self.pin = certificates.agency_sha256
        self.sessions = 0
        self._sender, self.channels = trio.open_memory_channel[Channel](10)

    async def serve(self, *, task_status: trio.TaskStatus[int]) -> None:
        listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
        listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        async with listener:
            task_status.started(listener.socket.getsockname()[1])
            while True:
                stream = await listener.accept()
                try:
                    channel = await Channel.secure(stream.socket, self.tls, server=True)
                except OSError:
                    continue
                self.sessions += 1
                await self._sender.send(channel)

    async def greeted(self, position: Position | None = None) -> tuple[Channel, link.Connection]:
        """The next connection, after HELLO; WELCOME says `position`, or what HELLO said."""
        channel = await self.channels.receive()
        connection = link.Connection(link.Role.COLLECTION)
        while (hello := connection.next_event()) is None:
            connection.receive(await channel.receive())
        assert isinstance(hello, Hello)
        await channel.send(connection.send(Welcome(link.VERSION, position or hello.position)))
        return channel, connection


async def events_from(channel: Channel, connection: link.Connection, count: int) -> list[link.Event]:
    found: list[link.Event] = []
    while len(found) < count:
        connection.receive(await channel.receive())
        while (event := connection.next_event()) is not None:
            found.append(event)
    return found


@contextlib.asynccontextmanager
async def puppet(certificates: Certificates, spool: Spool) -> AsyncIterator[tuple[Puppet, Link]]:
    far = Puppet(certificates)
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            port = await nursery.start(far.serve)
            one = link_to(port, far.pin, spool, certificates.client())
            nursery.start_soon(one.run)
            yield far, one
            nursery.cancel_scope.cancel()
