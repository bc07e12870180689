"""HEP3: what a switch sends of itself is matched as if it had been on the wire; whatever is doubtful is counted."""

from __future__ import annotations

import socket
import struct
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediation.access._hep import HepFeed
from mediation.access._matcher import Matcher
from mediation.core.interface.x2 import UNKNOWN_ERROR_US, Framer, Pdu
from mediation.runtime.config import DialPlan, Hep

NOW = 1_700_000_000_123_456_000
MS = 1_000_000
KEY = b"an isolated network"
SO_TIMESTAMPNS = 35
SIP = (
    b"INVITE sip:+13125550111@b.example SIP/2.0\r\nVia: SIP/2.0/TLS 192.0.2.7;branch=z9hG4bK1\r\n"
    b"From: <sip:+12125550100@a.example>;tag=f\r\nTo: <sip:+13125550111@b.example>\r\nCall-ID: hep\r\n"
    b"CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
)


def chunk(kind: int, data: bytes, *, vendor: int = 0, length: int | None = None) -> bytes:
    return struct.pack("!HHH", vendor, kind, 6 + len(data) if length is None else length) + data


def packet(*chunks: bytes, length: int | None = None) -> bytes:
    body = b"".join(chunks)
    return b"HEP3" + struct.pack("!H", 6 + len(body) if length is None else length) + body


