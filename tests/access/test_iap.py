"""The access process as a whole: its opener, its seal, X1 in, frames on a wire, X2 out."""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from mediation.core import x1, x2
from mediation.core.case import Act, TaskRequest
from mediation.runtime import sockets
from tests.access import frames as make
from tests.access.conftest import Wire, ip
from tests.core import authority

pytestmark = pytest.mark.root

PROXY, PHONE = "192.0.2.1", "192.0.2.7"
MEDIA = "198.51.100.9"  # where the other party wants to receive
SUBJECT = "+12125550100"


class Access:
    """A running access process, and the two connections to it."""

    def __init__(self, folder: Path, wire: Wire) -> None:
        self.folder = folder
        self.wire = wire
        self.now_s = authority.NOW_S
        self.ledger = authority.Ledger()
        self.process: trio.Process | None = None
        self.nursery: trio.Nursery
        self.framer = x2.Framer()
        self.log = folder / "iap.log"

    def order(self, **changes: Any) -> TaskRequest:
        facts = {
            "issued_s": self.now_s - 60, "not_before_s": self.now_s - 100, "not_after_s": self.now_s + 3600, **changes,
        }  # fmt: skip
        return authority.good(**facts)

    def with_digits(self, order: TaskRequest, *, on: bool = True) -> TaskRequest:
        """The same order with the officer's further act."""
        command = authority.sign_command(
            order.carrier, act=Act.DDE, sequence=len(order.commands) + 1, dde=on, nonce="09" * 16
        )
        return authority.request(order.legal, order.carrier, *order.commands, command)

    async def start(self) -> None:
        name = f"@iap-test-{os.getpid()}-{id(self)}-{time.monotonic_ns()}"
        with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, self.log.open("ab") as log:
            await notify.bind("\0" + name[1:])
            self.process = await self.nursery.start(
                lambda task_status: trio.run_process(
                    [sys.executable, "-m", "mediation.cli.main", "function", "iap", "--site", str(self.folder)],
                    stdout=log, stderr=log, check=False, env={**os.environ, "NOTIFY_SOCKET": name},
                    task_status=task_status,
                )
            )  # fmt: skip
            with trio.fail_after(20):
                assert await notify.recv(100) == b"READY=1", self.log.read_text()
        self.x1 = await sockets.connect(self.folder / "run", "iap.x1")
        self.lines = x1.Lines()
        await self.connect_x2()

    async def connect_x2(self) -> None:
        self.x2 = await sockets.connect(self.folder / "run", "iap.x2")
        self.framer = x2.Framer()
        with trio.fail_after(5):
            while not (await self.report())["reader"]["x2_connected"]:
                await trio.sleep(0.005)

    async def stop(self) -> None:
        await self.x1.aclose()
        await self.x2.aclose()
        assert self.process is not None
        self.process.terminate()
        await self.process.wait()

    async def ask(self, request: x1.Request) -> x1.Answer:
        await self.x1.send_all(x1.encode(request))
        with trio.fail_after(5):
            while True:
                for line in self.lines.feed(await self.x1.receive_some(1 << 20)):
                    return x1.decode_answer(line)

    async def report(self) -> dict[str, Any]:
        answer = await self.ask(x1.ReportStatus(id=9))
        assert isinstance(answer, x1.Ok)
        assert answer.report is not None
        return answer.report

    async def pdus(self, count: int) -> list[x2.Pdu]:
        found: list[x2.Pdu] = []
        with trio.fail_after(5):
            while len(found) < count:
                octets = await self.x2.receive_some(65536)
                assert octets
                found += self.framer.feed(octets)
        assert len(found) == count
        return found

    async def drained(self) -> dict[str, int]:
        """Until every frame that the kernel passed on was walked; then the walker's counters."""
        with trio.fail_after(5):
            while True:
                tap = (await self.report())["taps"][0]
                passed = sum(value for name, value in tap["filter"].items() if name.startswith("passed_"))
                if tap["frames"]["frames"] == passed:
                    return tap["frames"]  # type: ignore[no-any-return]
                await trio.sleep(0.005)


