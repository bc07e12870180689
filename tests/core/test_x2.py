"""X2 PDUs: read as written, and whatever else comes is refused (ETSI TS 103 221-2)."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediation.core.errors import RemoteProtocolError
from mediation.core.interface import x2
from mediation.core.interface.x2 import Direction, Framer, PayloadFormat, Pdu, PduType, Role

ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
ENDPOINTS = st.one_of(st.just(("", 0)), st.tuples(ADDRESSES, st.integers(0, 65535)))
PDUS = st.builds(
    Pdu,
    type=st.sampled_from(PduType),
    payload_format=st.sampled_from(PayloadFormat).map(int),
    direction=st.sampled_from(Direction).map(int),
    xid=st.binary(min_size=16, max_size=16),
    correlation=st.integers(0, (1 << 64) - 1),
    payload=st.binary(max_size=200),
    stamp_ns=st.integers(0, (1 << 32) * 10**9 - 1),
    sequence=st.none() | st.integers(0, (1 << 32) - 1),
    source=ENDPOINTS,
    destination=ENDPOINTS,
    error_us=st.integers(0, (1 << 32) - 1),
    disciplined=st.booleans(),
    role=st.sampled_from(Role),
    interception_point=st.text(max_size=15),
)


@given(PDUS)
def test_what_is_written_is_read(pdu: Pdu) -> None:
    assert x2.decode(x2.encode(pdu)) == pdu


def sample(**changes: object) -> bytes:
    facts = {
        "type": PduType.X2, "payload_format": 9, "direction": 3, "xid": bytes(16), "correlation": 7,
        "payload": b"INVITE", "stamp_ns": 5, "sequence": 1, "source": ("192.0.2.1", 5060),
        "destination": ("2001:db8::1", 5060), **changes,
    }  # fmt: skip
    return x2.encode(Pdu(**facts))  # type: ignore[arg-type]


@given(st.lists(st.integers(1, 60), max_size=30))
def test_a_stream_may_be_cut_anywhere(cuts: list[int]) -> None:
    stream = sample() + sample(sequence=2, payload=b"") + sample(sequence=3)
    framer, at, found = Framer(), 0, []
    for size in [*cuts, len(stream)]:
        found += framer.feed(stream[at : at + size])
        at += size
    assert [pdu.sequence for pdu in found] == [1, 2, 3]


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_octet_is_another_pdu_or_an_error(at: int, change: int) -> None:
    octets = bytearray(sample())
    octets[at % len(octets)] ^= change
    try:
        found = Framer().feed(bytes(octets))
    except RemoteProtocolError:
        return
    assert len(found) <= 1


@pytest.mark.parametrize(
    ("at", "value"),
    [(2, b"\0\x09"), (4, struct.pack("!I", 39)), (8, struct.pack("!I", 1 << 20)), (42, struct.pack("!H", 999))],
    ids=["type", "header-short", "too-long", "attribute-long"],
)
def test_impossible_values_are_refused(at: int, value: bytes) -> None:
    octets = bytearray(sample())
    octets[at : at + len(value)] = value
    with pytest.raises(RemoteProtocolError):
        Framer().feed(bytes(octets))


def test_a_role_that_is_none_is_refused() -> None:
    octets = sample()
    at = octets.index(struct.pack("!HH", 4, 8)) + 4 + 5
    with pytest.raises(RemoteProtocolError):
        x2.decode(octets[:at] + b"\x09" + octets[at + 1 :])


def test_what_was_whole_before_a_bad_pdu_is_kept_and_nothing_after_it() -> None:
    framer = Framer()
    found = framer.feed(sample() + sample(sequence=2) + b"\xff" * 64 + sample(sequence=3))
    assert [pdu.sequence for pdu in found] == [1, 2]
    assert framer.failure is not None
    with pytest.raises(RemoteProtocolError):
        framer.feed(sample(sequence=4))


def with_attribute(kind: int, value: bytes, octets: bytes | None = None) -> bytes:
    """A PDU with one attribute more, behind those that it has."""
    octets = sample() if octets is None else octets
    (header,) = struct.unpack_from("!I", octets, 4)
    more = struct.pack("!HH", kind, len(value)) + value
    return octets[:4] + struct.pack("!I", header + len(more)) + octets[8:header] + more + octets[header:]


@pytest.mark.parametrize(
    ("kind", "size"), [(4, 8), (8, 4), (9, 8), (10, 4), (11, 4), (12, 16), (13, 16), (14, 2), (15, 2)]
)
def test_an_attribute_of_another_size_is_refused(kind: int, size: int) -> None:
    bare = sample(sequence=None, source=("", 0), destination=("", 0))
    x2.decode(with_attribute(kind, bytes(size), bare))
    for wrong in (0, size - 1, size + 1, 40):
        with pytest.raises(RemoteProtocolError, match="size"):
            x2.decode(with_attribute(kind, bytes(wrong), bare))


def test_of_an_attribute_that_comes_twice_the_last_one_counts() -> None:
    assert x2.decode(with_attribute(8, b"\0\0\0\x63")).sequence == 99
    assert x2.decode(with_attribute(10, b"\x0a\0\0\xff")).source == ("10.0.0.255", 5060)
    assert x2.decode(with_attribute(7, "tap-é".encode())).interception_point == "tap-é"
    assert x2.decode(with_attribute(17, b"anything")) == x2.decode(sample())
    with pytest.raises(RemoteProtocolError, match="size or value"):
        x2.decode(with_attribute(7, b"\xff"))


def test_what_only_our_attribute_tells_is_unknown_from_others() -> None:
    theirs = x2.decode(with_attribute(4, b"none of our business"), ours=False)
    assert (theirs.error_us, theirs.disciplined, theirs.role) == (x2.UNKNOWN_ERROR_US, False, Role.UNKNOWN)
    with pytest.raises(RemoteProtocolError):
        x2.decode(with_attribute(4, b"none of our business"))


@given(st.binary(max_size=120), st.booleans())
def test_any_octets_are_a_pdu_or_an_error(octets: bytes, ours: bool) -> None:
    for made in (octets, with_attribute(9, octets), sample()[:40] + octets):
        try:
            x2.decode(made, ours=ours)
        except RemoteProtocolError:
            continue
