"""Processes killed on the way to the agency: is anything lost without a report, is anything there twice?"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from mediation.collection.decoder import decode
from mediation.core.case import Destination
from mediation.core.interface import record, x1
from mediation.core.interface.link import Data, Loss, Sent
from mediation.delivery.links import _short
from mediation.delivery.sender import LinkState
from mediation.delivery.spool import Spool
from tests import vault
from tests.delivery.house import MESSAGES_OF_A_CALL, call, xid_of
from tests.delivery.links import balanced, free_port, link_to, running, send, until
from tests.delivery.rig import arrived, calls_of, names, rig
from tests.delivery.support import Certificates, message, number_of

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
            found += record.scan(
                octets, record.Clear(start.epoch), start.sequence, at=record.SEGMENT_HEADER_OCTETS
            ).events
        return found


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
        async with running(one, limit_s=120):
            for _ in range(4):
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
        destination = Destination(host="127.0.0.1", port=r.port, certificate_sha256=r.house.certificates.agency_sha256)
        disk = r.house.path / "spool" / vault.derived().name("spool", f"AGENCY {_short(destination)}")
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


async def test_kill_9_in_mid_stream_loses_and_repeats_nothing_that_was_spooled(tmp_path: Path) -> None:
    """The tap resends nothing: what the mediator had taken is delivered once, by this process or the next."""
    async with rig(tmp_path) as r, r.collector.running(r.port):
        order = r.house.order(r.port)
        xid = xid_of(order)
        number = 0
        for _ in range(4):
            assert await r.ask(x1.ActivateTask(request=order)) == x1.Ok()
            for _ in range(40):
                number += 1
                await r.tap.send(r.tap.pdus(xid, call(f"call-{number}"), number))
            await until(lambda number=number: f"call-{number - 20}" in "".join(calls_of(r.collector)[-200:]))
            await r.crash()
            await r.start()
        assert await r.ask(x1.ActivateTask(request=order)) == x1.Ok()
        await r.tap.send(r.tap.pdus(xid, call("last"), number + 1))
        await until(lambda: "last" in calls_of(r.collector)[-1])
    sequences = [received.sequence for received in r.collector.messages]
    assert sequences == list(range(1, len(sequences) + 1))
    assert not r.collector.losses
    seen = [(decode(m.octets).message, str(decode(m.octets).fields)) for m in r.collector.messages]
    calls = [entry for entry in seen if entry[0] != "surveillanceStatus"]
    assert len(set(calls)) == len(calls)


async def test_kill_9_while_the_collector_is_away(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        order = r.house.order(r.port)
        xid = xid_of(order)
        assert await r.ask(x1.ActivateTask(request=order)) == x1.Ok()
        for number in range(1, 51):
            await r.tap.send(r.tap.pdus(xid, call(f"call-{number}"), number))
        await r.report_where(lambda found: found["links"][0]["queued"] == 201)
        await r.crash()
        await r.start()
        assert (await r.report())["stranded_spools"] == 1  # no live order names its destination yet
        assert await r.ask(x1.ActivateTask(request=order)) == x1.Ok()
        assert (await r.report())["stranded_spools"] == 0
        async with r.collector.running(r.port):
            await arrived(r.collector, 202)
    assert names(r.collector) == ["surveillanceStatus", *MESSAGES_OF_A_CALL * 50, "surveillanceStatus"]
    assert [received.sequence for received in r.collector.messages] == list(range(1, 203))


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
