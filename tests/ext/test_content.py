"""Content through the delivery function's hot path: what passes, in which octets, where everything else is counted."""

from __future__ import annotations

import random
import socket
import struct
from typing import Any

import pytest

from mediation.collection.content_decoder import ApduCutter, decode_apdu, decode_datagram
from mediation.core.channel import content_pdu
from mediation.core.channel.content_pdu import PacketDirection, correlation_info
from mediation.core.errors import RemoteProtocolError
from mediation.core.interface import x2
from mediation.core.interface.x2 import Direction, PayloadFormat, Pdu, PduType
from mediation.core.message import cdc
from mediation.delivery._content import Queue, Streams

SECOND = 1_000_000_000
START = 1_795_000_000 * SECOND
XID, STRANGER = bytes(range(16)), bytes(16)
CALL = cdc.CallIdentity(main="a84b4c76e66710@pc33")
CORRELATION = correlation_info("CASE-1", "SBC1", CALL)
ENOUGH = 1 << 20


def ip_packet(number: int = 0, size: int = 172, version: int = 4) -> bytes:
    """An IP packet whose octets tell its number."""
    head = bytes([version << 4 | 5]) + bytes(19 if version == 4 else 39)
    return (head + number.to_bytes(4)).ljust(size, b"\xd5")


def x3(number: int = 0, *, xid: bytes = XID, correlation: int = 7, sequence: int | None = None, size: int = 172,
       direction: Direction = Direction.FROM_TARGET, point: str = "SBC1", stamp_ns: int | None = None,
       **changes: object) -> bytes:  # fmt: skip
    facts: dict[str, object] = {
        "type": PduType.X3, "payload_format": PayloadFormat.IPV4, "direction": direction, "xid": xid,
        "correlation": correlation, "payload": ip_packet(number, size), "error_us": 20, "disciplined": True,
        "stamp_ns": START + number * 20_000_000 if stamp_ns is None else stamp_ns,
        "sequence": number if sequence is None else sequence, "interception_point": point, **changes,
    }  # fmt: skip
    return x2.encode(Pdu(**facts))  # type: ignore[arg-type]


def key(correlation: int = 7, *, xid: bytes = XID, point: str = "SBC1") -> bytes:
    return xid + struct.pack("!Q", correlation) + point.encode()


def streams(**changes: Any) -> Streams:
    facts: dict[str, Any] = {
        "capacity": 100,
        "hold_one": 10_000,
        "hold_all": 100_000,
        "hold_ns": 10 * SECOND,
        "again_ns": SECOND,
    }
    made = Streams(**{**facts, **changes})
    made.permit(XID, START - SECOND, START + 3600 * SECOND, True)
    return made


def opened(queue: Queue, *, combined: bool = False, cable: bool = False, **changes: int) -> Streams:
    made = streams(**changes)
    made.open(key(), queue, 0xA1, 0xA1 if combined else 0xB2, combined, None if cable else CORRELATION)
    return made


def feed(made: Streams, octets: bytes, now_ns: int = START, monotonic_ns: int = SECOND) -> list[tuple[bytes, int]]:
    return made.feed(octets, now_ns, monotonic_ns)


def drain(queue: Queue) -> bytes:
    found = b""
    while chunk := queue.chunk(4096):
        found += chunk
        queue.taken(len(chunk))
    return found


def counted(made: Streams) -> dict[str, int]:
    return {name: count for name, count in made.counters().items() if count}


# The octets


def test_apdus_are_those_of_the_reference() -> None:
    chance, queue = random.Random(3), Queue(1 << 24, 1 << 24)
    made = opened(queue)
    expected, sequences = b"", [0, 0]
    for number in range(600):
        stamp = START + chance.choice((0, 1000, 120_000_000, chance.randrange(10**9)))
        stamp += chance.choice((0, 86_400 * SECOND * chance.randrange(3650)))
        size = chance.choice((24, 100, 172, 280, 1500, 9000, 65_000))
        direction = chance.choice((Direction.FROM_TARGET, Direction.TO_TARGET))
        feed(made, x3(number, direction=direction, size=size, stamp_ns=stamp))
        way = PacketDirection.FROM_SUBJECT if direction is Direction.FROM_TARGET else PacketDirection.TO_SUBJECT
        expected += content_pdu.cc_apdu(CORRELATION, stamp, way, sequences[way], ip_packet(number, size))
        sequences[way] += 1
        if number % 50 == 0:
            assert drain(queue) == expected
            expected = b""
    assert drain(queue) == expected
    assert queue.sent == 600 and counted(made)["delivered"] == 600


