"""The tap on a real wire: what the locked filter passes, what it drops, and that every frame is counted somewhere."""

from __future__ import annotations

import errno
import socket
import struct
import subprocess
import time
from pathlib import Path

import pytest

from mediation.access import _linux, handover, opener
from mediation.access._walker import RingWalker, filter_counters
from mediation.access.socket_filter import FILTER_COUNTERS, SocketFilter
from mediation.core.errors import ConfigurationError, LocalProtocolError
from mediation.runtime.config import Iap, Site, load, write_default
from tests.access import frames as make
from tests.access.conftest import Wire, ip
from tests.access.matching import matcher

pytestmark = pytest.mark.root

A4, B4 = "192.0.2.1", "198.51.100.2"
A6, B6 = "2001:db8::1", "2001:db8:ffff::2"
SO_DETACH_FILTER, SO_ATTACH_FILTER = 27, 26


class Tap:
    """An opened tap and its walker."""

    def __init__(self, wire: Wire, **settings: object) -> None:
        self.iap = Iap(name="tap", interface=wire.far, namespace=wire.namespace, **{"ring_mib": 1, **settings})  # type: ignore[arg-type]
        self.described, self.socket, self.filter = opener.open_tap(self.iap)
        self.walker = RingWalker(
            matcher(), 0, self.iap.ports, self.socket.fileno(), self.described.frame_size,
            self.described.frame_count, self.filter.media_maps,
        )  # fmt: skip

    def drain(self) -> dict[str, int]:
        """veth delivers in the sender's system call, so what was sent is in the ring (or was dropped) by now."""
        self.walker.drain(time.time_ns())
        return {name: value for name, value in self.walker.counters().items() if value and name != "octets"}

    def filtered(self) -> dict[str, int]:
        values = filter_counters(self.filter.counters, len(FILTER_COUNTERS), _linux.possible_processors())
        return {name: value for name, value in zip(FILTER_COUNTERS, values, strict=True) if value}


def datagram4(dport: int = 5060, payload: bytes = b"x" * 100) -> bytes:
    return make.ethernet(make.ipv4(A4, B4, make.udp(A4, B4, 40000, dport, payload)))


def settled(tap: Tap, frames: int) -> dict[str, int]:
    """Until the kernel has passed `frames` on (softirq may run a moment after the sender), 2 s at most."""
    deadline = time.monotonic() + 2
    while sum(tap.filtered().values()) < frames and time.monotonic() < deadline:
        time.sleep(0.001)
    return tap.drain()


SIGNALLING = [
    datagram4(),
    make.ethernet(make.ipv4(A4, B4, make.udp(A4, B4, 5060, 40000, b"x"), options=b"\x94\x04\0\0")),
    make.ethernet(make.ipv4(A4, B4, make.udp(A4, B4, 5060, 5060, b"x")), tags=(0x8100,)),
    make.ethernet(make.ipv4(A4, B4, make.udp(A4, B4, 5060, 5060, b"x")), tags=(0x88A8, 0x8100)),
    make.ethernet(make.ipv4(A4, B4, make.udp(A4, B4, 5060, 5060, b"x")), pppoe=True),
    make.ethernet(make.ipv6(A6, B6, make.udp(A6, B6, 5060, 5060, b"x")), tags=(0x8100,), pppoe=True),
    make.ethernet(make.ipv6(A6, B6, make.udp(A6, B6, 5060, 5060, b"x"))),
    make.ethernet(
        make.ipv6(
            A6, B6, make.udp(A6, B6, 5060, 5060, b"x"),
            extensions=((0, b"\0" + bytes(6)), (60, b"\1" + bytes(14)), (43, b"\0" + bytes(6))),
        )
    ),
]  # fmt: skip

OTHERS = {
    "dropped_not_ip": make.ethernet(datagram4()[14:])[:12] + b"\x08\x06" + bytes(28),
    "dropped_not_udp": make.ethernet(make.ipv4(A4, B4, struct.pack("!HH", 5060, 5060) + bytes(16), protocol=132)),
    "dropped_other_connection": make.ethernet(make.ipv4(A4, B4, make.tcp(A4, B4, 443, 50600), protocol=6)),
    "dropped_malformed": make.ethernet(b"\x43" + make.ipv4(A4, B4, make.udp(A4, B4, 5060, 5060, b"x"))[1:]),
    "dropped_other_flow": datagram4(16384, b"\x80\x00" + bytes(170)),
    "dropped_fragment": make.fragments(A4, B4, make.udp(A4, B4, 16384, 16386, bytes(2000)), 1000, ident=3)[1],
    "dropped_extension_headers": make.ethernet(
        make.ipv6(A6, B6, make.udp(A6, B6, 5060, 5060, b"x"), extensions=((60, b"\0" + bytes(6)),) * 9)
    ),
}


