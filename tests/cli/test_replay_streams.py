"""`replay` of captures whose signalling is in TCP connections, on any port, and in tunnels."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from mediation.cli.demo.media import write_pcap
from tests.access import frames as make
from tests.cli.test_replay import CALL, Site
from tests.delivery.house import call

PHONE, PROXY, OUTER = "192.0.2.1", "192.0.2.2", ("203.0.113.1", "203.0.113.2")
NS = 1_700_000_000_000_000_000


def connection(name: str, port: int) -> list[bytes]:
    """IP packets of a connection that carries a call of the subject, each message in two segments."""
    numbers = {PHONE: 1000, PROXY: 5000}
    packets = []

    def send(sender: str, payload: bytes, flags: int = make.ACK) -> None:
        receiver, ports = (PROXY, (40000, port)) if sender == PHONE else (PHONE, (port, 40000))
        segment = make.tcp(sender, receiver, *ports, payload, sequence=numbers[sender], flags=flags)
        numbers[sender] += len(payload) + bool(flags & make.SYN)
        packets.append(make.ipv4(sender, receiver, segment, protocol=6))

    send(PHONE, b"", make.SYN)
    send(PROXY, b"", make.SYN | make.ACK)
    for message in call(name):
        sender = PROXY if message.startswith(b"SIP/2.0") else PHONE
        send(sender, message[:150])
        send(sender, message[150:])
    return packets


def in_gtp(packet: bytes) -> bytes:
    datagram = make.udp(*OUTER, 2152, 2152, struct.pack("!BBHI", 0x30, 255, len(packet), 9) + packet)
    return make.ipv4(*OUTER, datagram)


@pytest.mark.parametrize(("port", "tunnel"), [(5060, False), (50601, False), (5060, True)])
def test_a_call_over_tcp(tmp_path: Path, port: int, tunnel: bool) -> None:
    site = Site(tmp_path / "site")
    site.order("CASE-7", "tel:+12125550100")
    packets = connection("over-tcp", port)
    frames = [make.ethernet(in_gtp(packet) if tunnel else packet) for packet in packets]
    write_pcap(tmp_path / "tcp.pcap", [(NS + i * 1_000_000, frame) for i, frame in enumerate(frames)])
    lines, _ = site.replay(tmp_path / "tcp.pcap")
    assert [line["message"] for line in lines] == CALL
    assert {line["call"] for line in lines} == {"over-tcp"}
