"""The walk from a frame to a datagram: link types, IP, extension headers, fragments; every end has its counter."""

from __future__ import annotations

import itertools
import struct

import pytest

from mediation.access._walker import RingWalker, Walker
from tests.access import frames as make
from tests.access.matching import matcher

A4, B4 = "192.0.2.1", "198.51.100.2"
A6, B6 = "2001:db8::1", "2001:db8:ffff::2"
NOW = 1_700_000_000_000_000_000
S = 1_000_000_000
ETHERNET = 1

# Ends of a frame; together with the fragments that were used or wait they are all frames.
ENDS = (
    "to_signalling", "to_media", "to_stream", "link_type_unknown", "link_malformed", "not_ip", "not_udp", "truncated",
    "ip_malformed", "ip_checksum", "extension_headers", "udp_length", "udp_checksum", "other_connection",
    "tcp_malformed", "tcp_checksum", "tunnel_malformed",
)  # fmt: skip
FRAGMENT_ENDS = (
    "fragments_used", "fragment_malformed", "fragment_duplicate", "fragment_overlap", "fragment_table_full",
    "fragment_timed_out",
)  # fmt: skip


@pytest.fixture
def walker() -> Walker:
    return Walker(matcher(), 0, [5060, 5061])


def feed(walker: Walker, frame: bytes, *, link_type: int = ETHERNET, stamp: int = NOW, on_wire: int = 0) -> None:
    walker.feed(frame, link_type, stamp, NOW, on_wire)


def counted(walker: Walker) -> dict[str, int]:
    found = walker.counters()
    # A reassembled datagram ends once, as a datagram; its fragments end as fragments.
    datagrams = sum(found[name] for name in ENDS) - found["datagrams_reassembled"]
    waiting = found["fragments"] - sum(found[name] for name in FRAGMENT_ENDS)
    assert waiting >= 0
    assert found["frames"] == datagrams + found["fragments"]
    return {name: value for name, value in found.items() if value and name not in ("frames", "octets")}


def sip4(payload: bytes = b"x" * 40, **header: object) -> bytes:
    return make.ipv4(A4, B4, make.udp(A4, B4, 5060, 40000, payload), **header)  # type: ignore[arg-type]


def sip6(*extensions: tuple[int, bytes]) -> bytes:
    return make.ipv6(A6, B6, make.udp(A6, B6, 40000, 5061, b"x" * 40), extensions=extensions)


@pytest.mark.parametrize(
    "frame",
    [
        make.ethernet(sip4()),
        make.ethernet(sip4(options=b"\x94\x04\0\0" * 5)),
        make.ethernet(sip4(), tags=(0x8100,)),
        make.ethernet(sip4(), tags=(0x88A8, 0x8100)),
        make.ethernet(sip4(), tags=(0x9100, 0x9100, 0x8100, 0x8100)),
        make.ethernet(sip4(), pppoe=True),
        make.ethernet(sip6(), tags=(0x88A8, 0x8100), pppoe=True),
        make.ethernet(sip6()),
        make.ethernet(sip6((0, b"\0" + bytes(6)), (60, b"\1" + bytes(14)), (43, b"\0" + bytes(6)))),
        make.ethernet(sip6((51, b"\4" + bytes(22)))),
        make.ethernet(sip6(make.fragment_header(9, 0, False))),  # an atomic fragment, RFC 6946
        make.ethernet(sip4()) + bytes(20),  # padding behind the packet
    ],
)
def test_every_encapsulation_leads_to_the_datagram(walker: Walker, frame: bytes) -> None:
    feed(walker, frame)
    assert counted(walker) == {"to_signalling": 1}


@pytest.mark.parametrize(
    ("link_type", "frame"),
    [
        (101, sip4()),
        (101, sip6()),
        (12, sip4()),
        (228, sip4()),
        (229, sip6()),
        (0, struct.pack("<I", 2) + sip4()),
        (0, struct.pack(">I", 2) + sip4()),
        (0, struct.pack("<I", 30) + sip6()),
        (108, struct.pack(">I", 24) + sip6()),
        (113, struct.pack("!HHH8sH", 0, 1, 6, bytes(8), 0x0800) + sip4()),
        (113, struct.pack("!HHH8sH", 0, 1, 6, bytes(8), 0x8100) + struct.pack("!HH", 5, 0x86DD) + sip6()),
        (276, struct.pack("!HHIHBB8s", 0x0800, 0, 3, 1, 0, 6, bytes(8)) + sip4()),
    ],
)
def test_link_types_of_captures(walker: Walker, link_type: int, frame: bytes) -> None:
    feed(walker, frame, link_type=link_type)
    assert counted(walker) == {"to_signalling": 1}


