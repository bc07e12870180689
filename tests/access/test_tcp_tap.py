"""Real connections on a real wire through a real tap: TCP as the kernel's stack cuts and puts it together, a WebSocket
on it, tunnels of the kernel's own, and what the filter says of all of them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest

from mediation.access import _linux, opener
from mediation.access._matcher import Matcher
from mediation.access._walker import RingWalker, filter_counters
from mediation.access.socket_filter import FILTER_COUNTERS
from mediation.core.interface.x2 import Framer, Pdu
from mediation.runtime.config import DialPlan, Iap
from tests.access import frames as make
from tests.access.conftest import Wire, ip
from tests.ext.streams import XID, sip
from tests.ext.test_tunnel import NOT_THROUGH, OUTER4, THROUGH, gre, outer
from tests.ext.test_websocket import GET, MASK, SWITCHING, ws

pytestmark = pytest.mark.root

SERVER, CLIENT, PORT = "10.99.0.2", "10.99.0.1", 5060


class Tap:
    def __init__(self, wire: Wire, **settings: object) -> None:
        self.iap = Iap(name="tap", interface=wire.far, namespace=wire.namespace, **{"ring_mib": 1, **settings})  # type: ignore[arg-type]
        described, self.socket, self.filter = opener.open_tap(self.iap)
        self.matcher = Matcher((self.iap,), DialPlan(), live=False)
        self.matcher.add_task(XID, ["tel:+12125550100"], 0, 1 << 62)
        self.walker = RingWalker(
            self.matcher, 0, self.iap.ports, self.socket.fileno(), described.frame_size, described.frame_count,
            self.filter.media_maps,
        )  # fmt: skip
        self.walker.look_through(self.iap.tunnels, self.iap.vxlan_port)
        self.found: list[Pdu] = []

    def drain(self) -> list[bytes]:
        self.walker.drain(time.time_ns())
        octets = self.matcher.take()
        self.found += Framer().feed(octets) if octets else []
        return [pdu.payload for pdu in self.found]

    def until(self, count: int) -> list[bytes]:
        deadline = time.monotonic() + 5
        while len(self.drain()) < count and time.monotonic() < deadline:
            time.sleep(0.001)
        return self.drain()

    def filtered(self) -> dict[str, int]:
        values = filter_counters(self.filter.counters, len(FILTER_COUNTERS), _linux.possible_processors())
        return {name: value for name, value in zip(FILTER_COUNTERS, values, strict=True) if value}


SERVE = """
import socket, sys
listener = socket.create_server(("10.99.0.2", 5060))
print(flush=True)
peer, _ = listener.accept()
seen = 0
while octets := peer.recv(1 << 16):
    seen += len(octets)
    if sys.argv[1]:
        peer.sendall(bytes.fromhex(sys.argv[1]))
        sys.argv[1] = ""
print(seen, flush=True)
"""
SPEAK = """
import socket, sys, time
peer = socket.create_connection(("10.99.0.2", 5060))
for line in sys.stdin:
    peer.sendall(bytes.fromhex(line))
    if sys.argv[1]:
        peer.recv(1 << 16)
        sys.argv[1] = ""
peer.close()
"""


class Ends:
    """A server behind the tap, and a client in a namespace of its own at the near end."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.client = f"{wire.namespace}c"
        ip("netns", "add", self.client)
        ip("link", "set", wire.near, "netns", self.client)
        for namespace, name, address in ((self.client, wire.near, CLIENT), (wire.namespace, wire.far, SERVER)):
            ip("-n", namespace, "addr", "add", f"{address}/24", "dev", name)
            ip("-n", namespace, "link", "set", name, "up")

    def speak(self, sent: list[bytes], answer: bytes = b"") -> int:
        """The client sends each of `sent` at once and closes; octets that the server read."""
        command = ["ip", "netns", "exec", self.wire.namespace, "python3", "-c", SERVE, answer.hex()]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            assert server.stdout.readline() == "\n"
            subprocess.run(
                ["ip", "netns", "exec", self.client, "python3", "-c", SPEAK, answer.hex()], check=True, text=True,
                input="".join(f"{octets.hex()}\n" for octets in sent),
            )  # fmt: skip
            return int(server.stdout.readline())


@pytest.fixture
def ends(wire: Wire) -> Iterator[Ends]:
    made = Ends(wire)
    try:
        yield made
    finally:
        ip("netns", "del", made.client)


