"""X2 and X3 of third parties' points over mutual TLS 1.3: who is heard, what of it is believed, what is lost."""

from __future__ import annotations

import contextlib
import ssl
import struct
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import trio
import trustme

from mediation.core.errors import ConfigurationError
from mediation.core.interface import x1, x2
from mediation.core.interface.x2 import Direction, PayloadFormat, Pdu, PduType, Role
from mediation.delivery import interception_point
from mediation.delivery.interception_point import HANDSHAKES, InterceptionPoints
from mediation.runtime import config
from mediation.runtime.tls import Channel
from tests.delivery.house import MESSAGES_OF_A_CALL, House, call, xid_of
from tests.delivery.links import free_port, until
from tests.delivery.rig import Rig, arrived, names
from tests.delivery.support import Certificates

POINT = "core-1"
XID = bytes(range(16))


def pdu(number: int, **changes: Any) -> Pdu:
    facts: dict[str, Any] = {
        "type": PduType.X2, "payload_format": PayloadFormat.SIP, "direction": Direction.FROM_TARGET, "xid": XID,
        "correlation": 7, "payload": b"OPTIONS", "stamp_ns": time.time_ns(), "sequence": number,
        "interception_point": "what it calls itself", "error_us": 3, "disciplined": True, "role": Role.CALLED,
        **changes,
    }  # fmt: skip
    return Pdu(**facts)


def foreign(octets: bytes) -> bytes:
    """With a proprietary attribute of somebody else's, as long as it likes."""
    head = x2.HEADER.unpack_from(octets)
    attribute = struct.pack("!HH", 4, 5) + b"other"
    header = x2.HEADER.pack(head[0], head[1], head[2] + len(attribute), *head[3:])
    return header + octets[40 : head[2]] + attribute + octets[head[2] :]


class Site:
    """The points of a site, and what came in at them."""

    def __init__(self, folder: Path) -> None:
        self.certificates = Certificates(folder)
        self.pin = self.certificates.issue("point")
        for source, target in (
            ("agency.pem", "x2-server.pem"),
            ("agency.key", "x2-server.key"),
            ("ca.pem", "x2-ca.pem"),
        ):
            (folder / target).write_bytes((folder / source).read_bytes())
        self.port = free_port()
        self.calls: list[Pdu] = []
        self.content: list[Pdu] = []
        point = config.InterceptionPoint(name=POINT, listen="127.0.0.1", port=self.port, certificate_sha256=self.pin)
        self.window = (0, 1 << 62)
        self.points = InterceptionPoints((point,), folder, self.calls.extend, self.content.extend)
        self.points.judge_by(self.task)

    def task(self, xid: bytes) -> Any:
        not_before_ns, not_after_ns = self.window
        return SimpleNamespace(not_before_ns=not_before_ns, not_after_ns=not_after_ns) if xid == XID else None

    def counted(self) -> dict[str, int]:
        (found,) = self.points.report()
        return {name: value for name, value in found.items() if value and name not in ("name", "octets")}

    async def connect(self, name: str = "point", **how: Any) -> Channel:
        return await Channel.connect("127.0.0.1", self.port, self.certificates.client(name, **how))


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    made = Site(tmp_path)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.points.run)
            yield made
            nursery.cancel_scope.cancel()
    made.points.close()


async def test_calls_and_content_come_in_under_the_configured_name(site: Site) -> None:
    channel = await site.connect()
    packet = pdu(1, type=PduType.X3, payload_format=PayloadFormat.IPV4, payload=b"\x45" + bytes(30))
    stream = x2.encode(pdu(1)) + foreign(x2.encode(pdu(2))) + x2.encode(packet) + x2.encode(pdu(3))
    for at in range(0, len(stream), 37):
        await channel.send(stream[at : at + 37])
    await until(lambda: len(site.calls) == 3 and len(site.content) == 1)
    for found in (*site.calls, *site.content):
        assert found.interception_point == POINT
        # What only its own attribute could say is not believed.
        assert (found.error_us, found.disciplined, found.role) == (x2.UNKNOWN_ERROR_US, False, Role.UNKNOWN)
    assert site.content[0].payload == packet.payload
    assert site.counted() == {"connected": True, "connections": 1, "x2": 3, "x3": 1}
    channel.close()


