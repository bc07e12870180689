"""Faults on the way to the agency: processes killed, disks full, octets that nobody should send.

Each fault has its question: is anything lost without a report, is anything there twice, does anybody else notice?
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from mediation.collection.decoder import decode
from mediation.collection.receiver import Receiver
from mediation.core import link, record, x1
from mediation.core.link import Ack, CloseReason, Data, Hello, Loss, Position, Sent, Welcome
from mediation.delivery.sender import LinkState
from mediation.delivery.spool import Spool
from mediation.runtime.tls import Channel
from tests.delivery.house import MESSAGES_OF_A_CALL, call, xid_of
from tests.delivery.support import BOUND_OCTETS, Certificates, message, number_of
from tests.delivery.test_mediator import rig
from tests.delivery.test_sender import Collector, balanced, free_port, link_to, running, send, until

LIMIT_S = 60
NOW_S = 1_700_000_000
ROOT = Path(__file__).parents[2]

COLLECTOR = """
import ssl, sys, trio
from pathlib import Path
from mediation.collection.receiver import Receiver
from mediation.runtime import tls
folder, port, certificates = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
context = tls.context(
    ssl.Purpose.CLIENT_AUTH, certificates / "agency.pem", certificates / "agency.key", certificates / "ca.pem"
)
trio.run(Receiver(folder, context, lambda message: None).serve, "127.0.0.1", port)
"""


class CollectorProcess:
    """The reference receiver in a process of its own, which can be killed; what it took stands in its journal."""

    def __init__(self, folder: Path, port: int, certificates: Certificates) -> None:
        self._arguments = [sys.executable, "-c", COLLECTOR, str(folder), str(port), str(certificates.folder)]
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(self._arguments, cwd=ROOT)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def journalled(self) -> list[Sent]:
        found: list[Sent] = []
        for path in sorted(self.folder.rglob("*.journal")):
            octets = path.read_bytes()
            start = record.parse_segment_header(octets)
            found += record.scan(octets, start.epoch, start.sequence, at=record.SEGMENT_HEADER_OCTETS).events
        return found


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


async def test_a_collector_killed_in_mid_stream_has_each_message_once(
    tmp_path: Path, spool: Spool, certificates: Certificates
) -> None:
    port = free_port()
    collector = CollectorProcess(tmp_path / "cf", port, certificates)
    rng = random.Random(9)
    number = 0
    one = link_to(port, certificates.agency_sha256, spool, certificates.client())
    collector.start()
    try:
        async with running(one):
            for _ in range(5):
                connections = one.counters.connections
                await until(lambda before=connections: one.state is LinkState.UP or one.counters.connections > before)
                wanted = one.counters.delivered + rng.randint(50, 400)
                while one.counters.delivered < wanted:
                    if spool.queued > 1000:  # within the spool's bound
                        await trio.sleep(0.001)
                        continue
                    for _ in range(rng.randint(1, 20)):
                        number += 1
                        await send(one, message(number))
                collector.kill()
                collector.start()
            await until(lambda: balanced(one))
    finally:
        collector.kill()
    events = collector.journalled()
    assert [number_of(event.octets) for event in events if isinstance(event, Data)] == list(range(1, number + 1))
    assert not [event for event in events if isinstance(event, Loss)]
    assert one.counters.delivered == number


async def test_mediator_and_collector_killed_by_turns(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        collector = CollectorProcess(tmp_path / "cf", r.port, r.house.certificates)
        collector.start()
        try:
            order = r.house.order(r.port)
            xid = xid_of(order)
            number = 0
            for turn in range(4):
                assert await r.ask(x1.ActivateTask(request=order)) == x1.Ok()
                for _ in range(30):
                    number += 1
                    await r.tap.send(r.tap.pdus(xid, call(f"call-{number}-"), number))
                # All PDUs are the mediator's now; most are still on their way to the agency.
                await r.report_where(lambda found: found["tracker"]["pdus"] == 120)
                if turn % 2:
                    collector.kill()
                    collector.start()
                await r.crash()
                await r.start()
            assert await r.ask(x1.ActivateTask(request=order)) == x1.Ok()
            await r.report_where(lambda found: found["links"][0]["queued"] == 0)
        finally:
            collector.kill()
    events = collector.journalled()
    decoded = [decode(event.octets) for event in events if isinstance(event, Data)]
    calls = [(one.call, one.message) for one in decoded if one.message != "surveillanceStatus"]
    assert calls == [(f"call-{n}-", name) for n in range(1, number + 1) for name in MESSAGES_OF_A_CALL]
    assert len(decoded) == len(events)  # no loss was reported


async def test_a_full_disk_under_the_mediator_is_a_reported_loss_and_heals(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    async with rig(tmp_path, settings="[delivery]\nspool_mib = 1\n") as r:
        # Room for one segment and not for a second; the mediator's own files lie elsewhere.
        disk = r.house.path / "spool" / "AGENCY"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=900k,mode=777", "tmpfs", str(disk)]
        if subprocess.run(mount, check=False).returncode:
            pytest.skip("cannot mount a tmpfs here")
        try:
            order = r.house.order(r.port)
            xid = xid_of(order)
            assert await r.ask(x1.ActivateTask(request=order)) == x1.Ok()
            number = 0
            while not (report := await r.report())["links"][0]["spool"]["lost"]:
                for _ in range(50):
                    number += 1
                    await r.tap.send(r.tap.pdus(xid, call(f"call-{number}"), number))
                assert number < 5000
            assert report["links"][0]["commits"]["failed_spares"]
            assert report["links"][0]["queued"] == report["links"][0]["spool"]["received"]
            async with r.collector.running(r.port):
                await r.report_where(lambda now: now["links"][0]["queued"] == 0)
                await r.tap.send(r.tap.pdus(xid, call("after"), number + 1))
                await until(lambda: decode(r.collector.messages[-1].octets).call == "after")
                report = await r.report_where(lambda now: now["links"][0]["queued"] == 0)
            (found,) = report["links"]
            lost = sum(found["spool"]["lost"].values())
            assert lost == found["counters"]["reported_lost"] == sum(loss.count for loss in r.collector.losses)
            assert found["spool"]["received"] == found["counters"]["delivered"] + lost == 4 * (number + 1) + 1
            assert len(r.collector.messages) == found["counters"]["delivered"]
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)


async def test_a_receiver_that_cannot_store_acknowledges_nothing_and_heals(
    tmp_path: Path, spool: Spool, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mediation.collection.journal import Journal

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


# -- octets that nobody should send ------------------------------------------------------------------------------------


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
    with trio.fail_after(LIMIT_S):
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


async def test_sigterm_saves_everything_and_ends_in_good_order(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        order = r.house.order(r.port)
        assert await r.ask(x1.ActivateTask(request=order)) == x1.Ok()
        await r.tap.send(r.tap.pdus(xid_of(order), call("call-1"), 1))
        await r.report_where(lambda found: found["links"][0]["queued"] == 5)
        assert await r.process.end(signal.SIGTERM) == 0
        await r.tap.hang_up()
        await r.start()
        assert await r.ask(x1.ActivateTask(request=order)) == x1.Ok()
        async with r.collector.running(r.port):
            await until(lambda: len(r.collector.messages) == 6)
