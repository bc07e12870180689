"""One delivery link against the reference receiver: in order, nothing lost or twice, and only to the right one."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio
import trustme

from mediation.collection.receiver import Received, Receiver
from mediation.core import link
from mediation.core.case import Destination
from mediation.core.errors import ConfigurationError
from mediation.core.link import Ack, Close, CloseReason, Hello, Loss, LossClass, Position, Welcome
from mediation.delivery import sender
from mediation.delivery.sender import Link, LinkState
from mediation.delivery.spool import Message, Spool
from mediation.runtime.tls import Channel
from tests.delivery.support import BOUND_OCTETS, Certificates, message, number_of

LIMIT_S = 20
NOW_S = 1_700_000_000


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    folder = tmp_path / "certificates"
    folder.mkdir()
    return Certificates(folder)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = Spool(tmp_path / "spool", now_s=NOW_S, bound_octets=BOUND_OCTETS)
    yield made
    made.close()


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
async def running(one: Link) -> AsyncIterator[Link]:
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.run)
            yield one
            nursery.cancel_scope.cancel()


async def until(condition: object) -> None:
    """Lets everything else run until `condition()`; bounded by the test's own limit."""
    assert callable(condition)
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


# -- delivery ----------------------------------------------------------------------------------------------------------


async def test_messages_arrive_in_order_and_are_acknowledged(
    tmp_path: Path, spool: Spool, certificates: Certificates
) -> None:
    collector = Collector(tmp_path / "cf", certificates.server())
    async with (
        collector.running() as port,
        running(link_to(port, certificates.agency_sha256, spool, certificates.client())) as one,
    ):
        await until(lambda: one.state is LinkState.UP)
        for start in range(1, 301, 3):
            await send(one, *(message(start + n) for n in range(3)))
        assert await collector.has(300) == list(range(1, 301))
        await until(lambda: spool.queued == 0)
    first = collector.messages[0]
    assert (first.link_id, first.sequence, first.error_us, first.disciplined) == ("site/agency", 1, 250, True)
    assert first.received_ns == message(1).received_ns
    assert [received.sequence for received in collector.messages] == list(range(1, 301))
    assert one.latency.count == 300
    assert one.counters.sent_at_once == 300
    assert balanced(one)


async def test_what_came_before_the_link_was_up_goes_first(
    tmp_path: Path, spool: Spool, certificates: Certificates
) -> None:
    port = free_port()
    collector = Collector(tmp_path / "cf", certificates.server())
    async with running(link_to(port, certificates.agency_sha256, spool, certificates.client())) as one:
        for number in range(1, 2001):
            await send(one, message(number))
        await until(lambda: one.counters.failed_connections >= 1)
        async with collector.running(port):
            await send(one, message(2001))
            assert await collector.has(2001) == list(range(1, 2002))
            await until(lambda: balanced(one))


async def test_a_collector_that_goes_away_and_comes_back_misses_and_repeats_nothing(
    tmp_path: Path, spool: Spool, certificates: Certificates
) -> None:
    port = free_port()
    collector = Collector(tmp_path / "cf", certificates.server())
    number = 0
    async with running(link_to(port, certificates.agency_sha256, spool, certificates.client())) as one:
        for visit in range(1, 5):
            async with collector.running(port):
                await until(lambda visit=visit: one.counters.connections == visit)
                for _ in range(200):
                    number += 1
                    await send(one, message(number))
                await collector.has(number - 50)  # gone in mid-stream
            for _ in range(100):
                number += 1
                await send(one, message(number))
        async with collector.running(port):
            assert await collector.has(number) == list(range(1, number + 1))
            await until(lambda: balanced(one))
    assert [received.sequence for received in collector.messages] == list(range(1, number + 1))
    assert not collector.losses


async def test_a_mediator_that_starts_again_goes_on(tmp_path: Path, certificates: Certificates) -> None:
    collector = Collector(tmp_path / "cf", certificates.server())
    number = 0
    async with collector.running() as port:
        for _ in range(4):
            spool = Spool(tmp_path / "spool", now_s=NOW_S, bound_octets=BOUND_OCTETS)
            async with running(link_to(port, certificates.agency_sha256, spool, certificates.client())) as one:
                for _ in range(100):
                    number += 1
                    await send(one, message(number))
                await collector.has(number - 20)
            for _ in range(10):  # while no link is up
                number += 1
                spool.append([message(number)])
            spool.close()
        spool = Spool(tmp_path / "spool", now_s=NOW_S, bound_octets=BOUND_OCTETS)
        async with running(link_to(port, certificates.agency_sha256, spool, certificates.client())):
            assert await collector.has(number) == list(range(1, number + 1))
            await until(lambda: spool.queued == 0)
        spool.close()