def test_sip_over_tcp(wire: Wire, ends: Ends) -> None:
    tap = Tap(wire)
    long = [sip(i, body=b"b" * (i * 3000)) for i in range(1, 20)]  # segments longer than the ring's frames
    octets = [sip(100)[:50], sip(100)[50:] + sip(101), *long]
    seen = ends.speak(octets)
    assert seen == sum(map(len, octets))
    assert tap.until(21) == [sip(100), sip(101), *long]
    counts = tap.walker.counters()
    assert (counts["truncated"], counts["stream_gaps"], counts["stream_resyncs"]) == (0, 0, 0)
    assert counts["streams_opened"] == 2
    assert [name for name in tap.filtered() if name.startswith("passed_")] == ["passed_tcp_signalling"]
    assert tap.found[0].source[0] == CLIENT


def test_a_connection_that_was_up_before_the_tap(wire: Wire, ends: Ends) -> None:
    command = ["ip", "netns", "exec", wire.namespace, "python3", "-c", SERVE, ""]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        server.stdout.readline()
        speak = ["ip", "netns", "exec", ends.client, "python3", "-c", SPEAK, ""]
        with subprocess.Popen(speak, stdin=subprocess.PIPE, text=True) as client:
            assert client.stdin is not None
            first = Tap(wire)
            client.stdin.write(f"{sip(1).hex()}\n")
            client.stdin.flush()
            assert first.until(1) == [sip(1)]
            second = Tap(wire)
            client.stdin.write(f"{sip(2).hex()}\n")
            client.stdin.flush()
            assert second.until(1) == [sip(2)]
            client.stdin.close()
        server.stdout.readline()
    assert second.walker.counters()["streams_joined"] == 1


def test_sip_over_a_websocket(wire: Wire, ends: Ends) -> None:
    tap = Tap(wire)
    frames = [ws(sip(1), mask=MASK), ws(sip(2, body=b"b" * 5000), mask=MASK)]
    ends.speak([GET, *frames], answer=SWITCHING + ws(sip(3)))
    assert sorted(tap.until(3)) == sorted([sip(1), sip(2, body=b"b" * 5000), sip(3)])
    counts = tap.walker.counters()
    assert (counts["websocket_upgrades"], counts["websocket_frames"], counts["stream_resyncs"]) == (2, 3, 0)


def settled(tap: Tap, frames: int) -> dict[str, int]:
    deadline = time.monotonic() + 2
    while sum(tap.filtered().values()) < frames and time.monotonic() < deadline:
        time.sleep(0.001)
    tap.drain()
    return tap.filtered()


@pytest.mark.parametrize("name", THROUGH)
def test_the_filter_looks_through_the_tunnels_that_are_named(wire: Wire, name: str) -> None:
    tap = Tap(wire, tunnels=("ip", "gre", "vxlan", "gtp"))
    wire.send(make.ethernet(THROUGH[name]))
    passed = settled(tap, 1)
    assert passed in ({"passed_signalling": 1}, {"passed_tcp_signalling": 1})
    assert tap.drain() == [sip(1)]


def test_and_nothing_else_in_them(wire: Wire) -> None:
    tap = Tap(wire, tunnels=("ip", "gre", "vxlan", "gtp"))
    stranger = make.ipv4("192.0.2.1", "198.51.100.2", make.udp("192.0.2.1", "198.51.100.2", 20000, 30000, b"\x80" * 40))
    wire.send(*(make.ethernet(packet) for packet in NOT_THROUGH.values()), make.ethernet(outer(47, gre(stranger))))
    found = settled(tap, len(NOT_THROUGH) + 1)
    assert sum(found.values()) == len(NOT_THROUGH) + 1
    assert not any(name.startswith("passed") for name in found)
    assert found["dropped_other_flow"] == 2  # the stranger's, and VXLAN on another port


def test_without_them_the_filter_does_not_look(wire: Wire) -> None:
    tap = Tap(wire)
    wire.send(*(make.ethernet(packet) for packet in THROUGH.values()))
    found = settled(tap, len(THROUGH))
    assert set(found) == {"dropped_not_udp", "dropped_other_flow"}


def test_fragments_of_a_tunnel_follow_their_first_one(wire: Wire) -> None:
    tap = Tap(wire, tunnels=("gre",))
    message = sip(1, body=b"b" * 2500)
    body = gre(make.ipv4("192.0.2.1", "198.51.100.2", make.udp("192.0.2.1", "198.51.100.2", 5060, 5060, message)))
    wire.send(
        *(
            make.ethernet(make.ipv4(*OUTER4, body[at : at + 1400], protocol=47, offset=at, more=at + 1400 < len(body)))
            for at in range(0, len(body), 1400)
        )
    )
    assert settled(tap, 2) == {"passed_signalling": 1, "passed_fragment": 1}
    assert tap.drain() == [message]