EIGHT = tuple((60, b"\0" + bytes(6)) for _ in range(8))


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", "link_malformed"),
        (make.MAC, "link_malformed"),
        (make.ethernet(sip4(), tags=(0x8100,) * 5), "link_malformed"),
        (make.ethernet(sip4())[:12] + b"\x08\x06" + bytes(28), "not_ip"),
        (make.ethernet(sip4(protocol=132)), "not_udp"),
        (make.ethernet(sip4())[:-1], "truncated"),
        (make.ethernet(sip4())[:20], "truncated"),
        (make.ethernet(b"\x44" + sip4()[1:]), "ip_malformed"),  # header of 16 octets
        (make.ethernet(sip4()[:2] + b"\0\x13" + sip4()[4:]), "ip_malformed"),  # total below the header
        (make.ethernet(make.ipv6(A6, B6, b"")), "ip_malformed"),  # a jumbogram, or nothing
        (make.ethernet(sip6((0, b"\xff" + bytes(6)))), "ip_malformed"),  # an extension beyond the packet
        (make.ethernet(sip6(make.fragment_header(9, 0, True), make.fragment_header(9, 0, True))), "ip_malformed"),
        (make.ethernet(sip6(*EIGHT, (0, b"\0" + bytes(6)))), "extension_headers"),
        (make.ethernet(make.ipv4(A4, B4, b"1234567")), "udp_length"),
        (make.ethernet(make.ipv4(A4, B4, struct.pack("!HHHH", 5060, 5060, 7, 0))), "udp_length"),
        (make.ethernet(make.ipv4(A4, B4, struct.pack("!HHHH", 5060, 5060, 9, 0))), "udp_length"),
    ],
)
def test_what_is_no_datagram_is_counted_by_reason(walker: Walker, frame: bytes, reason: str) -> None:
    feed(walker, frame)
    assert counted(walker) == {reason: 1}


def test_unknown_link_type(walker: Walker) -> None:
    feed(walker, make.ethernet(sip4()), link_type=147)
    assert counted(walker) == {"link_type_unknown": 1}


def test_eight_extension_headers_are_within_the_bound(walker: Walker) -> None:
    feed(walker, make.ethernet(sip6(*EIGHT)))
    assert counted(walker) == {"to_signalling": 1}


def test_other_ports_are_offered_as_media_only(walker: Walker) -> None:
    feed(walker, make.ethernet(make.ipv4(A4, B4, make.udp(A4, B4, 16384, 16386, b"\x80\x65" + bytes(14)))))
    assert counted(walker) == {"to_media": 1}


DATAGRAM4 = make.udp(A4, B4, 5060, 5060, bytes(range(256)) * 10)
DATAGRAM6 = make.udp(A6, B6, 5060, 5060, bytes(range(256)) * 10)
PARTS = make.fragments(A4, B4, DATAGRAM4, 800)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_fragments_in_every_order(walker: Walker, order: tuple[int, ...]) -> None:
    assert len(PARTS) == 4
    for index in order:
        feed(walker, PARTS[index])
    assert counted(walker) == {
        "to_signalling": 1, "fragments": 4, "fragments_used": 4, "datagrams_reassembled": 1,
    }  # fmt: skip


def test_fragments_of_ipv6_and_of_two_datagrams_at_once(walker: Walker) -> None:
    mixed = zip(make.fragments(A6, B6, DATAGRAM6, 800), make.fragments(A6, B6, DATAGRAM6, 800, ident=8), strict=True)
    for first, second in mixed:
        feed(walker, second)
        feed(walker, first)
    assert counted(walker)["to_signalling"] == 2


@pytest.mark.parametrize("kind", [0, 43, 60])
@pytest.mark.parametrize("order", [1, -1])
def test_a_datagram_that_begins_with_extension_headers_is_put_together(walker: Walker, kind: int, order: int) -> None:
    """They are part of what is fragmented (RFC 8200 section 4.5): offsets count from them."""
    whole = bytes([kind, 1]) + bytes(14) + bytes([17, 0]) + bytes(6) + DATAGRAM6
    parts = []
    for at in range(0, len(whole), 800):
        header = make.fragment_header(9, at, at + 800 < len(whole))
        packet = make.ipv6(A6, B6, whole[at : at + 800], extensions=(header,), protocol=60)
        parts.append(make.ethernet(packet))
    for part in parts[::order]:
        feed(walker, part)
    assert counted(walker)["to_signalling"] == 1


def test_a_chain_of_headers_in_fragments_that_leads_nowhere_is_counted(walker: Walker) -> None:
    for chain, reason in ((b"\x3c\0" + bytes(6)) * 9, "extension_headers"), (b"\x11\xff" + bytes(70), "ip_malformed"):
        for at in range(0, 72, 8):
            header = make.fragment_header(len(reason), at, at < 64)
            feed(walker, make.ethernet(make.ipv6(A6, B6, chain[at : at + 8], extensions=(header,), protocol=60)))
        assert counted(walker)[reason] == 1


