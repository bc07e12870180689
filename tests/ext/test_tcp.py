"""SIP over TCP: framing, reassembly, loss and pick-up, byte by byte and at random; hostile streams stay bounded."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.access import frames as make
from tests.ext.streams import CLIENT, MS, NOW, SERVER, XID, Sender, Tap, other, pieces, shuffled, sip

S = 1000 * MS
MESSAGES = [sip(1, body=b"v=0\r\n" * 40), other(2), sip(3), sip(4, body=b"SIP/2.0 200 OK\r\n\r\nINVITE x SIP/2.0\r\n")]
SUBJECTS = [MESSAGES[0], MESSAGES[2], MESSAGES[3]]
STREAM = b"\r\n\r\n" + MESSAGES[0] + MESSAGES[1] + b"\r\n" + MESSAGES[2] + b"\r\n\r\n\r\n" + MESSAGES[3]


def opened(**how: int) -> tuple[Tap, Sender]:
    tap, sender = Tap(), Sender(**how)
    tap.feed(sender.syn())
    return tap, sender


@pytest.mark.parametrize("version", [4, 6])
def test_several_messages_in_a_segment(version: int) -> None:
    tap, sender = opened(version=version)
    tap.feed(sender.segment(STREAM))
    (first, *rest) = tap.pdus()
    assert [first.payload, *(pdu.payload for pdu in rest)] == SUBJECTS
    assert (first.xid, first.source[1], first.destination[1]) == (XID, 40000, 5060)
    assert first.source[0] == (CLIENT if version == 4 else "2001:db8::7")
    assert tap.counts("streams_opened", "stream_messages", "stream_resyncs", "to_stream") == (1, 4, 0, 2)


def test_octet_by_octet_and_the_stamp_is_that_of_the_last_one() -> None:
    tap, sender = opened()
    for i in range(len(MESSAGES[0])):
        assert tap.pdus() == []
        tap.feed(sender.segment(MESSAGES[0][i : i + 1]))
    (pdu,) = tap.pdus()
    assert pdu.payload == MESSAGES[0]
    assert pdu.stamp_ns == tap.stamp == NOW + (1 + len(MESSAGES[0])) * MS


def test_octet_by_octet_a_whole_stream() -> None:
    tap, sender = opened()
    for i in range(len(STREAM)):
        tap.feed(sender.segment(STREAM[i : i + 1]))
    assert tap.messages() == SUBJECTS
    assert tap.counts("stream_resyncs", "stream_junk", "stream_messages") == (0, 0, 4)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 700), st.integers(0, 6), st.booleans())
def test_any_segmentation_order_and_repetition_gives_the_same_messages(
    seed: int, largest: int, distance: int, repeat: bool
) -> None:
    source = random.Random(seed)
    tap, sender = opened(isn=source.randrange(1 << 32))
    start = sender.sequence
    frames = sender.cut(STREAM, pieces(source, len(STREAM), largest))
    if repeat:  # whole segments again, and ranges that match no segment's
        frames += source.sample(frames, len(frames) // 3)
        for _ in range(5):
            at = source.randrange(len(STREAM))
            frames.insert(source.randrange(len(frames)), sender.segment(STREAM[at : at + 300], at=start + at))
    for frame in shuffled(source, frames, distance):
        tap.feed(frame, after_ns=1000)
    if tap.counts("segments_refused") == (0,):
        assert tap.messages() == SUBJECTS
        assert tap.counts("stream_gaps", "stream_resyncs", "segments_conflicting") == (0, 0, 0)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(20, 400))
def test_after_a_loss_the_stream_is_understood_again(seed: int, largest: int) -> None:
    """Every message that no lost octet belongs to comes out, and no octet of another's."""
    source = random.Random(seed)
    messages = [sip(i, body=b"v=0\r\n" * source.randrange(30)) if i % 3 else other(i) for i in range(24)]
    stream = b"".join(messages)
    sizes = pieces(source, len(stream), largest)
    tap, sender = opened()
    frames = sender.cut(stream, sizes)
    lost = source.randrange(len(frames) // 4, len(frames) // 2)
    for i, frame in enumerate(frames):
        if i != lost:
            tap.feed(frame, after_ns=1000)
    tap.walker.expire(tap.stamp + 2 * S, NOW)
    found = tap.messages()
    assert tap.counts("stream_gaps") == (1,)
    gap, at = range(sum(sizes[:lost]), sum(sizes[: lost + 1])), 0
    for message in messages:
        if b"+12125550100" in message and not set(gap) & set(range(at, at + len(message))):
            assert message in found
        at += len(message)
    assert all(any(each.startswith(message[:60]) for each in messages) for message in found)
    assert all(b"+12125550100" in message for message in found)


def test_a_gap_waits_and_is_then_passed_over() -> None:
    tap, sender = opened()
    first, lost, last = sip(1), sender.segment, sip(3)
    tap.feed(sender.segment(first))
    lost(other(2))
    tap.feed(sender.segment(last))
    ahead = tap.stamp
    assert tap.messages() == [first]
    tap.walker.expire(ahead + 2 * S - 1, NOW)
    assert tap.messages() == []
    tap.walker.expire(ahead + 2 * S, NOW)
    (pdu,) = tap.pdus()
    assert pdu.payload == last
    assert pdu.stamp_ns == ahead  # when it was received, not when the waiting ended
    assert tap.counts("stream_gaps", "stream_gap_octets", "segments_ahead") == (1, len(other(2)), 1)


def test_a_gap_that_is_filled_in_time_is_none() -> None:
    tap, sender = opened()
    start = sender.sequence
    tap.feed(sender.segment(STREAM[100:], at=start + 100))
    assert tap.messages() == []
    tap.feed(sender.segment(STREAM[:100], at=start))
    assert tap.messages() == SUBJECTS
    assert tap.counts("stream_gaps", "segments_ahead") == (0, 1)


def test_a_lost_body_leaves_the_headers_and_the_next_message() -> None:
    tap, sender = opened()
    message = sip(1, body=b"v" * 2000)
    tap.feed(sender.segment(message[:600]))
    sender.segment(message[600:1600])
    tap.feed(sender.segment(message[1600:] + sip(2)))
    tap.walker.expire(tap.stamp + 2 * S, NOW)
    assert tap.messages() == [message[:600], sip(2)]
    assert tap.counts("messages_cut", "stream_resyncs") == (1, 0)


def test_more_ahead_than_a_window_holds_passes_the_gap_over() -> None:
    tap, sender = opened()
    sender.segment(other(1))
    messages = [sip(i, body=b"b" * 1000) for i in range(2, 140)]
    for message in messages:
        tap.feed(sender.segment(message), after_ns=1000)
    found = tap.messages()
    assert tap.counts("stream_gaps") == (1,)
    assert len(found) + tap.counts("segments_refused")[0] >= len(messages) - 1
    tap.feed(sender.segment(sip(500)))
    tap.walker.expire(tap.stamp + 2 * S, NOW)
    tap.walker.expire(tap.stamp + 9 * S, NOW)
    assert sip(500) in tap.messages()


def test_picked_up_in_the_middle() -> None:
    tap, sender = Tap(), Sender()
    tap.feed(sender.segment(sip(1)[200:] + sip(2)))
    tap.feed(sender.segment(sip(3)))
    assert tap.messages() == [sip(2), sip(3)]
    assert tap.counts("streams_joined", "streams_opened", "stream_junk") == (1, 0, len(sip(1)) - 200)


def test_the_search_is_not_fooled_by_what_looks_like_a_start_line() -> None:
    tap, sender = Tap(), Sender()
    tap.feed(sender.segment(b"x\r\nVia: SIP/2.0/TCP a\r\nUser-Agent: My Phone SIP/2.0\r\n\r\n" + sip(1)))
    assert tap.messages() == [sip(1)]
    assert tap.counts("stream_messages") == (1,)


def test_a_start_line_in_two_segments_is_found() -> None:
    tap, sender = Tap(), Sender()
    tap.feed(sender.segment(b"junk\r\n" + sip(1)[:20]))
    tap.feed(sender.segment(sip(1)[20:]))
    assert tap.messages() == [sip(1)]


def test_content_length_is_the_only_frame() -> None:
    tap, sender = opened()
    tap.feed(sender.segment(sip(1, length=-1) + sip(2)))
    assert tap.messages() == [sip(1, length=-1), sip(2)]
    assert tap.counts("messages_without_length", "stream_resyncs") == (1, 0)


def test_too_long_a_message_is_given_on_cut_off_and_the_next_one_found() -> None:
    tap, sender = opened()
    long = sip(1, body=b"b" * 70_000)
    for frame in sender.cut(long + sip(2), [1400] * 60):
        tap.feed(frame)
    first, second = tap.messages()
    assert first == long[:65536]
    assert second == sip(2)
    assert tap.counts("messages_cut", "stream_resyncs") == (1, 0)


def test_a_message_of_64_kib_is_whole() -> None:
    tap, sender = opened()
    long = sip(1)
    long = sip(1, body=b"b" * (65536 - len(long) - 4))
    assert len(long) == 65536
    for frame in sender.cut(long, [1400] * 60):
        tap.feed(frame)
    assert tap.messages() == [long]


def test_endless_headers_are_cut() -> None:
    tap, sender = opened()
    for frame in sender.cut(sip(1, filler=80_000) + b"\r\n" + sip(2), [1400] * 80):
        tap.feed(frame)
    assert tap.messages() == [sip(1, filler=80_000)[:65536], sip(2)]


@pytest.mark.parametrize("length", [1 << 21, 1 << 40, (1 << 63) - 1])
def test_a_length_that_nobody_believes_does_not_blind_the_tap(length: int) -> None:
    tap, sender = opened()
    for frame in sender.cut(sip(1, body=b"b" * 66_000, length=length), [1400] * 60):
        tap.feed(frame)
    tap.feed(sender.segment(b"\r\n" + sip(2)))
    assert sip(2) in tap.messages()


def test_the_first_octets_count() -> None:
    tap, sender = opened()
    start = sender.sequence
    message = sip(1)
    forged = message.replace(b"+12125550100", b"+12125550199")
    tap.feed(sender.segment(message[50:], at=start + 50))
    tap.feed(sender.segment(forged, at=start))
    assert tap.messages() == [message]
    assert tap.counts("segments_conflicting") == (1,)


def test_ends_of_connections() -> None:
    tap, sender = opened()
    tap.feed(sender.segment(sip(1)[:100]))
    tap.feed(sender.segment(at=sender.sequence + 7, flags=make.RST))  # no receiver would believe it
    assert tap.counts("resets_ignored", "streams_closed") == (1, 0)
    tap.feed(sender.segment(sip(1)[100:]))
    assert tap.messages() == [sip(1)]
    tap.feed(sender.segment(sip(2)[:100]))
    tap.feed(sender.segment(at=sender.sequence, flags=make.RST))
    assert tap.counts("streams_closed", "messages_unfinished") == (1, 1)


def test_fin_with_the_last_octets() -> None:
    tap, sender = opened()
    tap.feed(sender.segment(sip(1), flags=make.ACK | make.FIN))
    assert tap.messages() == [sip(1)]
    assert tap.counts("streams_closed") == (1,)


def test_the_same_ports_again() -> None:
    tap, sender = opened()
    tap.feed(sender.segment(sip(1)[:100]))
    again = Sender(isn=77)
    tap.feed(again.syn())
    tap.feed(again.segment(sip(2)))
    assert tap.messages() == [sip(2)]
    assert tap.counts("streams_opened", "streams_reused", "messages_unfinished") == (2, 1, 1)


def test_a_repeated_syn_is_no_new_connection() -> None:
    tap, sender = Tap(), Sender()
    syn = sender.syn()
    tap.feed(syn)
    tap.feed(sender.segment(sip(1)[:90]))
    tap.feed(syn)
    tap.feed(sender.segment(sip(1)[90:]))
    assert tap.messages() == [sip(1)]
    assert tap.counts("streams_opened", "streams_reused") == (1, 0)


def test_a_jump_starts_the_search_anew() -> None:
    tap, sender = opened()
    tap.feed(sender.segment(sip(1)))
    sender.sequence += 1 << 30
    tap.feed(sender.segment(sip(2)))
    assert tap.messages() == [sip(1), sip(2)]
    assert tap.counts("stream_jumps") == (1,)


def test_tls_is_counted_and_no_sip() -> None:
    tap, sender = opened()
    tap.feed(sender.segment(b"\x16\x03\x01\x02\x00\x01" + bytes(500)))
    tap.feed(sender.segment(b"\x17\x03\x03\x02\x00" + bytes(500)))
    assert tap.messages() == []
    assert tap.counts("stream_encrypted", "stream_messages") == (2, 0)


def test_streams_are_bounded_and_the_oldest_goes() -> None:
    tap = Tap()
    for i in range(33_000):
        tap.feed(Sender(sport=1024 + i % 60000, dport=5060, isn=i).syn(), after_ns=0)
    assert tap.counts("streams_evicted") == (33_000 - 32_768,)


def test_windows_are_bounded_and_the_oldest_goes() -> None:
    tap = Tap()
    senders = [Sender(sport=2000 + i) for i in range(300)]
    for sender in senders:
        tap.feed(sender.syn())
        tap.feed(sender.segment(sip(1)[:50]))
    assert tap.counts("windows_evicted") == (300 - 256,)
    tap.feed(senders[-1].segment(sip(1)[50:]))
    assert tap.messages() == [sip(1)]
    tap.feed(senders[0].segment(sip(1)[50:] + sip(2)))  # it was given up, and understands the next one
    assert tap.messages() == [sip(2)]


def test_checksums_and_headers() -> None:
    tap, sender = opened()
    good = sender.segment(sip(1))
    for broken in (good[:46] + b"\x10" + good[47:], good[:46] + b"\xf0" + good[47:40], good[:14] + make.ipv4(
        CLIENT, SERVER, b"1234567", protocol=6)):  # fmt: skip
        tap.feed(broken)
    assert tap.counts("tcp_malformed")[0] >= 1
    assert tap.messages() == []


def test_other_ports_are_nobodys() -> None:
    tap, sender = Tap(), Sender(dport=443)
    tap.feed(sender.syn())
    tap.feed(sender.segment(sip(1)))
    assert tap.messages() == []
    assert tap.counts("other_connection", "to_stream") == (2, 0)


def test_a_capture_needs_no_port() -> None:
    tap, sender = Tap(), Sender(dport=50600)
    tap.walker.recognise_by_form()
    tap.feed(sender.syn())
    tap.feed(sender.segment(sip(1)[:200]))
    tap.feed(sender.segment(sip(1)[200:]))
    assert tap.messages() == [sip(1)]
