"""On a real wire: ports are used again after a call whose BYE was lost, and nothing of the next call comes out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count

import pytest

from mediation.core.interface import x2
from mediation.core.interface.notice import Notice, notice_of
from tests.access.conftest import Wire
from tests.access.process import answer, invite, sip
from tests.access.test_content import ETHERNET, FAR, NEAR, Running, datagram, pdus, running
from tests.access.test_reader import until

pytestmark = pytest.mark.root

QUIET_S = 2.0  # CLAIMED_QUIET_S of ext/continuity.pxd
NUMBERS = count(1)


def rtp(ssrc: int, number: int) -> bytes:
    return b"\x80\x00" + number.to_bytes(2) + (160 * number).to_bytes(4) + ssrc.to_bytes(4) + bytes(160)


def speech(near: int, far: int, packets: int = 20, first: int = 1) -> Iterator[bytes]:
    for number in range(first, first + packets):
        yield datagram(NEAR, FAR, rtp(near, number))
        yield datagram(FAR, NEAR, rtp(far, number))


def others(call_id: str) -> list[bytes]:
    """A call that no order is for, between the same two addresses: its INVITE and its answer."""
    reply = answer(call_id)[ETHERNET + 28 :].decode().replace("+12125550100", "+13105550199")
    return [invite("+13105550199", call_id), sip(reply.replace("\r\n", "\n"))]


def signal_others(wire: Wire, tap: Running) -> None:
    """Calls of others, one after the other, until one of them counts: a leg of the first call is told from them by 5 s.
    Then the silence that lies between two calls."""
    deadline = time.monotonic() + 30
    while tap.counter("calls_claimed") == 0:
        assert time.monotonic() < deadline
        wire.send(*others(f"next-{next(NUMBERS)}"))
        time.sleep(0.05)
    time.sleep(QUIET_S)


def told(octets: list[x2.Pdu]) -> list[Notice]:
    return [found for pdu in octets if (found := notice_of(pdu)) is not None]


def test_the_next_call_on_the_same_ports_and_the_return_of_the_first(wire: Wire) -> None:
    with running(wire, dde=False) as tap:
        x2_out, x3_out = tap.connect("x2"), tap.connect("x3")
        wire.send(invite(call_id="one"), answer("one"))
        until(lambda: tap.counter("flows_added") == 4)
        wire.send(*speech(1, 2))
        assert len(pdus(x3_out, 40)) == 40

        signal_others(wire, tap)
        wire.send(*speech(3, 4, 100))
        until(lambda: tap.counter("media_doubted") == 200)
        assert (tap.counter("content"), tap.counter("calls_doubted")) == (40, 1)
        assert told(pdus(x2_out, 3)) == [Notice.DOUBTED]
        wire.send(*speech(1, 2, 5, first=21))  # the first call was up all the same
        assert [pdu.payload for pdu in pdus(x3_out, 10)] == [each[ETHERNET:] for each in speech(1, 2, 5, first=21)]
        assert tap.counter("calls_resumed") == 1


def test_a_hold_and_a_new_stream_behind_its_signalling(wire: Wire) -> None:
    """The same silence and the same claim, and the call is up: nothing of it is lost."""
    with running(wire, dde=False) as tap:
        x3_out = tap.connect("x3")
        tap.connect("x2")
        wire.send(invite(call_id="one"), answer("one"))
        until(lambda: tap.counter("flows_added") == 4)
        wire.send(*speech(1, 2))
        pdus(x3_out, 40)
        signal_others(wire, tap)
        text = answer("one")[ETHERNET + 28 :].decode().replace("1 INVITE", "2 INVITE").replace("\r\n", "\n")
        wire.send(sip(text), *speech(5, 6))
        assert [pdu.payload for pdu in pdus(x3_out, 40)] == [each[ETHERNET:] for each in speech(5, 6)]
        assert tap.counter("media_doubted") == 0
