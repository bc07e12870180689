"""Content that comes by more than one way, or without saying where it was seen."""

from __future__ import annotations

from mediation.delivery._content import Queue
from tests.ext.test_content import (
    CORRELATION,
    ENOUGH,
    SECOND,
    START,
    counted,
    drain,
    feed,
    ip_packet,
    key,
    opened,
    streams,
    x3,
)


def test_whole_pdus_by_another_way_leave_the_rest_of_the_stream_alone() -> None:
    """Those of third parties, in the middle of one of our access function's."""
    queue = Queue(ENOUGH, ENOUGH)
    made = opened(queue, cable=True)
    one = x3(1)
    for cut in (1, 39, 45, len(one) - 1):
        feed(made, one[:cut])
        made.feed(x3(2, sequence=None), START, SECOND, True)
        made.feed(x3(3)[:-1], START, SECOND, True)  # what is not whole is forgotten
        feed(made, one[cut:])
        assert [each[12:] for each in _datagrams(queue)] == [ip_packet(2), ip_packet(1)]


def _datagrams(queue: Queue) -> list[bytes]:
    octets = drain(queue)
    return [octets[at : at + 184] for at in range(0, len(octets), 184)]


def test_a_packet_without_the_name_of_its_access_point_is_the_first_one_s() -> None:
    queue = Queue(ENOUGH, ENOUGH)
    made = streams(point=b"SBC1")
    made.open(key(), queue, 1, 2, False, CORRELATION)
    feed(made, x3(1, point="") + x3(2) + x3(3, point="SBC2"))
    assert (queue.packets, counted(made)["held"]) == (2, 1)


def test_streams_are_bounded() -> None:
    made = streams(capacity=3)
    feed(made, b"".join(x3(n, correlation=n) for n in range(10)))
    assert counted(made)["no_room"] == 7
