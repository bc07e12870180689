"""Content on a real wire: X3 holds what was sent, octet for octet, from the first packet on, and no other call's."""

from __future__ import annotations

import random
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mediation.access import opener
from mediation.access._matcher import Matcher
from mediation.access._walker import Reader, RingWalker
from mediation.core.interface import x2
from mediation.core.interface.x2 import Direction
from mediation.runtime.config import DialPlan, Iap
from tests.access import frames as make
from tests.access.conftest import Wire
from tests.access.process import MEDIA, PHONE, PROXY, answer, invite, sip
from tests.access.test_reader import until

pytestmark = pytest.mark.root

XID = bytes(range(16))
NEAR, FAR = (PHONE, 30000), (MEDIA, 40000)
ETHERNET = 14


def datagram(source: tuple[str, int], destination: tuple[str, int], payload: bytes) -> bytes:
    return make.ethernet(
        make.ipv4(source[0], destination[0], make.udp(source[0], destination[0], source[1], destination[1], payload))
    )


def rtp(sequence: int, octets: int = 160) -> bytes:
    return b"\x80\x00" + sequence.to_bytes(2, "big") + bytes(8) + random.Random(sequence).randbytes(octets)


def bye(call_id: str = "one") -> bytes:
    return sip(
        f"BYE sip:+13125550111@example.net SIP/2.0\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bK2\n"
        f"From: <sip:+12125550100@example.net>;tag=a\nTo: <sip:+13125550111@example.net>;tag=b\nCall-ID: {call_id}\n"
        "CSeq: 2 BYE\nContent-Length: 0\n\n"
    )


def without_body(frame: bytes) -> bytes:
    head = frame[ETHERNET + 28 :].split(b"\r\n\r\n")[0].replace(b"Content-Type: application/sdp\r\n", b"")
    return sip(re.sub(r"Content-Length: \d+", "Content-Length: 0", head.decode().replace("\r\n", "\n")) + "\n\n")


def ack() -> bytes:
    """With the answer to the 200's offer."""
    octets = invite()[ETHERNET + 28 :].decode().replace("\r\n", "\n")
    octets = (
        octets.replace("INVITE sip", "ACK sip").replace("1 INVITE", "1 ACK").replace(".net>\nCall", ".net>;tag=b\nCall")
    )
    return sip(octets)


class Running:
    """A tap with one task, and both of its outputs."""

    def __init__(self, wire: Wire, *, content: bool, dde: bool = True, content_bound: int = 1 << 22) -> None:
        self.iap = Iap(name="tap", interface=wire.far, namespace=wire.namespace, ring_mib=4)
        described, self.socket, self.filter = opener.open_tap(self.iap)
        self.matcher = Matcher((self.iap,), DialPlan(), content_bound=content_bound)
        now = time.time_ns()
        self.matcher.add_task(XID, ["tel:+12125550100"], 0, now + 10**12, dde=dde, content=content)
        self.walker = RingWalker(
            self.matcher, 0, self.iap.ports, self.socket.fileno(), described.frame_size, described.frame_count,
            self.filter.media_maps,
        )  # fmt: skip
        self.reader = Reader(self.matcher, [self.walker], self.filter.media_maps, now)
        self.thread = threading.Thread(target=self.reader.run)
        self.thread.start()

    def connect(self, name: str, *, send_octets: int = 0) -> socket.socket:
        ours, theirs = socket.socketpair()
        if send_octets:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_octets)
        theirs.setblocking(False)
        assert self.reader.connect(theirs.detach(), name)
        ours.settimeout(5)
        return ours

    def counter(self, name: str) -> int:
        with self.reader:
            return (self.walker.counters() | self.matcher.counters())[name]


@contextmanager
def running(wire: Wire, *, content: bool = True, **settings: int) -> Iterator[Running]:
    made = Running(wire, content=content, **settings)
    try:
        yield made
    finally:
        made.reader.stop()
        made.thread.join(5)
        assert not made.thread.is_alive()


def pdus(connection: socket.socket, count: int) -> list[x2.Pdu]:
    framer, found = x2.Framer(), list[x2.Pdu]()
    while len(found) < count:
        octets = connection.recv(65536)
        assert octets
        found += framer.feed(octets)
    assert len(found) == count
    return found