def test_signalling_in_every_encapsulation_enters_the_ring(wire: Wire) -> None:
    tap = Tap(wire)
    wire.send(*SIGNALLING)
    found = settled(tap, len(SIGNALLING))
    assert tap.filtered() == {"passed_signalling": len(SIGNALLING)}
    assert found == {
        "frames": len(SIGNALLING), "to_signalling": len(SIGNALLING), "kernel_packets": len(SIGNALLING),
        "stamp_software": len(SIGNALLING),
    }  # fmt: skip


def test_nothing_else_enters_the_ring(wire: Wire) -> None:
    tap = Tap(wire)
    wire.send(*OTHERS.values())
    found = settled(tap, len(OTHERS))
    assert tap.filtered() == dict.fromkeys(OTHERS, 1)
    assert found == {}  # the kernel counts zero packets for this socket: not one reached it


def test_both_directions_are_seen(wire: Wire) -> None:
    tap = Tap(wire)
    ip("-n", wire.namespace, "addr", "add", "192.0.2.9/24", "dev", wire.far)
    ip("-n", wire.namespace, "neigh", "add", "192.0.2.1", "lladdr", "02:00:00:00:00:01", "dev", wire.far)
    subprocess.run(
        ["ip", "netns", "exec", wire.namespace, "bash", "-c", "echo -n INVITE >/dev/udp/192.0.2.1/5060"], check=True
    )
    assert settled(tap, 1)["to_signalling"] == 1


def test_the_stamp_is_the_kernels(wire: Wire) -> None:
    tap = Tap(wire)
    assert tap.described.stamps == "software"  # veth has no clock
    wire.send(datagram4())
    assert settled(tap, 1)["stamp_software"] == 1


def test_fragments_follow_their_first_one(wire: Wire) -> None:
    tap = Tap(wire)
    signalling = make.fragments(A4, B4, make.udp(A4, B4, 5060, 5060, bytes(3000)), 1000, ident=1)
    media = make.fragments(A4, B4, make.udp(A4, B4, 16384, 16386, bytes(3000)), 1000, ident=2)
    six = make.fragments(A6, B6, make.udp(A6, B6, 5060, 5060, bytes(3000)), 1000, ident=70000)
    wire.send(*signalling, *media, *six)
    found = settled(tap, len(signalling + media + six))
    assert tap.filtered() == {
        "passed_signalling": 2, "passed_fragment": 6, "dropped_other_flow": 1, "dropped_fragment": 3,
    }  # fmt: skip
    assert found["to_signalling"] == 2
    assert found["datagrams_reassembled"] == 2


def test_fragments_before_their_first_one_are_dropped_and_counted(wire: Wire) -> None:
    tap = Tap(wire)
    wire.send(*reversed(make.fragments(A4, B4, make.udp(A4, B4, 5060, 5060, bytes(3000)), 1000)))
    found = settled(tap, 4)
    assert tap.filtered() == {"passed_signalling": 1, "dropped_fragment": 3}
    assert "to_signalling" not in found


def test_bad_checksums_are_no_events(wire: Wire) -> None:
    tap = Tap(wire)
    good = datagram4()
    wire.send(good[:-1] + b"y", good[:24] + b"\0\0" + good[26:], good)
    found = settled(tap, 3)
    assert (found["udp_checksum"], found["ip_checksum"], found["to_signalling"]) == (1, 1, 1)


CONTENT, CONTROL = struct.pack("=QQQ", 0, 0, 1), struct.pack("=QQQ", 0, 1 << 9, 0)  # values of media_flows


def rtp(payload_type: int, dport: int = 20000) -> bytes:
    body = make.udp(A4, B4, 30000, dport, bytes([0x80, payload_type]) + bytes(14))
    return make.ethernet(make.ipv4(A4, B4, body))


