"""Tunnels: the same rules hold for the packet inside, in the walker and in the kernel's filter alike."""

from __future__ import annotations

import struct

import pytest

from tests.access import frames as make
from tests.ext.streams import Sender, Tap, sip

A4, B4, A6, B6 = "192.0.2.1", "198.51.100.2", "2001:db8::1", "2001:db8:ffff::2"
OUTER4, OUTER6 = ("203.0.113.1", "203.0.113.2"), ("2001:db8:1::1", "2001:db8:1::2")
IPIP, IPV6, GRE = 4, 41, 47
ALL = ("ip", "gre", "vxlan", "gtp")
INNER4 = make.ipv4(A4, B4, make.udp(A4, B4, 5060, 5060, sip(1)))
INNER6 = make.ipv6(A6, B6, make.udp(A6, B6, 5060, 5060, sip(1)))


def outer(protocol: int, body: bytes, *, six: bool = False, **header: object) -> bytes:
    if six:
        return make.ipv6(*OUTER6, body, protocol=protocol)
    return make.ipv4(*OUTER4, body, protocol=protocol, **header)  # type: ignore[arg-type]


def gre(inner: bytes, *, flags: int = 0, kind: int | None = None) -> bytes:
    kind = kind if kind is not None else (0x0800 if inner[0] >> 4 == 4 else 0x86DD)
    optional = b"\0" * 4 * sum(bool(flags & bit) for bit in (0x8000, 0x2000, 0x1000))
    return struct.pack("!HH", flags, kind) + optional + inner


def vxlan(inner: bytes, *, port: int = 4789, flags: int = 8) -> bytes:
    return make.udp(*OUTER4, 50000, port, struct.pack("!B3xI", flags, 77 << 8) + make.ethernet(inner))


def gtp(inner: bytes, *, flags: int = 0x30, kind: int = 255, extensions: bytes = b"") -> bytes:
    optional = b"\0\0\0" + extensions if flags & 7 else b""
    header = struct.pack("!BBHI", flags, kind, len(optional) + len(inner), 5)
    return make.udp(*OUTER4, 2152, 2152, header + optional + inner)


EXTENSION = b"\x85" + b"\x01\0\0\xc0" + b"\x01\0\0\0"  # two extension headers, then the packet
THROUGH = {
    "ip in ip": outer(IPIP, INNER4),
    "ip6 in ip": outer(IPV6, INNER6),
    "ip in ip6": outer(IPIP, INNER4, six=True),
    "gre": outer(GRE, gre(INNER4)),
    "gre with everything": outer(GRE, gre(INNER6, flags=0xB000)),
    "gre bridged": outer(GRE, gre(make.ethernet(INNER4, tags=(0x8100,)), flags=0x2000, kind=0x6558)),
    "vxlan": outer(17, vxlan(INNER4)),
    "vxlan of ip6": outer(17, vxlan(INNER6)),
    "gtp": outer(17, gtp(INNER4)),
    "gtp with a sequence": outer(17, gtp(INNER4, flags=0x32, extensions=b"\0")),
    "gtp with extensions": outer(17, gtp(INNER6, flags=0x34, extensions=EXTENSION)),
    "ip in gre": outer(GRE, gre(outer(IPIP, INNER4))),
    "tcp in gtp": outer(17, gtp(Sender(isn=9).segment(sip(1))[14:])),
}  # fmt: skip
NOT_THROUGH = {
    "three deep": outer(IPIP, outer(IPIP, outer(IPIP, INNER4))),
    "gre version 1": outer(GRE, gre(INNER4, flags=1)),
    "gre with routing": outer(GRE, gre(INNER4, flags=0x4000)),
    "gre cut short": outer(GRE, b"\xb0\0\x08\0"),
    "vxlan without its flag": outer(17, vxlan(INNER4, flags=0)),
    "vxlan elsewhere": outer(17, vxlan(INNER4, port=4790)),
    "gtp version 2": outer(17, gtp(INNER4, flags=0x50)),
    "gtp echo": outer(17, gtp(b"", kind=1)),
    "gtp with an empty extension": outer(17, gtp(INNER4, flags=0x34, extensions=b"\x85\0")),
    "gtp with endless extensions": outer(17, gtp(INNER4, flags=0x34, extensions=b"\x85" + b"\x01\0\0\x85" * 5)),
    "nothing inside": outer(IPIP, b""),
}  # fmt: skip


@pytest.mark.parametrize("name", THROUGH)
def test_looked_through(name: str) -> None:
    tap = Tap(tunnels=ALL)
    tap.feed(make.ethernet(THROUGH[name]))
    (pdu,) = tap.pdus()
    assert pdu.payload == sip(1)
    assert pdu.source[0] in (A4, A6, "192.0.2.7")


@pytest.mark.parametrize("name", THROUGH)
def test_only_the_kinds_that_the_site_names(name: str) -> None:
    tap = Tap()
    tap.feed(make.ethernet(THROUGH[name]))
    assert tap.messages() == []
    assert tap.counts("tunnels") == (0,)


@pytest.mark.parametrize("name", NOT_THROUGH)
def test_not_looked_through(name: str) -> None:
    tap = Tap(tunnels=ALL)
    tap.feed(make.ethernet(NOT_THROUGH[name]))
    assert tap.messages() == []
    found = tap.walker.counters()
    assert sum(found[end] for end in ("tunnel_malformed", "not_ip", "not_udp", "to_media", "truncated")) == 1


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_a_tunnel_in_fragments_of_a_message_in_fragments(order: tuple[int, ...]) -> None:
    tap = Tap(tunnels=ALL)
    message = sip(1, body=b"b" * 2000)
    inner = make.fragments(A4, B4, make.udp(A4, B4, 5060, 5060, message), 1400)
    for part, frame in enumerate(inner):
        body = gre(frame[14:])
        outside = [
            make.ethernet(outer(GRE, body[at : at + 480], ident=part + 1, offset=at, more=at + 480 < len(body)))
            for at in range(0, len(body), 480)
        ]
        for index in order if len(outside) == 3 else range(len(outside)):
            tap.feed(outside[index])
    assert tap.messages() == [message]
    assert tap.counts("datagrams_reassembled", "tunnels") == (3, 2)


def test_a_tunnel_whose_fragments_look_like_those_inside() -> None:
    """Same ends, same identification, same protocol: the outer datagram is not taken for the inner one's."""
    tap = Tap(tunnels=ALL)
    first = make.ipv4(A4, B4, b"\x45" + bytes(23), protocol=IPIP, ident=7, more=True)
    for at in range(0, len(first), 24):
        tap.feed(make.ethernet(make.ipv4(A4, B4, first[at : at + 24], protocol=IPIP, ident=7, offset=at,
                                         more=at + 24 < len(first))))  # fmt: skip
    assert tap.messages() == []
    assert tap.counts("tunnels", "datagrams_reassembled") == (1, 1)