async def test_a_receiver_that_lost_its_journal_is_told_what_it_had(
    tmp_path: Path, spool: Spool, certificates: Certificates
) -> None:
    """What was acknowledged is gone here: its numbers are reported, and nothing stops."""
    port = free_port()
    pin = certificates.agency_sha256
    async with running(link_to(port, pin, spool, certificates.client())) as one:
        first = Collector(tmp_path / "cf", certificates.server())
        async with first.running(port):
            await send(one, *(message(number, 100_000) for number in range(1, 61)))
            await first.has(60)
            await until(lambda: spool.queued == 0)
            await until(lambda: spool.drain(0))
        journal = next((tmp_path / "cf").rglob("*.journal"))
        # It comes back from a copy that knew only the first ten.
        octets = journal.read_bytes()
        journal.write_bytes(octets[: 64 + 10 * (36 + 100_000)])
        second = Collector(tmp_path / "cf", certificates.server())
        async with second.running(port):
            await send(one, message(61))
            await until(lambda: 61 in [number_of(received.octets) for received in second.messages])
            await until(lambda: spool.queued == 0)
    sequences = [received.sequence for received in second.messages]
    sequences += [number for loss in second.losses for number in range(loss.first, loss.last + 1)]
    assert sorted(sequences) == list(range(11, 62))
    assert all(loss.loss_class is LossClass.RELEASED for loss in second.losses)


async def test_a_loss_reaches_the_far_side_in_its_place(
    tmp_path: Path, spool: Spool, certificates: Certificates
) -> None:
    collector = Collector(tmp_path / "cf", certificates.server())
    async with (
        collector.running() as port,
        running(link_to(port, certificates.agency_sha256, spool, certificates.client())) as one,
    ):
        await send(one, message(1), Message(1, 1, True, None), message(3))
        assert await collector.has(2) == [1, 3]
        await until(lambda: balanced(one))
    assert collector.losses == [Loss(2, 2, LossClass.UNENCODABLE)]
    assert one.counters.reported_lost == 1


async def test_a_full_spool_is_reported_as_soon_as_the_far_side_is_back(
    tmp_path: Path, certificates: Certificates
) -> None:
    spool = Spool(tmp_path / "spool", now_s=NOW_S, bound_octets=1 << 20)
    port = free_port()
    collector = Collector(tmp_path / "cf", certificates.server())
    async with running(link_to(port, certificates.agency_sha256, spool, certificates.client())) as one:
        for number in range(1, 3001):
            await send(one, message(number, 1000))
        assert spool.open_loss is not None
        async with collector.running(port):
            await until(lambda: balanced(one))  # without another message that would carry the report along
    (loss,) = collector.losses
    assert loss.loss_class is LossClass.SPOOL_FULL
    assert [number_of(received.octets) for received in collector.messages] == list(range(1, loss.first))
    assert loss.last == 3000
    assert one.counters.reported_lost == loss.count == spool.counters.lost[LossClass.SPOOL_FULL]
    spool.close()


async def test_a_link_whose_orders_are_over_delivers_the_rest_and_ends(
    tmp_path: Path, spool: Spool, certificates: Certificates
) -> None:
    collector = Collector(tmp_path / "cf", certificates.server())
    port = free_port()
    one = link_to(port, certificates.agency_sha256, spool, certificates.client())
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.run)
            await send(one, message(1), message(2))
            one.finish()
            async with collector.running(port):
                assert await collector.has(2) == [1, 2]
                await until(lambda: one.state is LinkState.CLOSED)
    assert balanced(one)


# -- the far side stalls -----------------------------------------------------------------------------------------------


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