def test_a_media_flow_passes_its_payload_types_only(wire: Wire) -> None:
    tap = Tap(wire)
    flows, ports = tap.filter.media_maps
    key = struct.pack("=BB2s16s", 4, 0, struct.pack("!H", 20000), socket.inet_aton(B4))
    wire.send(rtp(101))
    settled(tap, 1)
    _linux.update(ports, struct.pack("=I", 20000 >> 6), struct.pack("=Q", 1 << (20000 & 63)))
    _linux.update(flows, key, struct.pack("=QQQ", 1 << 13, 1 << (101 - 64), 0))
    wire.send(rtp(101), rtp(101 | 128), rtp(13), rtp(0), rtp(100), rtp(101, dport=20002))
    wire.send(make.fragments(A4, B4, make.udp(A4, B4, 30000, 20000, b"\x80\x65" + bytes(2000)), 1000)[0])
    found = settled(tap, 8)
    assert tap.filtered() == {"passed_media": 3, "dropped_payload_type": 3, "dropped_other_flow": 2}
    assert found["to_media"] == 3
    _linux.delete(flows, key)
    wire.send(rtp(101))
    assert settled(tap, 9)["to_media"] == 3


@pytest.mark.parametrize("family", [4, 6])
def test_a_sender_of_content_passes_wherever_it_sends(wire: Wire, family: int) -> None:
    """From its address and port alone, and only while the port's bit is set; IPv6 takes the filter's long way."""
    tap = Tap(wire)
    here, there = (A4, B4) if family == 4 else (A6, B6)
    packed = socket.inet_pton(socket.AF_INET if family == 4 else socket.AF_INET6, here)
    flows, ports = tap.filter.media_maps
    word, bit = struct.pack("=I", 30000 >> 6), struct.pack("=Q", 1 << (30000 & 63))

    def packet(source: str, sport: int, dport: int) -> bytes:
        body = make.udp(source, there, sport, dport, b"\x80\x00" + bytes(170))
        return make.ethernet(make.ipv4(source, there, body) if family == 4 else make.ipv6(source, there, body))

    key = struct.pack("=BB2s16s", family, 1, struct.pack("!H", 30000), packed)
    _linux.update(flows, key, CONTENT)
    wire.send(packet(here, 30000, 20000))
    settled(tap, 1)
    assert tap.filtered() == {"dropped_other_flow": 1}
    _linux.update(ports, word, bit)
    wire.send(packet(here, 30000, 20000), packet(here, 30000, 20002), packet(here, 30001, 20000))
    wire.send(packet(here, 20000, 30000), packet(there, 30000, 20000))
    settled(tap, 6)
    assert tap.filtered() == {"dropped_other_flow": 4, "passed_media": 2}
    _linux.update(flows, key, CONTROL)
    wire.send(packet(here, 30000, 20000))
    settled(tap, 7)
    assert tap.filtered()["dropped_payload_type"] == 1  # control packets alone


def test_a_full_ring_is_counted(wire: Wire) -> None:
    tap = Tap(wire)  # 1 MiB: 512 frames
    wire.send(*[datagram4()] * 600)
    found = settled(tap, 600)
    assert found["to_signalling"] == 512
    assert found["kernel_drops"] == 600 - 512
    assert found["kernel_packets"] == 600
    wire.send(datagram4())  # and the ring goes on
    assert settled(tap, 601)["to_signalling"] == 513


