"""A running access process for tests: its site, its connections, and the frames of a subject's call."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from mediation.access import calls
from mediation.core.case import Act, TaskRequest
from mediation.core.interface import x1, x2
from mediation.runtime import forgetting, sockets
from tests import vault
from tests.access import frames as make
from tests.access.conftest import Wire
from tests.core import authority, founding

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
        self.calls = calls.anonymous()  # as the parent of a site keeps it
        self.environment = forgetting.ENVIRONMENT  # as it gives it, which spares the process a second beginning

    def order(self, **changes: Any) -> TaskRequest:
        facts = {
            "issued_s": self.now_s - 60, "not_before_s": self.now_s - 100, "not_after_s": self.now_s + 3600, **changes,
        }  # fmt: skip
        return authority.good(ledger=self.ledger, **facts)

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
                    stdout=log, stderr=log, check=False, pass_fds=[self.calls],
                    env={**os.environ, **self.environment, "NOTIFY_SOCKET": name, calls.FD: str(self.calls)},
                    task_status=task_status,
                )
            )  # fmt: skip
            with trio.fail_after(60):
                assert await notify.recv(100) == b"READY=1", self.log.read_text()
        self.x1 = await sockets.connect(self.folder / "run", "iap.x1")
        self.lines = x1.Lines()
        await self.connect_x2()

    async def connect_x2(self) -> None:
        self.x2 = await sockets.connect(self.folder / "run", "iap.x2")
        self.framer = x2.Framer()
        with trio.fail_after(60):
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
        with trio.fail_after(60):
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
        with trio.fail_after(60):
            while len(found) < count:
                octets = await self.x2.receive_some(65536)
                assert octets
                found += self.framer.feed(octets)
        assert len(found) == count
        return found

    async def drained(self) -> dict[str, int]:
        """Until every frame that the kernel passed on was walked; then the walker's counters."""
        with trio.fail_after(60):
            while True:
                tap = (await self.report())["taps"][0]
                passed = sum(value for name, value in tap["filter"].items() if name.startswith("passed_"))
                if tap["frames"]["frames"] == passed:
                    return tap["frames"]  # type: ignore[no-any-return]
                await trio.sleep(0.005)


def write_site(folder: Path, wire: Wire, *, accept: bool = True, more: str = "") -> None:
    """`more` is TOML text of further tables."""
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
{more}"""
    )
    founding.write(folder / "keys", *founding.of_trust(authority.trust()))
    (folder / "keys" / "ledger.pub").write_text(f"{authority.SIGNER.verifier}\n")
    vault.furnish(folder)


@asynccontextmanager
async def running(
    folder: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch, *, accept: bool = True, more: str = "",
    by_itself: bool = False,
) -> AsyncIterator[Access]:  # fmt: skip
    """`by_itself`: nobody has set anything for the process that it can set itself."""
    monkeypatch.setattr(authority, "NOW_S", int(time.time()))
    write_site(folder, wire, accept=accept, more=more)
    access = Access(folder, wire)
    if by_itself:
        access.environment = {}
    async with trio.open_nursery() as nursery:
        access.nursery = nursery
        await access.start()
        try:
            yield access
        finally:
            await access.stop()


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