def write_site(folder: Path, wire: Wire, *, accept: bool = True) -> None:
    for name in ("keys", "run", "log"):
        (folder / name).mkdir()
    (folder / "config.toml").write_text(
        f"""name = "test"
[[iap]]
name = "tap"
interface = "{wire.far}"
namespace = "{wire.namespace}"
ring_mib = 1
[clock]
accept_undisciplined = {str(accept).lower()}
[access]
hold_cpu_latency = true
realtime_priority = 5
"""
    )
    for ring in authority.rings():
        (folder / "keys" / f"{ring.role}.json").write_bytes(msgspec.json.encode(ring))
    (folder / "keys" / "ledger.pub").write_text(f"{authority.SIGNER.verifier}\n")


@asynccontextmanager
async def running(
    folder: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch, *, accept: bool = True
) -> AsyncIterator[Access]:
    monkeypatch.setattr(authority, "NOW_S", int(time.time()))
    write_site(folder, wire, accept=accept)
    access = Access(folder, wire)
    async with trio.open_nursery() as nursery:
        access.nursery = nursery
        await access.start()
        try:
            yield access
        finally:
            await access.stop()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "site"
    made.mkdir()
    return made


def sip(text: str, *, source: str = PHONE, destination: str = PROXY) -> bytes:
    payload = text.replace("\n", "\r\n").encode()
    return make.ethernet(make.ipv4(source, destination, make.udp(source, destination, 5060, 5060, payload)))


def invite(number: str = SUBJECT, call_id: str = "one") -> bytes:
    return sip(
        f"INVITE sip:+13125550111@example.net SIP/2.0\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bK1\n"
        f"From: <sip:{number}@example.net>;tag=a\nTo: <sip:+13125550111@example.net>\nCall-ID: {call_id}\n"
        f"CSeq: 1 INVITE\nContact: <sip:{number}@{PHONE}>\nContent-Type: application/sdp\nContent-Length: 133\n\n"
        f"v=0\no=- 1 1 IN IP4 192.0.2.7\ns=-\nc=IN IP4 192.0.2.7\nt=0 0\nm=audio 30000 RTP/AVP 0 101\n"
        "a=rtpmap:101 telephone-event/8000\n"
    )


def answer(call_id: str = "one") -> bytes:
    return sip(
        f"SIP/2.0 200 OK\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bK1\nFrom: <sip:{SUBJECT}@example.net>;tag=a\n"
        f"To: <sip:+13125550111@example.net>;tag=b\nCall-ID: {call_id}\nCSeq: 1 INVITE\n"
        f"Contact: <sip:+13125550111@{PROXY}>\nContent-Type: application/sdp\nContent-Length: 138\n\n"
        f"v=0\no=- 1 1 IN IP4 198.51.100.9\ns=-\nc=IN IP4 {MEDIA}\nt=0 0\nm=audio 40000 RTP/AVP 0 101\n"
        "a=rtpmap:101 telephone-event/8000\n",
        source=PROXY, destination=PHONE,
    )  # fmt: skip


def rtp(payload_type: int, source: str = PHONE, destination: str = MEDIA) -> bytes:
    octets = bytes([0x80, payload_type]) + bytes(10) + b"\x05\x8a\x03\x20"
    sport, dport = (30000, 40000) if source == PHONE else (40000, 30000)
    return make.ethernet(make.ipv4(source, destination, make.udp(source, destination, sport, dport, octets)))