def test_sequence_numbers_grow_like_integers() -> None:
    """Past each boundary of the shortest form: a leading bit would make the number negative."""
    queue = Queue(1 << 26, 1 << 26)
    made = opened(queue, combined=True)
    pdu = x3(1, size=24)
    cutter, found = ApduCutter(), []
    for _ in range(66):
        feed(made, pdu * 500)
        found += cutter.feed(drain(queue))
    assert [decode_apdu(each).sequence for each in found] == list(range(33_000))
    assert cutter.held == 0


def test_datagrams_are_those_of_the_reference() -> None:
    queue = Queue(ENOUGH, ENOUGH)
    made = opened(queue, cable=True)
    feed(made, x3(1) + x3(2, direction=Direction.TO_TARGET, stamp_ns=START + 123_456_789))
    first = content_pdu.datagram(0xA1, START + 20_000_000, ip_packet(1))
    second = content_pdu.datagram(0xB2, START + 123_456_789, ip_packet(2))
    assert drain(queue) == first + second
    feed(made, x3(payload_format=PayloadFormat.IPV6, payload=ip_packet(1, 60, 6)))
    assert drain(queue).endswith(ip_packet(1, 60, 6))
    assert decode_datagram(second).channel == "000000B2"


def test_datagrams_go_out_one_by_one() -> None:
    queue = Queue(ENOUGH, ENOUGH)
    made = opened(queue, cable=True, combined=True)
    feed(made, b"".join(x3(number) for number in range(150)))
    there, here = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    there.setblocking(False)
    here.setblocking(False)
    with there, here:
        received = []
        while queue.packets:
            assert queue.send(here.fileno()) > 0
            with pytest.raises(BlockingIOError):
                while True:
                    received.append(there.recv(2048))
        assert queue.send(here.fileno()) == 0
    assert [decode_datagram(each).packet for each in received] == [ip_packet(number) for number in range(150)]
    assert {each[:4] for each in received} == {b"\0\0\0\xa1"}


def test_a_combined_channel_has_one_sequence() -> None:
    queue = Queue(ENOUGH, ENOUGH)
    made = opened(queue, combined=True)
    feed(made, x3(0) + x3(1, direction=Direction.TO_TARGET) + x3(2))
    found = [decode_apdu(each) for each in ApduCutter().feed(drain(queue))]
    assert [(each.sequence, each.direction) for each in found] == [
        (0, "fromSubject"),
        (1, "toSubject"),
        (2, "fromSubject"),
    ]


def test_any_cut_of_the_stream_gives_the_same() -> None:
    chance = random.Random(5)
    octets = b"".join(x3(number) for number in range(60))
    queue = Queue(ENOUGH, ENOUGH)
    made = opened(queue)
    at = 0
    while at < len(octets):
        size = chance.choice((1, 7, 39, 41, 200, 1000))
        feed(made, octets[at : at + size])
        at += size
    assert [decode_apdu(each).packet for each in ApduCutter().feed(drain(queue))] == [ip_packet(n) for n in range(60)]


# Who may pass


def test_what_has_no_authority_is_refused_and_counted() -> None:
    queue = Queue(ENOUGH, ENOUGH)
    made = opened(queue)
    other = bytes([9]) * 16
    made.permit(other, START - SECOND, START + SECOND, False)
    feed(made, x3(xid=STRANGER) + x3(xid=other))
    feed(made, x3(1), now_ns=START + 3600 * SECOND)
    feed(made, x3(2), now_ns=START - 2 * SECOND)
    assert queue.octets == 0
    found = counted(made)
    assert (found["refused_unknown"], found["refused_no_content"], found["refused_ended"]) == (1, 1, 2)


def test_after_the_end_nothing_of_the_task_is_left() -> None:
    queue = Queue(ENOUGH, ENOUGH)
    made = opened(queue)
    other = bytes([9]) * 16
    made.permit(other, START - SECOND, START + SECOND, True)
    made.open(key(xid=other), queue, 1, 2, False, CORRELATION)
    feed(made, x3(0) + x3(1, xid=other) + x3(2) + x3(3, correlation=8))
    assert made.expel(XID) == []
    feed(made, x3(4))
    assert [decode_apdu(each).packet for each in ApduCutter().feed(drain(queue))] == [ip_packet(1)]
    assert counted(made)["refused_ended"] == 1 and queue.purged == 2 and counted(made)["lost_unbound"] == 1