async def test_a_far_side_that_does_not_read_fills_only_its_own_spool(
    tmp_path: Path, spool: Spool, certificates: Certificates
) -> None:
    other_spool = Spool(tmp_path / "other", now_s=NOW_S, bound_octets=BOUND_OCTETS)
    collector = Collector(tmp_path / "cf", certificates.server())
    async with collector.running() as port, puppet(certificates, spool) as (far, stalled):
        other = link_to(port, certificates.agency_sha256, other_spool, certificates.client())
        async with running(other):
            channel, connection = await far.greeted()
            await until(lambda: other.state is stalled.state is LinkState.UP)
            number = 0
            while stalled.state is not LinkState.STALLED:
                number += 1
                await send(stalled, message(number, 4000))
                await send(other, message(number))
            for _ in range(200):
                number += 1
                await send(stalled, message(number, 4000))
                await send(other, message(number))
            assert await collector.has(number) == list(range(1, number + 1))
            assert spool.queued == number
            # It reads again: everything comes, in order, once.
            events = await events_from(channel, connection, number)
            assert [event.sequence for event in events if isinstance(event, link.Data)] == list(range(1, number + 1))
            await channel.send(connection.send(Ack(Position(NOW_S, number + 1))))
            await until(lambda: balanced(stalled))
            assert stalled.counters.stalls >= 1
    other_spool.close()


async def test_what_was_not_acknowledged_is_sent_again_from_where_the_far_side_says(
    spool: Spool, certificates: Certificates
) -> None:
    async with puppet(certificates, spool) as (far, one):
        channel, connection = await far.greeted()
        await send(one, *(message(number) for number in range(1, 11)))
        await events_from(channel, connection, 10)
        await channel.send(connection.send(Ack(Position(NOW_S, 4))))
        await until(lambda: spool.queued == 7)
        channel.close()
        channel, connection = await far.greeted(Position(NOW_S, 6))  # one more than it could acknowledge
        await until(lambda: spool.queued == 5)
        events = await events_from(channel, connection, 5)
        assert [event.sequence for event in events if isinstance(event, link.Data)] == [6, 7, 8, 9, 10]
        assert one.counters.delivered == 5
        channel.close()


