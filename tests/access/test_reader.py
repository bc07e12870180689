"""The tap's own thread: its clock, its naps, and X2 output to a peer that is slow, gone, or new."""

from __future__ import annotations

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
from mediation.runtime.config import DialPlan, Iap
from tests.access import frames as make
from tests.access.conftest import Wire

pytestmark = pytest.mark.root

S = 1_000_000_000
A4, B4 = "192.0.2.1", "198.51.100.2"
XID = bytes(range(16))


def invite(number: int) -> bytes:
    payload = (
        f"INVITE sip:+12125550100@a SIP/2.0\r\nVia: SIP/2.0/UDP b;branch=z9hG4bK{number:03d}\r\n"
        f"From: <sip:c@d>;tag=e\r\nTo: <sip:+12125550100@a>\r\nCall-ID: {number:03d}\r\nCSeq: 1 INVITE\r\n"
        "Content-Length: 0\r\n\r\n"
    ).encode()
    return make.ethernet(make.ipv4(A4, B4, make.udp(A4, B4, 5060, 5060, payload)))


class Running:
    def __init__(self, wire: Wire, *, now_ns: int, until_ns: int, out_bound: int = 1 << 20) -> None:
        iap = Iap(name="tap", interface=wire.far, namespace=wire.namespace, ring_mib=4)
        described, self.socket, self.filter = opener.open_tap(iap)
        self.matcher = Matcher((iap,), DialPlan(), live=False, out_bound=out_bound)
        self.matcher.add_task(XID, ["tel:+12125550100"], 0, until_ns)
        self.walker = RingWalker(
            self.matcher, 0, iap.ports, self.socket.fileno(), described.frame_size, described.frame_count,
            self.filter.media_maps,
        )  # fmt: skip
        self.reader = Reader(self.matcher, [self.walker], self.filter.media_maps, now_ns)
        self.thread = threading.Thread(target=self.reader.run)
        self.thread.start()

    def connect(self, *, send_octets: int = 0) -> socket.socket:
        ours, theirs = socket.socketpair()
        if send_octets:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_octets)
        theirs.setblocking(False)
        assert self.reader.connect(theirs.detach())
        ours.settimeout(5)
        return ours

    def walked(self, frames: int) -> None:
        def whole() -> bool:
            with self.reader:  # a frame is counted before it is matched; nobody is half-way while this is held
                return self.walker.counters()["frames"] >= frames

        until(whole)


def until(happened: object) -> None:
    deadline = time.monotonic() + 5
    while not happened():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.001)


@contextmanager
def running(wire: Wire, **settings: int) -> Iterator[Running]:
    now = time.time_ns()
    made = Running(wire, **{"now_ns": now, "until_ns": now + 3600 * S, **settings})
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


def test_windows_are_judged_by_a_clock_that_never_goes_back(wire: Wire) -> None:
    """The thread is started with the authority clock an hour ahead of the wall clock (somebody set that back)."""
    now = time.time_ns()
    with running(wire, until_ns=now + 600 * S) as straight:
        wire.send(invite(1))
        straight.walked(1)
        assert straight.matcher.counters()["pdus"] == 1
    with running(wire, until_ns=now + 600 * S, now_ns=now + 3600 * S) as ahead:
        wire.send(invite(2))
        ahead.walked(1)
        found = ahead.matcher.counters()
        assert (found["pdus"], found["outside_window"]) == (0, 1)


def test_a_burst_is_napped_through_and_a_lone_message_is_not(wire: Wire) -> None:
    with running(wire) as tap:
        for number in range(10):
            wire.send(invite(number))
            tap.walked(number + 1)
        lone = tap.reader.counters()
        assert lone["naps"] == 0
        assert lone["wakeups"] > 0
        with tap.reader:  # a stalled thread finds many at once
            wire.send(*[invite(number) for number in range(500)])
        tap.walked(510)
        assert tap.reader.counters()["naps"] >= 1
        assert tap.walker.counters()["kernel_drops"] == 0


def test_a_slow_mediator_gets_everything_in_order(wire: Wire) -> None:
    with running(wire) as tap:
        connection = tap.connect(send_octets=4096)
        wire.send(*[invite(number) for number in range(500)])
        tap.walked(500)
        assert tap.reader.counters()["x2_waiting"] > 0
        found = pdus(connection, 500)
        assert [pdu.payload.split(b"Call-ID: ")[1].split(b"\r")[0] for pdu in found] == [
            f"{number:03d}".encode() for number in range(500)
        ]


def test_a_new_mediator_starts_at_a_whole_pdu(wire: Wire) -> None:
    with running(wire) as tap:
        connection = tap.connect(send_octets=4096)
        with tap.reader:  # one round finds them all, so that the socket's buffer ends within a PDU
            wire.send(*[invite(number) for number in range(500)])
        tap.walked(500)
        size = len(x2.encode(pdus_of(connection)))
        connection.close()
        until(lambda: not tap.reader.connected)
        assert tap.reader.counters()["x2_torn"] == 1
        assert tap.reader.counters()["x2_octets"] % size  # the last PDU was taken in part
        waiting = 500 - tap.reader.counters()["x2_octets"] // size
        again = tap.connect()
        assert pdus(again, waiting)[-1].payload.count(b"Call-ID: 499") == 1


def pdus_of(connection: socket.socket) -> x2.Pdu:
    framer = x2.Framer()
    while True:
        found = framer.feed(connection.recv(200))
        if found:
            return found[0]


def test_what_nobody_takes_is_bounded_and_counted(wire: Wire) -> None:
    with running(wire, out_bound=65536) as tap:
        wire.send(*[invite(number) for number in range(500)])
        tap.walked(500)
        until(lambda: tap.reader.counters()["x2_lost"])
        counted = tap.reader.counters()
        connection = tap.connect()
        assert len(pdus(connection, 500 - counted["x2_lost"])) == 500 - counted["x2_lost"]


def test_only_one_mediator_at_a_time(wire: Wire) -> None:
    with running(wire) as tap:
        first = tap.connect()
        ours, theirs = socket.socketpair()
        assert not tap.reader.connect(theirs.fileno())
        first.close()
        assert tap.reader.connect(theirs.detach())
        ours.close()