def test_a_duplicate_is_tolerated(walker: Walker) -> None:
    for frame in (PARTS[0], PARTS[0], *PARTS[1:]):
        feed(walker, frame)
    found = counted(walker)
    assert found["fragment_duplicate"] == 1
    assert found["to_signalling"] == 1


@pytest.mark.parametrize("family", [4, 6])
def test_an_overlap_refuses_the_whole_datagram_for_good(walker: Walker, family: int) -> None:
    a, b, datagram = (A4, B4, DATAGRAM4) if family == 4 else (A6, B6, DATAGRAM6)
    parts = make.fragments(a, b, datagram, 800)
    if family == 4:
        forged = make.ethernet(make.ipv4(a, b, b"forged!!" * 4, offset=792, more=True))
    else:
        forged = make.ethernet(make.ipv6(a, b, b"forged!!" * 4, extensions=(make.fragment_header(7, 792, True),)))
    for frame in (parts[0], forged, *parts, *parts):
        feed(walker, frame)
    assert counted(walker) == {"fragments": 10, "fragment_overlap": 10}


def test_the_same_place_with_other_octets_is_an_overlap(walker: Walker) -> None:
    other = make.fragments(A4, B4, DATAGRAM4[:900] + b"!" + DATAGRAM4[901:], 800)
    for frame in (*PARTS[:2], other[1], *PARTS[2:]):
        feed(walker, frame)
    assert counted(walker) == {"fragments": 5, "fragment_overlap": 5}


def test_what_is_never_completed_times_out(walker: Walker) -> None:
    for frame in PARTS[:3]:
        feed(walker, frame)
    walker.expire(NOW + 30 * S - 1, NOW)
    assert "fragment_timed_out" not in counted(walker)
    walker.expire(NOW + 30 * S, NOW)
    assert counted(walker) == {"fragments": 3, "fragment_timed_out": 3}
    feed(walker, PARTS[3], stamp=NOW + 30 * S)  # too late: it begins anew
    assert "to_signalling" not in counted(walker)


def test_a_later_frame_lets_old_fragments_go(walker: Walker) -> None:
    feed(walker, PARTS[0])
    feed(walker, make.fragments(A4, B4, DATAGRAM4, 800, ident=99)[0], stamp=NOW + 31 * S)
    assert counted(walker) == {"fragments": 2, "fragment_timed_out": 1}


def test_a_full_table_gives_up_the_oldest(walker: Walker) -> None:
    for ident in range(257):
        feed(walker, make.fragments(A4, B4, DATAGRAM4, 800, ident=ident)[0], stamp=NOW + ident)
    assert counted(walker)["fragment_table_full"] == 1
    for frame in make.fragments(A4, B4, DATAGRAM4, 800, ident=1)[1:]:  # the second is still there
        feed(walker, frame, stamp=NOW + 300)
    assert counted(walker)["to_signalling"] == 1


@pytest.mark.parametrize(
    "packet",
    [
        make.ipv4(A4, B4, b"x" * 7, offset=0, more=True),  # not a multiple of 8
        make.ipv4(A4, B4, b"", offset=8, more=True),
        make.ipv4(A4, B4, b"x" * 16, offset=65528, more=False),  # beyond 65,535
    ],
)
def test_impossible_fragments(walker: Walker, packet: bytes) -> None:
    feed(walker, make.ethernet(packet))
    assert counted(walker) == {"fragments": 1, "fragment_malformed": 1}


def test_two_different_ends(walker: Walker) -> None:
    feed(walker, PARTS[3])
    feed(walker, make.ethernet(make.ipv4(A4, B4, b"x" * 8, offset=4000, more=False)))
    feed(walker, make.ethernet(make.ipv4(A4, B4, b"x" * 8, offset=4000, more=True)))
    for frame in PARTS[:3]:
        feed(walker, frame)
    found = counted(walker)
    assert found["fragment_malformed"] == 2
    assert found["to_signalling"] == 1


def test_many_tiny_fragments_are_bounded(walker: Walker) -> None:
    datagram = make.udp(A4, B4, 5060, 5060, bytes(8 * 69))
    for frame in make.fragments(A4, B4, datagram, 8):
        feed(walker, frame)
    found = counted(walker)
    assert found["fragment_malformed"] == 70 - 64
    assert "to_signalling" not in found


def test_fragments_of_something_else_are_not_udp(walker: Walker) -> None:
    feed(walker, make.ethernet(make.ipv4(A4, B4, bytes(16), protocol=132, more=True)))
    assert counted(walker) == {"not_udp": 1}


def test_arguments_out_of_range() -> None:
    with pytest.raises(ValueError, match="port"):
        Walker(matcher(), 0, [65536])
    with pytest.raises(ValueError, match="number below"):
        Walker(matcher(), 16, [5060])
    with pytest.raises(ValueError, match="geometry"):
        RingWalker(matcher(), 0, [5060], -1, 3000, 16)
    with pytest.raises(OSError, match="Bad file descriptor"):
        RingWalker(matcher(), 0, [5060], -1, 2048, 16)