async def test_a_message_of_a_subject_becomes_a_pdu_and_no_other_does(
    folder: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(folder, wire, monkeypatch) as access:
        wire.send(invite())  # before the order: nobody's
        assert (await access.drained())["to_signalling"] == 1
        assert await access.ask(x1.ActivateTask(id=1, request=access.order())) == x1.Ok(id=1)
        before = time.time_ns()
        wire.send(invite("+13105550199", "two"), invite(call_id="three"), answer("three"))
        first, second = await access.pdus(2)
        assert b"Call-ID: three" in first.payload
        assert second.payload.startswith(b"SIP/2.0 200 OK")
        assert first.correlation == second.correlation
        assert (first.source, first.destination) == ((PHONE, 5060), (PROXY, 5060))
        assert first.role == x2.Role.CALLING
        assert before <= first.stamp_ns <= second.stamp_ns <= time.time_ns()
        report = await access.report()
        assert report["tasks"] == 1
        assert first.disciplined == report["clock"]["disciplined"]
        assert first.error_us >= report["clock"]["error_ns"] // 1_000_000 or first.error_us == 0xFFFFFFFF
        # Nothing of any subject is in what the process writes or tells.
        told = access.log.read_text() + repr(report)
        assert not re.search(r"12125550100|13125550111|CASE-1", told)
        status = Path(f"/proc/{access.process.pid}/status").read_text()  # type: ignore[union-attr]
        assert re.search(r"^CapEff:\t0+$", status, re.M)
        assert re.search(r"^Seccomp:\t2$", status, re.M)
        threads = Path(f"/proc/{access.process.pid}/task").iterdir()  # type: ignore[union-attr]
        policies = sorted(os.sched_getscheduler(int(thread.name)) for thread in threads)
        assert policies == [os.SCHED_OTHER, os.SCHED_FIFO]  # the reader alone is real-time


async def test_digits_pass_only_while_they_are_ordered(
    folder: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(folder, wire, monkeypatch) as access:
        order = access.order()
        await access.ask(x1.ActivateTask(id=1, request=order))
        wire.send(invite(), answer())
        await access.pdus(2)
        wire.send(rtp(101))
        ordered = access.with_digits(order)
        assert await access.ask(x1.ModifyTask(id=2, request=ordered)) == x1.Ok(id=2)
        with trio.fail_after(5):
            while not (await access.drained())["flows_added"]:
                await trio.sleep(0.005)
        wire.send(rtp(101), rtp(0), rtp(101, source=MEDIA, destination=PHONE))
        (digit,) = await access.pdus(1)
        assert digit.payload_format == x2.PayloadFormat.RTP
        assert digit.payload[1] == 101
        filtered = (await access.report())["taps"][0]["filter"]
        assert filtered["passed_media"] == 1  # voice, and the other party's, did not leave the kernel
        assert filtered["dropped_payload_type"] == 1
        off = access.with_digits(ordered, on=False)
        assert await access.ask(x1.ModifyTask(id=3, request=off)) == x1.Ok(id=3)
        with trio.fail_after(5):
            while not (await access.drained())["flows_removed"]:
                await trio.sleep(0.005)
        wire.send(rtp(101), invite(call_id="next"))
        (following,) = await access.pdus(1)
        assert following.payload_format == x2.PayloadFormat.SIP
        assert (await access.report())["taps"][0]["filter"]["passed_media"] == 1


async def test_a_window_ends_to_the_second_in_mid_call(
    folder: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(folder, wire, monkeypatch) as access:
        end_s = int(time.time()) + 3
        order = access.order(not_after_s=end_s)
        assert await access.ask(x1.ActivateTask(id=1, request=order)) == x1.Ok(id=1)
        wire.send(invite())
        await access.pdus(1)
        while time.time() < end_s - 0.2:
            await trio.sleep(0.01)
        assert (await access.report())["tasks"] == 1
        while time.time() < end_s:
            await trio.sleep(0.001)
        wire.send(answer())
        assert (await access.drained())["to_signalling"] == 2
        report = await access.report()
        assert report["tasks"] == 0
        assert report["matcher"]["pdus"] == 1
        assert isinstance(await access.ask(x1.ActivateTask(id=2, request=order)), x1.Refused)


async def test_a_stopped_task_is_never_armed_again(folder: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(folder, wire, monkeypatch) as access:
        order = access.order()
        await access.ask(x1.ActivateTask(id=1, request=order))
        wire.send(invite())
        (pdu,) = await access.pdus(1)
        assert await access.ask(x1.DeactivateTask(id=2, xid=pdu.xid.hex())) == x1.Ok(id=2)
        wire.send(answer())
        assert (await access.drained())["to_signalling"] == 2
        assert (await access.report())["matcher"]["pdus"] == 1
        refused = x1.Refused(id=3, check="deactivated")
        assert await access.ask(x1.ActivateTask(id=3, request=order)) == refused
        await access.stop()
        await access.start()
        assert await access.ask(x1.ActivateTask(id=3, request=order)) == refused


@pytest.mark.parametrize(
    ("spoil", "check"),
    [
        (lambda order: msgspec.structs.replace(order, proofs=()), "proof-count"),
        (lambda order: msgspec.structs.replace(order, commands=(), proofs=()), "activation"),
        (lambda order: msgspec.structs.replace(order, carrier=order.legal), "token-type"),
    ],
)
async def test_the_access_function_judges_for_itself(
    folder: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch, spoil: Any, check: str
) -> None:
    async with running(folder, wire, monkeypatch) as access:
        answered = await access.ask(x1.ActivateTask(id=1, request=spoil(access.order())))
        assert isinstance(answered, x1.Refused)
        assert answered.check == check
        wire.send(invite())
        await access.drained()
        report = await access.report()
        assert (report["tasks"], report["matcher"]["pdus"]) == (0, 0)


async def test_a_production_site_needs_a_clock(folder: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(folder, wire, monkeypatch, accept=False) as access:
        clock = (await access.report())["clock"]
        answered = await access.ask(x1.ActivateTask(id=1, request=access.order()))
        if clock["disciplined"] and clock["error_ns"] <= 200_000_000:
            assert answered == x1.Ok(id=1)
        else:
            assert answered == x1.Refused(id=1, check="clock")
            assert clock["alarm"]


async def test_other_access_points_are_not_this_ones(folder: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(folder, wire, monkeypatch) as access:
        order = access.order()
        carrier = authority.sign_carrier(order.legal, iaps=("elsewhere",))
        elsewhere = authority.request(order.legal, carrier, authority.sign_command(carrier))
        assert await access.ask(x1.ActivateTask(id=1, request=elsewhere)) == x1.Refused(id=1, check="iap-unknown")


async def test_what_nobody_reads_waits_and_a_new_mediator_gets_it(
    folder: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(folder, wire, monkeypatch) as access:
        await access.ask(x1.ActivateTask(id=1, request=access.order()))
        second = await sockets.connect(folder / "run", "iap.x2")
        with trio.fail_after(5):
            assert await second.receive_some(1) == b""  # one reader at a time
        assert (await access.report())["reader"]["x2_refused"] == 1
        await access.x2.aclose()
        with trio.fail_after(5):
            while (await access.report())["reader"]["x2_connected"]:
                await trio.sleep(0.005)
        wire.send(invite(), answer())
        await access.drained()
        assert (await access.report())["reader"]["x2_waiting"] > 0
        await access.connect_x2()
        first, _ = await access.pdus(2)
        assert first.payload.startswith(b"INVITE")


async def test_a_peer_that_speaks_nonsense_loses_its_connection_only(
    folder: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(folder, wire, monkeypatch) as access:
        for nonsense in (b"nonsense\n", b'{"type":"ReportStatus","id":"x"}\n', os.urandom(100) + b"\n"):
            stream = await sockets.connect(folder / "run", "iap.x1")
            await stream.send_all(nonsense)
            with trio.fail_after(5):
                assert await stream.receive_some(100) == b""
        assert (await access.report())["x1_malformed"] == 3


async def test_a_mediator_that_dies_with_unread_octets_is_counted(
    folder: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(folder, wire, monkeypatch) as access:
        await access.ask(x1.ActivateTask(id=1, request=access.order()))
        wire.send(invite())
        with trio.fail_after(5):
            while not (await access.report())["reader"]["x2_octets"]:
                await trio.sleep(0.005)
        await access.x2.aclose()
        with trio.fail_after(5):
            while (await access.report())["reader"]["x2_connected"]:
                await trio.sleep(0.005)
        reader = (await access.report())["reader"]
        assert (reader["x2_disconnects"], reader["x2_torn"]) == (1, 1)


async def test_a_link_that_goes_down_and_comes_back(folder: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(folder, wire, monkeypatch) as access:
        await access.ask(x1.ActivateTask(id=1, request=access.order()))
        ip("-n", wire.namespace, "link", "set", wire.far, "down")
        with trio.fail_after(5):
            while not (await access.report())["reader"]["ring_errors"]:
                await trio.sleep(0.005)
        rounds = (await access.report())["reader"]["rounds"]
        await trio.sleep(0.3)
        assert (await access.report())["reader"]["rounds"] - rounds < 20  # it waits, it does not spin
        ip("-n", wire.namespace, "link", "set", wire.far, "up")
        with trio.fail_after(5):
            while not wire.carrier():
                await trio.sleep(0.005)
        wire.send(invite())
        (pdu,) = await access.pdus(1)
        assert pdu.payload.startswith(b"INVITE")
        with trio.fail_after(5):
            while "ring_errors" not in access.log.read_text():  # said at the next tick
                await trio.sleep(0.01)
