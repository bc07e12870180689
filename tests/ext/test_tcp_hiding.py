"""A subject who plays with TCP: what its peer drops or waits for hides no message from the tap."""

from __future__ import annotations

import pytest

from tests.access import frames as make
from tests.ext.streams import CLIENT, MS, NOW, SERVER, Sender, Tap, sip

S = 1000 * MS
PEER = 900_000  # number of the server's SYN


def acknowledging(sender: Sender, *, number: int | None = None, flags: int = make.ACK, isn: int = PEER) -> bytes:
    """The server has all that `sender` sent, or what stands before `number`."""
    ack = sender.sequence if number is None else number
    segment = make.tcp(
        SERVER, CLIENT, sender.ports[1], sender.ports[0], sequence=isn + (not flags & make.SYN), flags=flags,
        acknowledged=ack,
    )  # fmt: skip
    return make.ethernet(make.ipv4(SERVER, CLIENT, segment, protocol=6))


def connected(isn: int = 5_000_000) -> tuple[Tap, Sender]:
    tap, sender = Tap(), Sender(isn=isn)
    tap.feed(sender.syn())
    tap.feed(acknowledging(sender, flags=make.SYN | make.ACK))
    return tap, sender


@pytest.mark.parametrize("distance", [200_000, 10_000_000, 1 << 28, -(1 << 28)])
@pytest.mark.parametrize("already", [0, 150])
def test_a_segment_far_away_hides_nothing(distance: int, already: int) -> None:
    """The peer drops it, for it is outside of its window (RFC 9293 section 3.10.7.4)."""
    tap, sender = connected()
    message = sip(1)
    if already:
        tap.feed(sender.segment(message[:already]))
    tap.feed(sender.segment(b"x", at=sender.sequence + distance))
    tap.feed(acknowledging(sender))
    tap.feed(sender.segment(message[already:]))
    tap.feed(sender.segment(sip(2)))
    assert tap.messages() == [message, sip(2)]
    assert tap.counts("segments_refused") == (1,)


@pytest.mark.parametrize("distance", [10_000_000, 1 << 28, 700, 1, -1, -5000])
@pytest.mark.parametrize("already", [0, 150])
def test_a_syn_that_the_peer_does_not_believe_hides_nothing(distance: int, already: int) -> None:
    """The peer answers it with an acknowledgement of what it has (RFC 5961 section 4)."""
    tap, sender = connected()
    message = sip(1)
    if already:
        tap.feed(sender.segment(message[:already]))
    tap.feed(sender.segment(at=sender.sequence + distance, flags=make.SYN))
    tap.feed(acknowledging(sender))
    tap.feed(sender.segment(message[already:]))
    tap.feed(acknowledging(sender))
    tap.feed(sender.segment(sip(2)))
    assert tap.messages() == [message, sip(2)]
    assert tap.counts("streams_reused") == (0,)


def test_octets_held_back_hide_nothing() -> None:
    """The peer waits for them as long as it likes."""
    tap, sender = connected()
    start, message = sender.sequence, sip(1)
    tap.feed(sender.segment(message[:100]))
    tap.feed(acknowledging(sender))
    sender.segment(message[100:101])
    tap.feed(sender.segment(message[101:]))
    tap.feed(acknowledging(sender, number=start + 100))
    for _ in range(5):
        tap.stamp += 3 * S
        tap.walker.expire(tap.stamp, NOW)
    tap.feed(sender.segment(message[100:101], at=start + 100))
    assert tap.messages() == [message]
    assert tap.counts("stream_gaps", "messages_unfinished") == (0, 0)


def test_what_the_peer_has_and_the_tap_has_not_is_passed_over() -> None:
    tap, sender = connected()
    sender.segment(sip(1))
    tap.feed(sender.segment(sip(2)))
    tap.feed(acknowledging(sender))
    tap.walker.expire(tap.stamp + 3 * S, NOW)
    assert tap.messages() == [sip(2)]
    assert tap.counts("stream_gaps") == (1,)


@pytest.mark.parametrize("octets", [300_000, 1 << 28])
def test_after_a_long_loss_the_peer_s_word_moves_the_tap_on(octets: int) -> None:
    tap, sender = connected()
    tap.feed(sender.segment(sip(1)))
    tap.feed(acknowledging(sender))
    sender.sequence += octets
    tap.feed(sender.segment(sip(2)))
    tap.feed(acknowledging(sender))
    tap.feed(sender.segment(sip(3)))
    assert tap.messages() == [sip(1), sip(3)]


@pytest.mark.parametrize("isn", [77, 5_000_000 + (1 << 25)])
def test_the_same_ports_again_when_the_peer_takes_the_connection_up(isn: int) -> None:
    tap, sender = connected()
    tap.feed(sender.segment(sip(1)[:100]))
    tap.feed(acknowledging(sender))
    again = Sender(isn=isn)
    tap.feed(again.syn())
    tap.feed(acknowledging(again, flags=make.SYN | make.ACK, isn=1 << 29))
    tap.feed(again.segment(sip(2)))
    assert tap.messages() == [sip(2)]
    assert tap.counts("streams_reused", "messages_unfinished") == (2, 1)  # both directions