def test_a_packet_sent_in_part_ends_the_connection_with_its_task() -> None:
    queue = Queue(ENOUGH, ENOUGH)
    made = opened(queue)
    feed(made, x3(0) + x3(1))
    queue.taken(50)
    assert made.expel(XID) == [queue]
    assert (queue.octets, queue.packets) == (0, 0)


@pytest.mark.parametrize("pdu", [
    x3(type=PduType.X2), x3(payload=b""), x3(payload=ip_packet(version=6)), x3(payload=b"\x45" * 19),
    x3(payload_format=PayloadFormat.RTP), x3(payload_format=PayloadFormat.IPV6, payload=ip_packet(size=40)),
    x3(direction=Direction.UNKNOWN), x3(direction=Direction.MULTIPLE),
])  # fmt: skip
def test_what_is_no_packet_of_content_is_counted(pdu: bytes) -> None:
    queue = Queue(ENOUGH, ENOUGH)
    made = opened(queue)
    feed(made, pdu)
    assert queue.octets == 0
    found = counted(made)
    assert found.get("not_x3", 0) + found.get("not_ip", 0) + found.get("no_direction", 0) == 1


@pytest.mark.parametrize("octets", [
    b"\xff" * 64, x3()[:4] + b"\0\0\0\x27" + x3()[8:], x3()[:8] + b"\xff\xff\xff\xff" + x3()[12:],
    x3()[:42] + b"\xff\xff" + x3()[44:],
])  # fmt: skip
def test_what_is_no_stream_of_pdus_ends_it(octets: bytes) -> None:
    queue = Queue(ENOUGH, ENOUGH)
    made = opened(queue)
    with pytest.raises(RemoteProtocolError):
        feed(made, x3(0) + octets)
    assert ApduCutter().feed(drain(queue))[0].endswith(ip_packet(0))
    made.begin()
    feed(made, x3(1))
    assert queue.packets == 1


def test_gaps_in_the_numbers_are_counted_for_each_connection() -> None:
    made = opened(Queue(ENOUGH, ENOUGH))
    feed(made, x3(0) + x3(1) + x3(4))
    made.begin()
    feed(made, x3(1))
    assert counted(made)["missing"] == 2


def test_keepalives_are_handed_out_to_be_answered() -> None:
    made = streams()
    feed(made, x3(type=PduType.KEEPALIVE, payload=b""))
    assert [x2.decode(each).type for each in made.take_answers()] == [PduType.KEEPALIVE]
    assert made.take_answers() == []


# Waiting, closing


def test_first_packets_wait_for_their_channel() -> None:
    queue = Queue(ENOUGH, ENOUGH)
    made = streams()
    assert feed(made, x3(0) + x3(1) + x3(2, point="SBC2")) == [(key(), START), (key(point="SBC2"), START + 40_000_000)]
    assert feed(made, x3(3)) == []
    assert feed(made, x3(4), monotonic_ns=3 * SECOND) == [(key(), START + 80_000_000)]
    made.open(key(), queue, 1, 2, False, CORRELATION)
    feed(made, x3(5))
    found = [decode_apdu(each) for each in ApduCutter().feed(drain(queue))]
    assert [each.packet for each in found] == [ip_packet(n) for n in (0, 1, 3, 4, 5)]
    assert [each.sequence for each in found] == [0, 1, 2, 3, 4]


def test_waiting_is_bounded() -> None:
    made = streams(hold_one=1000, hold_all=1500)
    feed(made, b"".join(x3(n) for n in range(10)) + b"".join(x3(n, correlation=8) for n in range(10)))
    found = counted(made)
    assert (found["held"], found["lost_held"]) == (8, 12)
    made.sweep(SECOND + 11 * SECOND, SECOND)
    assert counted(made)["lost_unbound"] == 8
    feed(made, b"".join(x3(n) for n in range(10)))
    assert counted(made)["held"] == 13


def test_packets_of_a_closed_call_that_were_captured_before_its_end() -> None:
    queue = Queue(ENOUGH, ENOUGH)
    made = opened(queue)
    made.close(key(), START + 50_000_000, SECOND)
    feed(made, x3(1) + x3(2) + x3(3) + x3(4))
    assert (queue.packets, counted(made)["after_close"]) == (2, 2)
    made.sweep(10 * SECOND, SECOND)
    feed(made, x3(5))
    assert (counted(made)["after_close"], queue.packets) == (3, 2)  # what waits keeps its stream
    drain(queue)
    made.sweep(10 * SECOND, SECOND)
    assert feed(made, x3(6), monotonic_ns=11 * SECOND) != []