def test_every_packet_from_a_millisecond_behind_the_answer_on(wire: Wire) -> None:
    """And of the call beside it, between the same two hosts, none."""
    with running(wire) as tap:
        x2_out, x3_out = tap.connect("x2"), tap.connect("x3")
        wire.send(invite("+13105550199", "two"), invite(call_id="one"), answer("one"))
        time.sleep(0.001)
        sent = []
        for sequence in range(200):
            there, back = datagram(NEAR, FAR, rtp(sequence)), datagram(FAR, NEAR, rtp(sequence + 1000))
            wire.send(there, datagram((PHONE, 30002), (MEDIA, 40002), rtp(sequence)), back)
            wire.send(datagram((PHONE, 30002), FAR, rtp(sequence)), datagram((MEDIA, 40002), NEAR, rtp(sequence)))
            sent += [there, back]
        found = pdus(x3_out, 400)
        assert [pdu.payload for pdu in found] == [frame[ETHERNET:] for frame in sent]
        assert [pdu.direction for pdu in found] == [Direction.FROM_TARGET, Direction.TO_TARGET] * 200
        assert [pdu.sequence for pdu in found] == list(range(1, 401))
        assert {pdu.correlation for pdu in found} == {pdus(x2_out, 2)[0].correlation}
        assert [pdu.stamp_ns for pdu in found] == sorted(pdu.stamp_ns for pdu in found)
        assert tap.counter("content_windows") == 2
        assert 0 < tap.counter("content_window_us_max") < 1_000_000
        assert tap.counter("media_other_source") == 400


def held(tap: Running) -> bool:
    """Whether an INVITE's offer is in force: the 200 is a network's round trip behind it, never nearer."""
    return tap.counter("flows_added") == 2


def test_the_first_packet_right_behind_the_answer_though_nobody_reads(wire: Wire) -> None:
    """The 200, what the caller sends on it, and strangers' packets, while the reader stands still for 50 ms."""
    with running(wire) as tap:
        x3_out = tap.connect("x3")
        wire.send(invite())
        until(lambda: held(tap))
        sent = [datagram(NEAR, FAR, rtp(sequence)) for sequence in range(40)]
        back = [datagram(FAR, NEAR, rtp(sequence)) for sequence in range(40, 60)]
        control = datagram((PHONE, 30001), (MEDIA, 40001), b"\x80\xc8\0\6" + bytes(24))
        with tap.reader:
            wire.send(answer(), *sent, control, *back)
            wire.send(datagram((PHONE, 30002), FAR, rtp(1)), datagram(("192.0.2.8", 30000), FAR, rtp(2)))
            time.sleep(0.05)
        found = pdus(x3_out, 61)
        assert [pdu.payload for pdu in found] == [frame[ETHERNET:] for frame in (*sent, control, *back)]
        assert tap.counter("media") == 61  # strangers who send to the called party did not leave the kernel
        assert tap.counter("kernel_drops") == 0


def test_an_offer_in_the_answer_and_media_right_behind_the_ack(wire: Wire) -> None:
    """RFC 3264 section 4, a delayed offer: the called party's address is known since the 200."""
    with running(wire) as tap:
        x3_out = tap.connect("x3")
        wire.send(without_body(invite()), answer())
        until(lambda: held(tap))
        sent = [datagram(*(ends), rtp(n)) for n in range(10) for ends in ((NEAR, FAR), (FAR, NEAR))]
        with tap.reader:
            wire.send(ack(), *sent)
            time.sleep(0.05)
        assert [pdu.payload for pdu in pdus(x3_out, 20)] == [frame[ETHERNET:] for frame in sent]


def test_what_the_caller_s_address_sends_elsewhere_is_nobody_s(wire: Wire) -> None:
    """It passes the kernel, and ends there: no content, no digit, nothing kept."""
    with running(wire) as tap:
        x2_out, x3_out = tap.connect("x2"), tap.connect("x3")
        wire.send(invite(), answer())
        until(lambda: tap.counter("flows_added") == 4)
        wire.send(*[datagram(NEAR, ("203.0.113.77", 4000), rtp(sequence)) for sequence in range(20)])
        until(lambda: tap.counter("media") == 20)
        assert tap.counter("media_no_flow") == 20
        assert len(pdus(x2_out, 2)) == 2
        assert tap.reader.counters()["x3_octets"] == 0
        wire.send(bye())
        until(lambda: tap.counter("flows_removed") == 4)
        assert tap.reader.counters()["x3_octets"] == 0
        wire.send(*[datagram(NEAR, ("203.0.113.77", 4000), rtp(sequence)) for sequence in range(20)], invite("1", "2"))
        until(lambda: tap.counter("no_match") == 1)
        assert tap.counter("media") == 20  # after the call not even that
        x3_out.close()