@pytest.mark.parametrize(
    "says",
    [
        link.encode(Ack(Position(NOW_S, 99))),
        link.encode(Ack(Position(NOW_S + 1, 1))),
        link.encode(Welcome(1, Position(NOW_S, 1))),
        link.encode(Hello(1, Position(NOW_S, 1), "x")),
        b"\xff" * 100,
        b"\0\0\0\0\0",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=["ack-beyond", "ack-epoch", "welcome", "hello", "ones", "zeros", "http"],
)
async def test_nothing_a_far_side_says_changes_more_than_its_own_cursor(
    spool: Spool, certificates: Certificates, says: bytes
) -> None:
    """SEC-23."""
    async with puppet(certificates, spool) as (far, one):
        channel, connection = await far.greeted()
        await send(one, message(1), message(2))
        await events_from(channel, connection, 2)
        await channel.send(says)
        channel, connection = await far.greeted()  # the link is made again
        assert one.counters.protocol_errors == 1
        assert spool.queued == 2
        events = await events_from(channel, connection, 2)
        assert [event.sequence for event in events if isinstance(event, link.Data)] == [1, 2]
        channel.close()


async def test_a_far_side_that_closes_is_asked_again(spool: Spool, certificates: Certificates) -> None:
    async with puppet(certificates, spool) as (far, one):
        channel, connection = await far.greeted()
        await channel.send(connection.send(Close(CloseReason.STORAGE)))
        channel, connection = await far.greeted()
        await until(lambda: one.state is LinkState.UP)
        assert one.counters.closed_by_far_side == 1
        channel.close()


async def test_a_silent_far_side_is_noticed(
    spool: Spool, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "KEEPALIVE_S", 0.02)
    monkeypatch.setattr(sender, "SILENCE_S", 0.1)
    async with puppet(certificates, spool) as (far, one):
        channel, connection = await far.greeted()
        assert await events_from(channel, connection, 2) == [link.Keepalive(), link.Keepalive()]
        again, _ = await far.greeted()
        assert one.counters.silences == 1
        again.close()
        channel.close()


async def test_keepalives_are_answered(
    tmp_path: Path, spool: Spool, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "KEEPALIVE_S", 0.01)
    monkeypatch.setattr(sender, "SILENCE_S", 0.2)
    collector = Collector(tmp_path / "cf", certificates.server())
    async with (
        collector.running() as port,
        running(link_to(port, certificates.agency_sha256, spool, certificates.client())) as one,
    ):
        await until(lambda: one.state is LinkState.UP)
        await trio.sleep(0.5)  # longer than the silence that would end it
        assert one.counters.silences == 0
        assert one.counters.connections == 1


# -- who is on the other end -------------------------------------------------------------------------------------------


async def refusal(one: Link, collector: Collector, port: int) -> None:
    """The link tries, gives nothing away, and says so."""
    await send(one, message(1))
    async with running(one), collector.running(port):
        await until(lambda: one.counters.refused_certificates + one.counters.tls_failures >= 2)
        assert one.state is LinkState.REFUSED
    assert collector.receiver.counters.connections == 0
    assert collector.messages == []
    assert one.spool.queued == 1
    assert one.counters.connections == 0


async def test_another_certificate_of_the_same_authority_is_refused(
    tmp_path: Path, spool: Spool, certificates: Certificates
) -> None:
    certificates.issue("impostor")
    port = free_port()
    one = link_to(port, certificates.agency_sha256, spool, certificates.client())
    await refusal(one, Collector(tmp_path / "cf", certificates.server("impostor")), port)
    assert one.counters.refused_certificates >= 2


async def test_another_authority_is_refused_even_with_the_right_pin(
    tmp_path: Path, spool: Spool, certificates: Certificates
) -> None:
    pin = certificates.issue("stranger", trustme.CA())
    port = free_port()
    one = link_to(port, pin, spool, certificates.client())
    await refusal(one, Collector(tmp_path / "cf", certificates.server("stranger")), port)
    assert one.counters.tls_failures >= 2


async def test_an_expired_certificate_is_refused(tmp_path: Path, spool: Spool, certificates: Certificates) -> None:
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    pin = certificates.issue("late", not_before=past, not_after=past + datetime.timedelta(days=1))
    port = free_port()
    one = link_to(port, pin, spool, certificates.client())
    await refusal(one, Collector(tmp_path / "cf", certificates.server("late")), port)
    assert one.counters.tls_failures >= 2


async def test_tls_1_2_is_refused(tmp_path: Path, spool: Spool, certificates: Certificates) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.load_cert_chain(certificates.folder / "agency.pem", certificates.folder / "agency.key")
    port = free_port()
    one = link_to(port, certificates.agency_sha256, spool, certificates.client())
    await refusal(one, Collector(tmp_path / "cf", old), port)
    assert one.counters.tls_failures >= 2


async def test_a_plain_tcp_far_side_gets_no_message(spool: Spool, certificates: Certificates) -> None:
    heard = bytearray()

    async def listen(stream: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError):  # the link does not wait for more of this
            async for octets in stream:
                heard.extend(octets)
                await stream.send_all(b"+OK ready\r\n")

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, listen, listeners)
        port = listeners[0].socket.getsockname()[1]
        one = link_to(port, certificates.agency_sha256, spool, certificates.client())
        await send(one, message(1))
        async with running(one):
            await until(lambda: one.counters.tls_failures >= 1)
        nursery.cancel_scope.cancel()
    assert heard[0] == 0x16  # a TLS handshake record, and
    assert message(1).octets not in bytes(heard)


async def test_a_receiver_refuses_a_mediator_without_a_certificate_it_knows(
    tmp_path: Path, spool: Spool, certificates: Certificates
) -> None:
    certificates.issue("stranger", trustme.CA())
    collector = Collector(tmp_path / "cf", certificates.server())
    port = free_port()
    await refusal(link_to(port, certificates.agency_sha256, spool, certificates.client("stranger")), collector, port)
    assert collector.receiver.counters.tls_failures >= 1


@pytest.mark.parametrize("missing", ["mediator.pem", "mediator.key", "ca.pem"])
def test_a_missing_file_of_the_identity_refuses_to_start(certificates: Certificates, missing: str) -> None:
    (certificates.folder / missing).unlink()
    with pytest.raises(ConfigurationError):
        certificates.client()


def test_an_unreadable_key_refuses_to_start(certificates: Certificates) -> None:
    (certificates.folder / "mediator.key").write_text("not a key")
    with pytest.raises(ConfigurationError, match=r"mediator.pem|mediator.key"):
        certificates.client()