async def test_what_was_captured_outside_of_the_window_is_refused_by_its_stamp(site: Site) -> None:
    """It may come late: a point of interception that had to wait for us sends what it kept."""
    now = time.time_ns()
    site.window = (now - 10, now)
    channel = await site.connect()
    packet = {"type": PduType.X3, "payload_format": PayloadFormat.IPV4, "payload": b"\x45" + bytes(30)}
    for number, stamp_ns in enumerate((now - 11, now - 10, now - 1, now)):
        await channel.send(
            x2.encode(pdu(number, stamp_ns=stamp_ns)) + x2.encode(pdu(number, stamp_ns=stamp_ns, **packet))
        )
    await channel.send(x2.encode(pdu(4, stamp_ns=now, xid=bytes(16))))  # the task table's to judge
    await until(lambda: len(site.calls) == 3)
    assert [each.stamp_ns for each in site.calls] == [now - 10, now - 1, now]
    assert [each.stamp_ns for each in site.content] == [now - 10, now - 1]
    assert site.counted()["outside_window"] == 4
    channel.close()


async def test_what_has_no_stamp_has_the_time_of_its_arrival(site: Site) -> None:
    """In 1970 the call model would end the call at once."""
    channel, before = await site.connect(), time.time_ns()
    await channel.send(x2.encode(pdu(1, stamp_ns=0)))
    await until(lambda: len(site.calls) == 1)
    assert before <= site.calls[0].stamp_ns <= time.time_ns()
    assert site.counted()["unstamped"] == 1
    channel.close()


async def test_a_keep_alive_is_answered_with_its_number(site: Site) -> None:
    channel = await site.connect()
    await channel.send(x2.encode(pdu(77, type=PduType.KEEPALIVE, payload=b"")))
    framer, found = x2.Framer(), []
    while not found:
        found = framer.feed(await channel.receive())
    assert (found[0].type, found[0].sequence) == (PduType.KEEPALIVE_ACK, 77)
    assert site.calls == []
    channel.close()


async def test_nobody_but_the_pinned_certificate_is_heard(site: Site) -> None:
    site.certificates.issue("stranger")
    channel = await site.connect("stranger")
    with contextlib.suppress(OSError):
        await channel.send(x2.encode(pdu(1)))
        assert await channel.receive() == b""
    channel.close()
    await until(lambda: site.counted().get("refused_certificate") == 1)
    assert site.calls == []


def _of_another_authority(site: Site) -> ssl.SSLContext:
    other = trustme.CA()
    site.certificates.issue("elsewhere", other)
    return site.certificates.client("elsewhere")


def _without_certificate(site: Site) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(site.certificates.folder / "ca.pem")
    made.check_hostname = False
    return made


def _of_an_older_version(site: Site) -> ssl.SSLContext:
    made = site.certificates.client("point")
    made.minimum_version = made.maximum_version = ssl.TLSVersion.TLSv1_2
    return made


@pytest.mark.parametrize("context", [_of_another_authority, _without_certificate, _of_an_older_version])
async def test_what_is_not_mutual_tls_1_3_is_refused(site: Site, context: Callable[[Site], ssl.SSLContext]) -> None:
    with contextlib.suppress(OSError):  # a TLS 1.3 client learns of it only when it reads
        channel = await Channel.connect("127.0.0.1", site.port, context(site))
        await channel.send(x2.encode(pdu(1)))
        assert await channel.receive() == b""
    await until(lambda: site.counted().get("refused_handshake") == 1)
    assert site.calls == []


async def test_the_newest_connection_wins(site: Site) -> None:
    first = await site.connect()
    await first.send(x2.encode(pdu(1)))
    await until(lambda: len(site.calls) == 1)
    second = await site.connect()
    await second.send(x2.encode(pdu(9)))
    await until(lambda: len(site.calls) == 2)
    with contextlib.suppress(OSError):
        assert await first.receive() == b""
    assert site.counted() == {"connected": True, "connections": 2, "replaced": 1, "x2": 2}
    second.close()
    await until(lambda: "connected" not in site.counted())


async def test_gaps_are_counted_for_each_task_and_kind(site: Site) -> None:
    channel = await site.connect()
    other = b"\x11" * 16
    sent = [pdu(1), pdu(2), pdu(5), pdu(4, xid=other), pdu(5, xid=other), pdu(9, type=PduType.X3), pdu(1), pdu(2)]
    await channel.send(b"".join(map(x2.encode, sent)))
    await until(lambda: len(site.calls) == 7)
    assert site.counted()["missing"] == 2
    channel.close()


