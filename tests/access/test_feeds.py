"""pcap and pcapng, both byte orders and resolutions; a malformed file says what and where, after what was good."""

from __future__ import annotations

import io
import struct

import pytest

from mediation.access.feeds import CapturedFrame, frames
from mediation.core.errors import RemoteProtocolError

S = 1_700_000_000
FRAME = b"frame octets"


def read(octets: bytes) -> list[CapturedFrame]:
    return list(frames(io.BytesIO(octets)))


def pcap(order: str, *, ns: bool, link: int = 1, packets: int = 1) -> bytes:
    made = struct.pack(order + "IHHiIII", 0xA1B23C4D if ns else 0xA1B2C3D4, 2, 4, 0, 0, 65535, link)
    for number in range(packets):
        made += struct.pack(order + "IIII", S, 123456789 if ns else 123456, len(FRAME), 100 + number) + FRAME
    return made


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack(order + "II", kind, 12 + len(body)) + body + struct.pack(order + "I", 12 + len(body))


def section(order: str) -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(order: str, link: int = 1, options: bytes = b"", snap: int = 0) -> bytes:
    return block(order, 1, struct.pack(order + "HHI", link, 0, snap) + options)


def enhanced(order: str, stamp: int, number: int = 0, octets: bytes = FRAME) -> bytes:
    header = struct.pack(order + "IIIII", number, stamp >> 32, stamp & 0xFFFFFFFF, len(octets), 100)
    return block(order, 6, header + octets)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("ns", "stamp"), [(False, S * 10**9 + 123456000), (True, S * 10**9 + 123456789)])
def test_pcap(order: str, ns: bool, stamp: int) -> None:
    assert read(pcap(order, ns=ns, link=113, packets=2)) == [
        CapturedFrame(113, stamp, FRAME, 100),
        CapturedFrame(113, stamp, FRAME, 101),
    ]


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_blocks_sections_and_resolutions(order: str) -> None:
    other = "<" if order == ">" else ">"
    nanoseconds = struct.pack(order + "HHB3xHH", 9, 1, 9, 0, 0)
    binary = struct.pack(order + "HHB3x", 9, 1, 0x80 | 20) + struct.pack(order + "HHq", 14, 8, 1000)
    name_resolution = block(order, 4, b"\0" * 4)
    octets = (
        section(order)
        + interface(order, 1)
        + interface(order, 101, nanoseconds)
        + interface(order, 276, binary)
        + enhanced(order, S * 10**6 + 5)
        + name_resolution
        + enhanced(order, S * 10**9 + 7, 1)
        + enhanced(order, (S - 1000) << 20 | 1 << 19, 2)
        + block(order, 3, struct.pack(order + "I", len(FRAME)) + FRAME)
        + block(order, 2, struct.pack(order + "HHIIII", 1, 0, *divmod(S * 10**9, 1 << 32), 4, 4) + FRAME[:4])
        + section(other)
        + interface(other, 0)
        + enhanced(other, S * 10**6)
    )
    assert read(octets) == [
        CapturedFrame(1, S * 10**9 + 5000, FRAME, 100),
        CapturedFrame(101, S * 10**9 + 7, FRAME, 100),
        CapturedFrame(276, S * 10**9 + 500_000_000, FRAME, 100),
        CapturedFrame(1, S * 10**9 + 500_000_000, FRAME, len(FRAME)),
        CapturedFrame(101, S * 10**9, FRAME[:4], 4),
        CapturedFrame(0, S * 10**9, FRAME, 100),
    ]


GOOD = section("<") + interface("<") + enhanced("<", S * 10**6)


@pytest.mark.parametrize(
    ("octets", "delivered", "what"),
    [
        (b"", 0, "file header cut short, at octet 0"),
        (b"nothing of the kind", 0, "neither pcap nor pcapng"),
        (pcap("<", ns=False)[:23], 0, "file header cut short, at octet 4"),
        (pcap("<", ns=False, packets=2)[:-1], 1, "packet cut short, at octet 68"),
        (pcap("<", ns=False, packets=2)[:-20], 1, "packet header cut short, at octet 52"),
        (pcap("<", ns=False)[:4] + b"\3" + pcap("<", ns=False)[5:], 0, "version is not 2"),
        (pcap("<", ns=False) + struct.pack("<IIII", S, 0, 1 << 30, 1 << 30), 1, "longer than any capture"),
        (pcap("<", ns=False) + struct.pack("<IIII", S, 1_000_000, 0, 0), 1, "fraction of a second"),
        (GOOD[:-1], 0, "block trailer cut short"),
        (GOOD + b"\6\0", 1, "block header cut short"),
        (GOOD + struct.pack("<II", 6, 10), 1, "impossible length"),
        (GOOD + struct.pack("<II", 6, 0xFFFFFFF0), 1, "impossible length"),
        (GOOD + enhanced("<", 0)[:-4] + b"\0\0\0\0", 1, "two lengths differ"),
        (GOOD + enhanced("<", 0, number=1), 1, "was not described"),
        (GOOD + block("<", 6, bytes(8)), 1, "packet block too short"),
        (GOOD + block("<", 6, struct.pack("<IIIII", 0, 0, 0, 99, 99) + FRAME), 1, "longer than its block"),
        (GOOD + interface("<", 1, struct.pack("<HHB3x", 9, 1, 20)), 1, "resolution beyond 64 bits"),
        (GOOD + interface("<", 1, struct.pack("<HHB3x", 9, 100, 6)), 1, "option longer than its block"),
        (GOOD + block("<", 1, b""), 1, "interface description too short"),
        (GOOD + enhanced("<", (1 << 64) - 1), 1, "outside of any clock"),
        (section("<")[:8] + bytes(4) + section("<")[12:], 0, "without its byte-order magic"),
        (section("<")[:4] + struct.pack("<I", 24) + section("<")[8:], 0, "section header of an impossible length"),
    ],
)
def test_a_malformed_file_says_what_and_where(octets: bytes, delivered: int, what: str) -> None:
    found = []
    with pytest.raises(RemoteProtocolError, match=what) as caught:
        for frame in frames(io.BytesIO(octets)):
            found.append(frame)
    assert len(found) == delivered
    assert "at octet" in str(caught.value)


def test_every_truncation_of_a_good_file_ends_in_an_error_or_a_boundary() -> None:
    for end in range(len(GOOD)):
        with pytest.raises(RemoteProtocolError) if end not in (28, 48) else _nothing():
            assert read(GOOD[:end]) == []


class _nothing:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...