def test_nothing_after_the_call(wire: Wire) -> None:
    with running(wire) as tap:
        x3_out = tap.connect("x3")
        wire.send(invite(), answer())
        until(lambda: tap.counter("flows_added") == 4)
        wire.send(datagram(NEAR, FAR, rtp(1)), bye())
        pdus(x3_out, 1)
        until(lambda: tap.counter("flows_removed") == 4)  # by the clock, no other message came
        wire.send(*[datagram(NEAR, FAR, rtp(sequence)) for sequence in range(50)])
        wire.send(invite(call_id="next"))
        until(lambda: tap.counter("matched") == 4)
        assert tap.counter("content") == 1


def test_a_task_without_content_leaves_the_other_output_empty(wire: Wire) -> None:
    with running(wire, content=False) as tap:
        x2_out, x3_out = tap.connect("x2"), tap.connect("x3")
        wire.send(invite(), answer())
        until(lambda: tap.counter("flows_added") == 1)  # the digits'
        wire.send(*[datagram(NEAR, FAR, rtp(sequence)) for sequence in range(50)], bye())
        until(lambda: tap.counter("matched") == 3)
        assert tap.counter("media") == tap.counter("voice") == 50  # listened to for digits, and forgotten
        assert [pdu.payload_format for pdu in pdus(x2_out, 3)] == [x2.PayloadFormat.SIP] * 3
        assert tap.reader.counters()["x3_octets"] == 0
        x3_out.setblocking(False)
        with pytest.raises(BlockingIOError):
            x3_out.recv(1)


def test_a_task_with_neither_content_nor_digits_leaves_media_in_the_kernel(wire: Wire) -> None:
    with running(wire, content=False, dde=False) as tap:
        tap.connect("x3")
        wire.send(invite(), answer())
        until(lambda: tap.counter("matched") == 2)
        for ends in ((NEAR, FAR), (FAR, NEAR)):
            wire.send(*[datagram(*ends, rtp(sequence)) for sequence in range(20)])
        wire.send(bye())
        until(lambda: tap.counter("matched") == 3)
        assert tap.counter("flows_added") == tap.counter("media") == 0


def test_a_datagram_in_fragments_is_one_packet(wire: Wire) -> None:
    with running(wire) as tap:
        x3_out = tap.connect("x3")
        wire.send(invite(), answer())
        until(lambda: tap.counter("flows_added") == 4)
        whole = make.udp(PHONE, MEDIA, 30000, 40000, rtp(1, 3000))
        wire.send(*make.fragments(PHONE, MEDIA, whole, 1000, ident=77))
        (pdu,) = pdus(x3_out, 1)
        assert pdu.payload == make.ipv4(PHONE, MEDIA, whole, ident=77)
        wire.send(*make.fragments(PHONE, "198.51.100.10", whole, 1000, ident=78), datagram(NEAR, FAR, rtp(2)))
        assert pdus(x3_out, 1)[0].payload == datagram(NEAR, FAR, rtp(2))[ETHERNET:]


def test_content_that_waits_delays_no_signalling(wire: Wire) -> None:
    """Nobody reads X3; its bound is full, and X2 still passes whole."""
    with running(wire, content_bound=20_000) as tap:
        x2_out = tap.connect("x2")
        tap.connect("x3", send_octets=4096)
        wire.send(invite(), answer())
        until(lambda: tap.counter("flows_added") == 4)
        wire.send(*[datagram(NEAR, FAR, rtp(sequence)) for sequence in range(500)], bye())
        assert [pdu.payload[:3] for pdu in pdus(x2_out, 3)] == [b"INV", b"SIP", b"BYE"]
        counted = tap.reader.counters()
        assert counted["x3_lost"] == 500 - tap.counter("content") > 0
        assert counted["x2_lost"] == 0


def test_an_offer_of_another_s_address_opens_nothing_of_his(wire: Wire) -> None:
    """The called party answers with the address of somebody who is in a call of his own."""
    with running(wire) as tap:
        tap.connect("x3")
        wire.send(invite(), answer())  # FAR is not the proxy's, but a third party's who knows nothing of it
        until(lambda: tap.counter("flows_added") == 4)
        wire.send(*[datagram(("203.0.113.77", 5000), FAR, rtp(sequence)) for sequence in range(20)])
        wire.send(*[datagram(FAR, ("203.0.113.77", 5000), rtp(sequence)) for sequence in range(20)])
        wire.send(*[datagram((PROXY, 5000), FAR, rtp(sequence)) for sequence in range(20)])
        until(lambda: tap.counter("media") == 60)
        assert tap.counter("content") == 0
        assert tap.counter("media_other_source") == 40
        assert tap.counter("media_no_flow") == 20  # of what comes from there
