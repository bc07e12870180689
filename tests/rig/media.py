"""Media of ladders, and what became of it: RTP and RTCP that can all be told apart, and the delivered copies.

`Delivered` listens where the agency takes PacketCable content (a UDP port of the loopback) with a packet socket of its
own, and at the tapped bridge with another: the two are compared octet by octet, from the IP header on.
"""

from __future__ import annotations

import itertools
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from mediation.cli.demo.network import SPAN
from mediation.runtime import config
from tests.rig.exchange import Exchange, Floor
from tests.rig.kamailio import WS_PORT
from tests.rig.ladder import SIP_PORT, End
from tests.rig.wire import Datagram, Recorder, datagram_socket

LIMIT_S = 30.0
CCC_HEADER = 12  # CCC identifier and NTP time before the intercepted IP packet (PacketCable)
SIGNALLING = frozenset({SIP_PORT, WS_PORT})
SSRC = itertools.count(0x7000)
RECEIVER_REPORT = struct.Struct("!BBHI")


class Voice:
    """One party's media socket: sends packets that no other packet equals."""

    def __init__(self, floor: Floor, name: str, end: End, port: int = 6000) -> None:
        namespace = floor.exchange.network.namespace(name)
        self.address, self.port = end.address, port
        self.rtp = datagram_socket(namespace, end.address, port, limit_s=LIMIT_S)
        self.rtcp = datagram_socket(namespace, end.address, port + 1, limit_s=LIMIT_S)
        floor.closing(self.rtp.close)
        floor.closing(self.rtcp.close)
        self._ssrc, self._sequence = next(SSRC), 0

    def say(self, other: Voice, packets: int = 5, *, reports: int = 1) -> None:
        """RTP (PCMU, 20 ms) and RTCP to another's sockets; awaited there, one by one."""
        for _ in range(packets):
            self._sequence += 1
            header = struct.pack("!BBHII", 0x80, 0, self._sequence & 0xFFFF, self._sequence * 160, self._ssrc)
            packet = header + struct.pack("!II", self._ssrc, self._sequence) * 20
            self.rtp.sendto(packet, (other.address, other.port))
            assert other.rtp.recv(2048) == packet
        for _ in range(reports):
            self._sequence += 1
            report = RECEIVER_REPORT.pack(0x80, 201, 1, self._ssrc) + struct.pack("!I", self._sequence)
            self.rtcp.sendto(report, (other.address, other.port + 1))
            assert other.rtcp.recv(2048) == report


def talk(one: Voice, other: Voice, packets: int = 5) -> None:
    """Both speak in turn."""
    one.say(other, packets)
    other.say(one, packets)


class Delivered:
    """What the agency got, beside what passed the tapped bridge at the same time."""

    def __init__(self, exchange: Exchange, recorder: Recorder, passed: Recorder) -> None:
        self._exchange, self._recorder, self._passed = exchange, recorder, passed

    def until(self, count: int) -> bool:
        """Waits until so many packets were delivered; whether they were."""
        return self._recorder.until(count, LIMIT_S)

    def packets(self, count: int) -> Counter[bytes]:
        """The delivered IP packets, when `count` are there; more would show, since the fence is behind them."""
        self._recorder.until(count, LIMIT_S)
        self._exchange.fence()
        return Counter(each.payload[CCC_HEADER:] for each in self._recorder.kept())

    def captured(
        self, wanted: Callable[[Datagram], bool] = lambda _: True, delivered: Counter[bytes] | None = None
    ) -> Counter[bytes]:
        """The IP packets of media that passed the bridge; those of `delivered` are awaited in the capture, which may
        come to them later than the agency."""
        for packet in (delivered or Counter()) - Counter(each.packet for each in self._passed.kept() if is_media(each)):
            self.passed_until(lambda each, packet=packet: each.packet == packet)  # type: ignore[misc]
        return Counter(each.packet for each in self._passed.kept() if is_media(each) and wanted(each))

    def passed_until(self, wanted: Callable[[Datagram], bool]) -> bool:
        """Waits until such a datagram passed the bridge; whether it did."""
        return self._passed.until_any(wanted, LIMIT_S)

    def during(self, call_id: str) -> list[Datagram]:
        """What passed between a call's first message and its first BYE, in the order of the wire."""
        found: list[Datagram] = []
        name, up = call_id.encode(), False
        for each in self._passed.kept():
            if not is_media(each) and name in each.payload:
                up = True
                if each.payload.startswith(b"BYE "):
                    break
            elif up and is_media(each):
                found.append(each)
        return found

    def channels(self) -> set[str]:
        """The CCC identifiers that stood on the delivered packets, as ccOpen writes them."""
        return {each.payload[:4].hex().upper() for each in self._recorder.kept()}


def is_media(each: Datagram) -> bool:
    """Neither end is one that speaks SIP."""
    return not SIGNALLING & {each.source[1], each.destination[1]}


@contextmanager
def listening(port: int) -> Iterator[None]:
    """Somebody takes the datagrams, unless the collection function does: an agency that is there refuses none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taking:
        with suppress(OSError):
            taking.bind(("127.0.0.1", port))
        yield


@contextmanager
def delivered(exchange: Exchange) -> Iterator[Delivered]:
    """Records inside the context."""
    port = config.load(exchange.site.path).lab_agency.content_port
    with (
        listening(port),
        Recorder("", "lo", lambda each: each.destination[1] == port) as recorder,
        Recorder(exchange.network.namespace("switch"), SPAN, lambda _: True) as passed,
    ):
        yield Delivered(exchange, recorder, passed)
