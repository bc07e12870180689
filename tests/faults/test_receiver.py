"""Octets that nobody should send to a collection function, and a collection function that cannot store."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio

from mediation.collection.journal import Journal
from mediation.collection.receiver import Receiver
from mediation.core.interface import link
from mediation.core.interface.link import Ack, CloseReason, Data, Hello, Position, Sent, Welcome
from mediation.delivery.spool import Spool
from mediation.runtime.tls import Channel
from tests.delivery.links import Collector, balanced, link_to, running, send, until
from tests.delivery.support import NOW_S, Certificates, message, number_of

LIMIT_S = 180  # a loaded machine; it ends by what happens


async def test_a_receiver_that_cannot_store_acknowledges_nothing_and_heals(
    tmp_path: Path, spool: Spool, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Journal.append
    full = True

    def append(self: Journal, events: list[Sent]) -> None:
        if full:
            raise OSError(28, "no space left on device")
        real(self, events)

    monkeypatch.setattr(Journal, "append", append)
    collector = Collector(tmp_path / "cf", certificates.server())
    async with (
        collector.running() as port,
        running(link_to(port, certificates.agency_sha256, spool, certificates.client())) as one,
    ):
        await send(one, message(1), message(2))
        await until(lambda: collector.receiver.counters.storage_failures >= 2)
        assert one.counters.closed_by_far_side >= 1
        assert collector.messages == []
        assert spool.queued == 2
        full = False
        assert await collector.has(2) == [1, 2]
        await until(lambda: balanced(one))


async def greeting(port: int, certificates: Certificates, link_id: str = "fuzz") -> tuple[Channel, link.Connection]:
    """A mediator that has said HELLO and was welcomed."""
    channel = await Channel.connect("127.0.0.1", port, certificates.client())
    connection = link.Connection(link.Role.DELIVERY, {NOW_S: 1000})
    await channel.send(connection.send(Hello(link.VERSION, Position(NOW_S, 1), link_id)))
    while (event := connection.next_event()) is None:
        connection.receive(await channel.receive())
    assert isinstance(event, Welcome)
    return channel, connection


async def rest_of(channel: Channel) -> bytes:
    """Everything until the other side is gone."""
    found = b""
    try:
        while octets := await channel.receive():
            found += octets
    except OSError:
        pass
    return found


async def test_no_octets_break_the_receiver_or_another_link(
    tmp_path: Path, spool: Spool, certificates: Certificates
) -> None:
    """Two hundred connections of mutated frames, while a good link goes on beside them."""
    collector = Collector(tmp_path / "cf", certificates.server())
    rng = random.Random(11)
    with trio.fail_after(LIMIT_S):
        async with (
            collector.running() as port,
            running(link_to(port, certificates.agency_sha256, spool, certificates.client())) as one,
        ):
            for turn in range(1, 201):
                stream = bytearray(b"".join(link.encode(Data(n, 1, 1, True, b"\xa1\x00")) for n in range(1, 6)))
                if turn % 2:
                    stream = bytearray(link.encode(Hello(link.VERSION, Position(NOW_S, 1), f"f{turn}"))) + stream
                for _ in range(rng.randint(1, 5)):
                    stream[rng.randrange(len(stream))] = rng.randrange(256)
                if turn % 2:
                    channel = await Channel.connect("127.0.0.1", port, certificates.client())
                else:
                    channel, _ = await greeting(port, certificates, f"f{turn}")
                await channel.send(bytes(stream) + b"\xff\xff\xff\xff")  # an impossible frame ends every one of them
                with trio.move_on_after(0.05):  # a length that became larger waits for more
                    await rest_of(channel)
                channel.close()
                await send(one, message(turn))
            good = [received for received in collector.messages if received.link_id == "site/agency"]
            while len(good) < 200:
                await trio.sleep(0.001)
                good = [received for received in collector.messages if received.link_id == "site/agency"]
            assert [number_of(received.octets) for received in good] == list(range(1, 201))
    assert collector.receiver.counters.protocol_errors >= 50


async def test_duplicate_and_replayed_frames_are_not_handed_on(tmp_path: Path, certificates: Certificates) -> None:
    collector = Collector(tmp_path / "cf", certificates.server())
    frames = [link.encode(Data(n, 1, 1, True, n.to_bytes(8, "big"))) for n in range(1, 6)]
    with trio.fail_after(LIMIT_S):
        async with collector.running() as port:
            channel, connection = await greeting(port, certificates)
            await channel.send(b"".join([*frames, *frames[2:], *reversed(frames)]))
            connection.send_all([Data(n, 1, 1, True, b"") for n in range(1, 6)])
            acknowledged = None
            while acknowledged != Position(NOW_S, 6):
                connection.receive(await channel.receive())
                while (event := connection.next_event()) is not None:
                    assert isinstance(event, Ack)
                    acknowledged = event.position
            channel.close()
            # A whole connection replayed: the journal knows what it has.
            channel, connection = await greeting(port, certificates)
            assert connection.expected == Position(NOW_S, 6)
            await channel.send(b"".join(frames) + link.encode(Data(6, 1, 1, True, (6).to_bytes(8, "big"))))
            assert await collector.has(6) == [1, 2, 3, 4, 5, 6]
            channel.close()
            await until(lambda: collector.receiver.counters.duplicates == 8 + 5)


async def test_frames_out_of_order_end_the_connection(tmp_path: Path, certificates: Certificates) -> None:
    collector = Collector(tmp_path / "cf", certificates.server())
    with trio.fail_after(LIMIT_S):
        async with collector.running() as port:
            channel, _ = await greeting(port, certificates)
            await channel.send(link.encode(Data(1, 1, 1, True, bytes(8))) + link.encode(Data(3, 1, 1, True, bytes(8))))
            said = await rest_of(channel)
            assert said.endswith(link.encode(link.Close(CloseReason.PROTOCOL_ERROR)))
            channel.close()
    assert [received.sequence for received in collector.messages] == [1]


async def test_a_second_connection_of_a_link_ends_the_first(tmp_path: Path, certificates: Certificates) -> None:
    """A mediator that was restarted while its old connection still hangs."""
    collector = Collector(tmp_path / "cf", certificates.server())
    with trio.fail_after(15):  # not by the silence of the first
        async with collector.running() as port:
            first, _ = await greeting(port, certificates)
            await first.send(link.encode(Data(1, 1, 1, True, bytes(8))))
            await collector.has(1)
            second, connection = await greeting(port, certificates)
            assert connection.expected == Position(NOW_S, 2)
            await rest_of(first)
            assert collector.receiver.counters.superseded == 1
            first.close()
            second.close()


async def test_a_slow_handshake_holds_nobody_else(
    tmp_path: Path, spool: Spool, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mediation.collection.receiver.GREETING_LIMIT_S", 0.2)
    collector = Collector(tmp_path / "cf", certificates.server())
    with trio.fail_after(LIMIT_S):
        async with collector.running() as port:
            slow = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(10)]
            async with running(link_to(port, certificates.agency_sha256, spool, certificates.client())) as one:
                await send(one, message(1))
                await collector.has(1)
            for stream in slow:
                assert await stream.receive_some(10) == b""  # each is given up in its time
                await stream.aclose()


async def test_more_connections_than_the_receiver_takes_are_refused(
    tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mediation.collection.receiver.MAX_CONNECTIONS", 3)
    receiver = Receiver(tmp_path / "cf", certificates.server(), lambda _message: None)
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            port = await nursery.start(receiver.serve, "127.0.0.1", 0)
            channels = [(await greeting(port, certificates, f"link-{n}"))[0] for n in range(3)]
            with pytest.raises(OSError, match=r".*"):
                await greeting(port, certificates, "one too many")
            assert receiver.counters.refused_connections == 1
            channels.pop().close()
            await until(lambda: receiver._open == 2)
            again, _ = await greeting(port, certificates, "again")
            for channel in (*channels, again):
                channel.close()
            nursery.cancel_scope.cancel()
