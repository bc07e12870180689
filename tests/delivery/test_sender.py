"""One delivery link against the reference receiver: in order, nothing lost or twice, whatever the far side does."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from mediation.core.interface import link
from mediation.core.interface.link import Ack, Close, CloseReason, Hello, Loss, LossClass, Position, Welcome
from mediation.delivery import sender
from mediation.delivery.sender import LinkState
from mediation.delivery.spool import Message, Spool
from tests import vault
from tests.delivery.links import (
    LIMIT_S,
    Collector,
    balanced,
    events_from,
    free_port,
    link_to,
    puppet,
    running,
    send,
    until,
)
from tests.delivery.support import BOUND_OCTETS, NOW_S, Certificates, message, number_of

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
            spool = Spool(tmp_path / "spool", vault.box(), now_s=NOW_S, bound_octets=BOUND_OCTETS)
            async with running(link_to(port, certificates.agency_sha256, spool, certificates.client())) as one:
                for _ in range(100):
                    number += 1
                    await send(one, message(number))
                await collector.has(number - 20)
            for _ in range(10):  # while no link is up
                number += 1
                spool.append([message(number)])
            spool.close()
        spool = Spool(tmp_path / "spool", vault.box(), now_s=NOW_S, bound_octets=BOUND_OCTETS)
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
    spool = Spool(tmp_path / "spool", vault.box(), now_s=NOW_S, bound_octets=1 << 20)
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


async def test_a_report_that_finds_no_room_yet_is_tried_again(
    tmp_path: Path, spool: Spool, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector = Collector(tmp_path / "cf", certificates.server())
    real, refusals = Spool.settle, 3

    def settle(self: Spool) -> list[link.Sent]:
        nonlocal refusals
        refusals -= 1
        return real(self) if refusals < 0 else []

    monkeypatch.setattr(Spool, "settle", settle)
    async with (
        collector.running() as port,
        running(link_to(port, certificates.agency_sha256, spool, certificates.client())) as one,
    ):
        with monkeypatch.context() as patch:
            patch.setattr("mediation.delivery.spool.MAX_UNSYNCED_OCTETS", -1)
            await send(one, message(1), message(2))
        await until(lambda: balanced(one))
    assert collector.losses == [Loss(1, 2, LossClass.STORAGE)]


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


async def test_a_far_side_that_does_not_read_fills_only_its_own_spool(
    tmp_path: Path, spool: Spool, certificates: Certificates
) -> None:
    other_spool = Spool(tmp_path / "other", vault.box(), now_s=NOW_S, bound_octets=BOUND_OCTETS)
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


async def test_a_withdrawn_orders_link_ends_in_time_and_keeps_the_rest(
    tmp_path: Path, spool: Spool, certificates: Certificates
) -> None:
    """SEC-24: nobody answers; what could not go stays in the spool, and is counted. A new order lets it go on."""
    port = free_port()
    async with running(link_to(port, certificates.agency_sha256, spool, certificates.client())) as one:
        await send(one, message(1), message(2))
        one.finish(limit_s=60)
        one.finish(False)  # another order of the same destination, in time
        assert one.state is not LinkState.CLOSED
        one.finish(limit_s=0.2)
        await until(lambda: one.state is LinkState.CLOSED)
        assert one.counters.cut_off == 1
    assert spool.queued == 2
    collector = Collector(tmp_path / "cf", certificates.server())
    async with (
        collector.running() as port,
        running(link_to(port, certificates.agency_sha256, spool, certificates.client())) as other,
    ):
        assert await collector.has(2) == [1, 2]
        other.finish(limit_s=60)  # the rest goes, and the time is not waited for
        await until(lambda: other.state is LinkState.CLOSED)
        assert other.counters.cut_off == 0