def test_what_is_barred_is_counted() -> None:
    queue = Queue(ENOUGH, ENOUGH)
    made = streams()
    feed(made, x3(0))
    made.bar(key(), SECOND)
    feed(made, x3(1))
    assert counted(made)["barred"] == 1 and counted(made)["lost_unbound"] == 1
    made.open(key(), queue, 1, 2, False, CORRELATION)
    feed(made, x3(2))
    assert queue.packets == 1


def test_the_next_packet_is_told_of_when_watched() -> None:
    made = opened(Queue(ENOUGH, ENOUGH))
    assert feed(made, x3(0)) == [(key(), START)]
    assert feed(made, x3(1)) == []
    made.watch(key())
    assert feed(made, x3(2) + x3(3)) == [(key(), START + 40_000_000)]


# A destination that is slow or away


def test_what_is_lost_has_a_number_that_the_far_side_misses() -> None:
    queue = Queue(700, 700)
    made = opened(queue)
    feed(made, x3(0) + x3(1) + x3(2) + x3(3))
    found = ApduCutter().feed(drain(queue))
    feed(made, x3(4))
    found += ApduCutter().feed(drain(queue))
    queue.accepting = False
    feed(made, x3(5) + x3(6))
    queue.accepting = True
    feed(made, x3(7))
    found += ApduCutter().feed(drain(queue))
    assert [decode_apdu(each).sequence for each in found] == [0, 1, 4, 7]
    assert (queue.lost_full, queue.lost_down) == (2, 2)
    assert (counted(made)["lost_full"], counted(made)["lost_down"]) == (2, 2)


def test_one_channel_cannot_use_the_room_of_the_others() -> None:
    queue = Queue(ENOUGH, 700)
    made = opened(queue)
    made.open(key(8), queue, 1, 2, False, CORRELATION)
    feed(made, b"".join(x3(n) for n in range(10)) + x3(11, correlation=8))
    assert queue.packets == 3
    assert decode_apdu(ApduCutter().feed(drain(queue))[-1]).packet == ip_packet(11)


def test_a_queue_that_is_cleared_counts_what_was_in_it() -> None:
    queue = Queue(ENOUGH, ENOUGH)
    made = opened(queue)
    feed(made, x3(0) + x3(1))
    queue.taken(10)
    assert queue.clear() == 2
    feed(made, x3(2))
    assert (queue.lost_down, queue.packets) == (2, 1)
    assert decode_apdu(ApduCutter().feed(drain(queue))[0]).sequence == 2


def test_random_use_keeps_the_account() -> None:
    """Whatever is fed, sent, purged and closed, in any order: records stay whole and nothing is unaccounted for."""
    chance = random.Random(7)
    queue = Queue(20_000, 5_000)
    made = streams(hold_one=2_000, hold_all=4_000)
    tasks = [bytes([n]) * 16 for n in range(1, 5)]
    cutter, number, received, fed = ApduCutter(), 0, 0, 0
    for _ in range(3_000):
        task, correlation = chance.choice(tasks), chance.randrange(3)
        match chance.randrange(12):
            case 0:
                made.permit(task, START - SECOND, START + SECOND, True)
            case 1:
                made.open(key(correlation, xid=task), queue, 1, 2, chance.random() < 0.5, CORRELATION)
            case 2:
                made.close(key(correlation, xid=task), START * 2, SECOND)
            case 3 if chance.random() < 0.3:
                if made.expel(task):
                    cutter = ApduCutter()
            case 4 if chance.random() < 0.1:
                queue.clear()
                cutter = ApduCutter()
            case 5 | 6:
                chunk = queue.chunk(chance.randrange(1, 3000))
                queue.taken(len(chunk))
                found = cutter.feed(chunk)
                assert all(decode_apdu(each).call == CALL.main for each in found)
                received += len(found)
            case _:
                number += 1
                fed += 1
                feed(made, x3(number, xid=task, correlation=correlation, size=chance.randrange(24, 400)))
    received += len(cutter.feed(drain(queue)))
    found = counted(made)
    assert found["packets"] == fed
    assert found["delivered"] == queue.sent + queue.purged + queue.lost_down and received == queue.sent
    ends = ("delivered", "refused_unknown", "refused_ended", "lost_held", "lost_full", "after_close", "lost_unbound")
    made.sweep(10**12, 1)
    found = counted(made)
    assert sum(found.get(name, 0) for name in ends) == fed