def test_no_frame_enters_before_the_filter(wire: Wire) -> None:
    """Other traffic flows while the tap is opened; not one frame of it is ever in the ring."""
    ip("-n", wire.namespace, "link", "set", wire.far, "up")
    noise = "import socket,sys\ns=socket.socket(socket.AF_PACKET,socket.SOCK_RAW,0)\ns.bind((sys.argv[1],0))\n"
    noise += "f=bytes.fromhex(sys.argv[2])\nprint(flush=True)\nwhile True: s.send(f)\n"
    process = subprocess.Popen(
        ["python3", "-c", noise, wire.near, OTHERS["dropped_other_flow"].hex()], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        taps = [Tap(wire) for _ in range(10)]
        settled(taps[-1], 1)
    finally:
        process.kill()
        process.wait()
    assert all(tap.filtered().get("dropped_other_flow") for tap in taps)  # the noise was there
    assert [tap.drain() for tap in taps] == [{}] * 10


def test_the_filter_is_locked_and_its_ports_are_frozen(wire: Wire) -> None:
    tap = Tap(wire)
    for option in (SO_DETACH_FILTER, SO_ATTACH_FILTER):
        with pytest.raises(PermissionError):
            tap.socket.setsockopt(socket.SOL_SOCKET, option, struct.pack("HxxxxxxP", 0, 0))
    # The only descriptors that are handed on are the media map's and the counters'; the counters cannot reach a port.
    frozen = SocketFilter([5060])
    with pytest.raises(OSError, match="Operation not permitted"):
        _linux.update(frozen.ports, struct.pack("=I", 0), struct.pack("=Q", 1))


def test_promiscuous_mode_ends_with_the_socket(wire: Wire) -> None:
    def promiscuity() -> str:
        shown = subprocess.run(
            ["ip", "-n", wire.namespace, "-d", "link", "show", wire.far], check=True, capture_output=True, text=True
        ).stdout
        return shown.split("promiscuity ")[1].split()[0]

    tap = Tap(wire)
    assert promiscuity() == "1"
    tap.socket.close()
    del tap  # the mapping holds the socket too
    assert promiscuity() == "0"
    quiet = Tap(wire, promiscuous=False)
    assert promiscuity() == "0"
    quiet.socket.close()


@pytest.mark.parametrize(
    ("mtu", "mib", "frame", "count"), [(1500, 64, 2048, 32768), (9000, 64, 16384, 4096), (65536, 1, 16384, 64)]
)
def test_geometry(mtu: int, mib: int, frame: int, count: int) -> None:
    assert opener.geometry(mtu, mib) == (frame, count)


def site(tmp_path: Path, tables: str) -> Site:
    write_default(tmp_path, lab=True, iaps=tables)
    return load(tmp_path)


def test_the_opener_hands_everything_over(wire: Wire, tmp_path: Path) -> None:
    table = '[[iap]]\nname = "{}"\ninterface = "{}"\nnamespace = "{}"\nring_mib = 1\n'
    made = site(
        tmp_path, table.format("one", wire.far, wire.namespace) + table.format("two", wire.near, "") + "[access]\n"
        "hold_cpu_latency = true\n",
    )  # fmt: skip
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        opener.main(made, theirs)
        handed, descriptors = handover.receive(ours)
    assert [(tap.name, tap.interface, tap.stamps) for tap in handed.taps] == [
        ("one", wire.far, "software"), ("two", wire.near, "software"),
    ]  # fmt: skip
    assert len(descriptors) == 2 * 2 + 2 + 1
    for descriptor in (descriptors[0], descriptors[2]):
        assert socket.socket(fileno=descriptor).family == socket.AF_PACKET
    assert filter_counters(descriptors[1], len(handed.filter_counters), handed.processors)
    # Both filters share one media map: what the call's signalling crossed need not be what its media crosses.
    key = struct.pack("=BB2s16s", 4, 0, b"\0\1", bytes(16))
    _linux.update(descriptors[4], key, bytes(24))
    assert Path(f"/proc/self/fd/{descriptors[6]}").readlink() == Path("/dev/cpu_dma_latency")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"namespace": "no-such-namespace"}, "network namespace no-such-namespace: No such file"),
        ({"interface": "no-such-if"}, "no interface no-such-if"),
    ],
)
def test_the_opener_names_the_step_that_failed(wire: Wire, settings: dict[str, str], reason: str) -> None:
    iap = Iap(**{"name": "tap", "interface": wire.far, "namespace": wire.namespace, **settings})  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=reason):
        opener.open_tap(iap)
    assert wire.near in [name for _, name in socket.if_nameindex()]  # and this thread is back in its own namespace


def test_an_opener_that_dies_is_noticed() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    theirs.close()
    with ours, pytest.raises(LocalProtocolError, match="ended without handing over"):
        handover.receive(ours)


def test_errno_of_a_hardware_stamp_that_is_not_there(wire: Wire) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as probe, pytest.raises(OSError) as caught:
        _linux.stamp_in_hardware(probe.fileno(), wire.near)
    assert caught.value.errno in (errno.EOPNOTSUPP, errno.ERANGE)