def parts(
    *, source: str = "192.0.2.7", destination: str = "192.0.2.1", family: int | None = None, stamp_ns: int = NOW,
    key: bytes = KEY, payload: bytes = SIP, kind: int = 1, protocol: int = 6,
) -> dict[int, bytes]:  # fmt: skip
    a, b = ip_address(source), ip_address(destination)
    six = a.version == 6
    family = family if family is not None else (10 if six else 2)
    return {
        1: chunk(1, bytes([family])),
        2: chunk(2, bytes([protocol])),
        **{3 + 2 * six: chunk(3 + 2 * six, a.packed), 4 + 2 * six: chunk(4 + 2 * six, b.packed)},
        7: chunk(7, struct.pack("!H", 40000)),
        8: chunk(8, struct.pack("!H", 5061)),
        9: chunk(9, struct.pack("!I", stamp_ns // 10**9)),
        10: chunk(10, struct.pack("!I", stamp_ns % 10**9 // 1000)),
        11: chunk(11, bytes([kind])),
        12: chunk(12, struct.pack("!I", 7)),
        14: chunk(14, key),
        17: chunk(17, b"hep@correlation"),
        15: chunk(15, payload),
    }


def good(**facts: object) -> bytes:
    return packet(*parts(**facts).values())  # type: ignore[arg-type]


def changed(number: int, *replacement: bytes) -> bytes:
    made = parts()
    made[number] = b"".join(replacement)
    return packet(*made.values())


class Fed:
    def __init__(self, *, key: bytes = KEY, fd: int = -1) -> None:
        point = Hep(name="sbc", interface="none", listen="192.0.2.40")
        self.matcher = Matcher((point,), DialPlan(), live=False)
        self.matcher.add_task(bytes(16), ["tel:+12125550100"], 0, 1 << 62)
        self.feed = HepFeed(self.matcher, 0, fd, key)
        self.feed.set_stamp_quality(250_000, True)

    def take(self, *datagrams: bytes, arrival_ns: int = NOW + MS) -> list[Pdu]:
        for datagram in datagrams:
            self.feed.feed(datagram, arrival_ns, NOW)
        octets = self.matcher.take()
        return Framer().feed(octets) if octets else []

    def counted(self) -> dict[str, int]:
        found = self.feed.counters()
        ends = sum(value for name, value in found.items() if name not in (
            "hep_packets", "hep_octets", "hep_stamp_implausible", "hep_kernel_drops"))  # fmt: skip
        assert ends == found["hep_packets"]
        return {name: value for name, value in found.items() if value and name not in ("hep_packets", "hep_octets")}


def test_a_message_with_the_addresses_inside() -> None:
    fed = Fed()
    (pdu,) = fed.take(good())
    assert pdu.payload == SIP
    assert (pdu.source, pdu.destination) == (("192.0.2.7", 40000), ("192.0.2.1", 5061))
    assert pdu.interception_point == "sbc"
    assert fed.counted() == {"hep_sip": 1}


@pytest.mark.parametrize("family", [10, 24, 28, 30])
def test_version_6_by_any_machines_number(family: int) -> None:
    (pdu,) = Fed().take(good(source="2001:db8::7", destination="2001:db8::1", family=family))
    assert pdu.source == ("2001:db8::7", 40000)


def test_the_stamp_is_the_senders_where_it_agrees_with_the_arrival() -> None:
    (pdu,) = Fed().take(good())
    assert (pdu.stamp_ns, pdu.error_us, pdu.disciplined) == (NOW, 250 + 100_000, True)


@pytest.mark.parametrize("apart_ns", [-101 * MS, 101 * MS, 10**12])
def test_else_it_is_the_arrival_and_the_error_is_unknown(apart_ns: int) -> None:
    fed = Fed()
    (pdu,) = fed.take(good(stamp_ns=NOW + apart_ns), arrival_ns=NOW)
    assert (pdu.stamp_ns, pdu.error_us) == (NOW, UNKNOWN_ERROR_US)
    assert fed.counted() == {"hep_sip": 1, "hep_stamp_implausible": 1}


def test_no_stamp_or_half_of_one_is_none() -> None:
    for missing in (9, 10):
        fed = Fed()
        (pdu,) = fed.take(changed(missing, b""), arrival_ns=NOW)
        assert (pdu.stamp_ns, pdu.error_us) == (NOW, UNKNOWN_ERROR_US)


@pytest.mark.parametrize("key", [b"", KEY[:-1], KEY + b"x", KEY[:-1] + b"K", b"x" * 200])
def test_another_key_is_refused(key: bytes) -> None:
    fed = Fed()
    assert fed.take(good(key=key), changed(14, b"")) == []
    assert fed.counted() == {"hep_unauthenticated": 2}


def test_without_a_key_of_the_site_none_is_asked_for() -> None:
    fed = Fed(key=b"")
    assert len(fed.take(good(key=b"whatever"), changed(14, b""))) == 2


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b"", "hep_malformed"),
        (b"HEP3\0", "hep_malformed"),
        (b"HEP2" + good()[4:], "hep_malformed"),
        (good() + b"x", "hep_malformed"),
        (good()[:-1], "hep_malformed"),
        (packet(*parts().values(), b"\0\0\0"), "hep_malformed"),
        (packet(*parts().values(), chunk(12, b"", length=5)), "hep_malformed"),
        (packet(*parts().values(), chunk(12, b"1234", length=11)), "hep_malformed"),
        (packet(*parts().values(), chunk(15, SIP)), "hep_malformed"),  # which one is meant?
        (packet(*parts().values(), chunk(3, b"\xc0\0\2\x09")), "hep_malformed"),
        (changed(1, b""), "hep_incomplete"),
        (changed(1, chunk(1, b"\3")), "hep_incomplete"),
        (changed(1, chunk(1, b"\x0a")), "hep_incomplete"),  # IPv6 with IPv4's addresses
        (changed(3, chunk(3, b"\xc0\0\2")), "hep_incomplete"),
        (changed(4, b""), "hep_incomplete"),
        (changed(7, b""), "hep_incomplete"),
        (changed(15, b""), "hep_incomplete"),
        (changed(15, chunk(15, b"")), "hep_incomplete"),
        (changed(15, chunk(16, b"\x78\x9c\x03\0")), "hep_compressed"),
        (changed(11, b""), "hep_other_type"),
        (good(kind=5), "hep_other_type"),
    ],
)
def test_what_is_doubtful_is_counted_and_forgotten(datagram: bytes, reason: str) -> None:
    fed = Fed()
    assert fed.take(datagram) == []
    assert fed.counted() == {reason: 1}


def test_chunks_of_vendors_and_of_later_versions_are_passed_over() -> None:
    extra = (chunk(15, b"not ours", vendor=1), chunk(40, b"new"), chunk(0, b""), chunk(16, b"sngrep's correlation id"))
    assert [pdu.payload for pdu in Fed().take(packet(*extra, *parts().values()))] == [SIP]


def test_a_stranger_leaves_nothing() -> None:
    fed = Fed()
    assert fed.take(good(payload=SIP.replace(b"+12125550100", b"+12125550199"))) == []
    assert fed.matcher.counters()["no_match"] == 1


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_octets_have_an_end(data: st.DataObject) -> None:
    fed = Fed(key=b"")
    octets = bytearray(good())
    for _ in range(data.draw(st.integers(0, 8))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    fed.take(bytes(octets[: data.draw(st.integers(0, len(octets)))]), data.draw(st.binary(max_size=80)))
    fed.counted()


def test_through_a_socket_in_batches_with_the_kernels_stamp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        listener.bind(("127.0.0.1", 0))
        fed = Fed(fd=listener.fileno())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for i in range(100):
                sender.sendto(good(payload=SIP.replace(b"Call-ID: hep", b"Call-ID: %d" % i)), listener.getsockname())
            sender.sendto(b"x" * 65_000, listener.getsockname())
        assert fed.feed.drain(NOW) == 101
        found = fed.take()
        assert len(found) == 100
        assert fed.feed.drain(NOW) == 0
    assert fed.counted() == {"hep_sip": 100, "hep_malformed": 1, "hep_stamp_implausible": 100}
    assert all(pdu.stamp_ns > NOW for pdu in found)  # 2023 is not now: the arrival counts
    assert found[0].stamp_ns <= found[99].stamp_ns < found[0].stamp_ns + 10**9