async def test_a_peer_that_numbers_badly_does_not_fill_the_log(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gap was a line, at the rate of the line."""
    said: list[int] = []
    (point,) = site.points._points
    point._log = SimpleNamespace(error=lambda _, count, **__: said.append(count))
    now_s = [100.0]
    monkeypatch.setattr(interception_point, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    for number in range(0, 200, 2):
        point._number(pdu(number))
    assert said == [1] and point.counters.missing == 99
    now_s[0] += interception_point.SAY_EVERY_S
    point._number(pdu(202))
    assert said == [1, 98 + 3] and point.counters.missing == sum(said)


async def test_what_was_whole_before_a_bad_octet_counts_and_then_the_connection_ends(site: Site) -> None:
    channel = await site.connect()
    await channel.send(x2.encode(pdu(1)) + b"\xff" * 40)
    with contextlib.suppress(OSError):
        assert await channel.receive() == b""
    await until(lambda: "connected" not in site.counted())
    assert len(site.calls) == 1
    assert site.counted()["malformed"] == 1
    again = await site.connect()
    await again.send(x2.encode(pdu(2)))
    await until(lambda: len(site.calls) == 2)
    again.close()


async def test_who_does_not_shake_hands_does_not_shut_others_out_for_long(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mediation.delivery.interception_point.HANDSHAKE_S", 0.2)
    idle = [await trio.open_tcp_stream("127.0.0.1", site.port) for _ in range(HANDSHAKES + 2)]
    await until(lambda: site.counted().get("refused_busy") == 2)
    await until(lambda: site.counted().get("refused_handshake") == HANDSHAKES)
    channel = await site.connect()
    await channel.send(x2.encode(pdu(1)))
    await until(lambda: len(site.calls) == 1)
    for stream in idle:
        await stream.aclose()
    channel.close()


def test_without_its_keys_it_does_not_start(tmp_path: Path) -> None:
    point = config.InterceptionPoint(name=POINT, listen="127.0.0.1", port=free_port(), certificate_sha256="0" * 64)
    with pytest.raises(ConfigurationError, match=r"x2-server\.pem"):
        InterceptionPoints((point,), tmp_path, lambda _: None, lambda _: None)
    assert InterceptionPoints((), tmp_path, lambda _: None, lambda _: None).report() == []


def house(path: Path) -> tuple[House, int]:
    """A house with one third party's point."""
    made, port = House(path), free_port()
    pin = made.certificates.issue("point")
    with (path / "config.toml").open("a") as file:
        file.write(
            '\n[delivery]\ninterface = "lo"\n'
            f'\n[[interception_point]]\nname = "{POINT}"\nlisten = "127.0.0.1"\nport = {port}\n'
            f'certificate_sha256 = "{pin}"\n'
        )
    for source, target in (("agency.pem", "x2-server.pem"), ("agency.key", "x2-server.key"), ("ca.pem", "x2-ca.pem")):
        (path / "delivery" / target).write_bytes((path / "certificates" / source).read_bytes())
    made.site = config.load(path)
    return made, port


@pytest.mark.parametrize("correlation", [5, 0])
async def test_a_call_seen_by_a_third_party_arrives_and_its_role_is_found(tmp_path: Path, correlation: int) -> None:
    made, port = house(tmp_path)
    r = Rig(made, free_port())
    with trio.fail_after(60):
        await r.start()
        try:
            async with r.collector.running(r.port):
                order = made.order(r.port)
                assert await r.ask(x1.ActivateTask(id=1, request=order)) == x1.Ok(id=1)
                await arrived(r.collector, 2)  # a status for each access point
                channel = await Channel.connect("127.0.0.1", port, made.certificates.client("point"))
                for number, payload in enumerate(call("third"), 1):
                    answer = payload.startswith(b"SIP/2.0")
                    facts = {
                        "xid": xid_of(order), "payload": payload, "correlation": correlation,
                        "direction": Direction.UNKNOWN if correlation else (
                            Direction.TO_TARGET if answer else Direction.FROM_TARGET),
                    }  # fmt: skip
                    await channel.send(foreign(x2.encode(pdu(number, **facts))))
                strange = msgspec.structs.replace(pdu(1), xid=b"\x66" * 16)
                await channel.send(x2.encode(strange))
                await arrived(r.collector, 2 + len(MESSAGES_OF_A_CALL))
                assert tuple(names(r.collector)[2:]) == MESSAGES_OF_A_CALL
                report = await r.report_where(lambda found: found["tracker"]["refused_unknown"] == 1)
                (point,) = report["interception_points"]
                assert (point["name"], point["connected"], point["x2"]) == (POINT, True, 5)
                channel.close()
        finally:
            with trio.CancelScope(shield=True):
                await r.process.end()
                await r.tap.close()
    last = r.collector.messages[-1]
    assert (last.error_us, last.disciplined) == (0xFFFFFFFF, False)
    assert POINT.encode() in last.octets
