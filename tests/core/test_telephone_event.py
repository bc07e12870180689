"""RFC 4733 telephone-events to key presses: every press once, whatever is lost, repeated or late."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediation.core.channel.digits import KEYS
from mediation.core.errors import RemoteProtocolError
from mediation.core.network.telephone_event import MAX_SEGMENT, MAX_SOURCES, TelephoneEvents
from tests.core.call_rig import press, telephone_event


def keys(packets: list[bytes]) -> str:
    events = TelephoneEvents()
    found = [event for packet in packets for event in events.feed(packet).began]
    return "".join((KEYS + "!")[event] for event in found)


def test_a_press_is_one_digit() -> None:
    assert keys(press("5", 160)) == "5"


@pytest.mark.parametrize("kept", [set(c) for n in range(1, 7) for c in itertools.combinations(range(6), n)])
def test_any_packet_of_a_press_is_enough(kept: set[int]) -> None:
    packets = press("5", 160)
    assert keys([packet for at, packet in enumerate(packets) if at in kept]) == "5"


def test_the_same_key_twice() -> None:
    assert keys(press("5", 160) + press("5", 4000)) == "55"


def test_a_replay_with_the_same_time_stamps_is_the_same_press() -> None:
    assert keys(press("5", 160) + press("6", 4000) + press("5", 160)) == "56"


def test_a_second_copy_of_every_packet() -> None:
    assert keys([packet for packet in press("1", 0) + press("2", 4000) for _ in range(2)]) == "12"


def test_a_late_end_packet_after_the_next_press_began() -> None:
    first, second = press("1", 0), press("1", 4000)
    assert keys(first[:-1] + second[:1] + first[-1:] + second[1:]) == "11"


def test_all_keys() -> None:
    assert keys([packet for at, key in enumerate(KEYS) for packet in press(key, 4000 * at)]) == KEYS


def held(segments: int, *, lost: frozenset[int] = frozenset()) -> list[bytes]:
    """A key held for so many segments; the packets of `lost` ones are missing."""
    packets = []
    for at in range(segments):
        if at in lost:
            continue
        start, last = at * MAX_SEGMENT, at == segments - 1
        packets.append(telephone_event(7, start, marker=at == 0, duration=800))
        packets.append(telephone_event(7, start, duration=MAX_SEGMENT, end=last))
    return packets


@pytest.mark.parametrize("lost", [frozenset(), frozenset({1}), frozenset({0}), frozenset({1, 2})])
def test_a_key_held_for_long_is_one_digit(lost: frozenset[int]) -> None:
    """RFC 4733 section 2.5.1.3: after 65535 time units a new segment begins, without marker."""
    assert keys(held(4, lost=lost)) == "7"


def test_a_new_press_just_where_a_segment_would_begin() -> None:
    """The first ended, so the next is no continuation; nor is one with the marker set."""
    ended = [telephone_event(7, 0, marker=True), telephone_event(7, 0, duration=MAX_SEGMENT, end=True)]
    assert keys([*ended, telephone_event(7, MAX_SEGMENT)]) == "77"
    assert keys([telephone_event(7, 0), telephone_event(7, MAX_SEGMENT, marker=True)]) == "77"


def test_a_late_end_of_an_earlier_press_does_not_end_a_held_one() -> None:
    first = press("7", 0)
    held_key = [telephone_event(7, 4000, marker=True), first[-1], telephone_event(7, 4000 + MAX_SEGMENT)]
    assert keys([*first, *held_key]) == "77"


def test_time_stamps_that_wrap() -> None:
    assert keys(press("1", 0xFFFFFFFF) + press("1", 4000)) == "11"
    assert keys([telephone_event(1, 0xFFFFFFFF), telephone_event(1, MAX_SEGMENT - 1)]) == "1"


def test_events_packed_into_one_packet() -> None:
    """RFC 4733 section 2.5.1.5: each begins where the one before ended."""
    packed = telephone_event(1, 0, end=True, duration=400) + bytes([2, 0x8A]) + (400).to_bytes(2)
    assert keys([packed, packed, telephone_event(2, 400, end=True, duration=400)]) == "12"


def test_two_sources_do_not_disturb_each_other() -> None:
    mixed = [p for pair in zip(press("1", 0, ssrc=1), press("2", 0, ssrc=2), strict=True) for p in pair]
    assert keys(mixed) == "12"


def test_sources_are_bounded() -> None:
    events = TelephoneEvents()
    for ssrc in range(10 * MAX_SOURCES):
        events.feed(telephone_event(1, 0, ssrc=ssrc))
    assert len(events._sources) == MAX_SOURCES


def test_header_extension_csrc_and_padding() -> None:
    plain = telephone_event(9, 160)
    extended = (
        bytes([0x92 | 0x20]) + plain[1:12] + bytes(8) + b"\xbe\xde\x00\x01" + bytes(4) + plain[12:] + b"\0\0\0\x04"
    )
    assert keys([extended]) == "9"


@pytest.mark.parametrize(
    "packet",
    [b"", bytes(12), telephone_event(1, 0)[:13], b"\x9f" + telephone_event(1, 0)[1:], b"\xa0" + bytes(14) + b"\xff"],
)
def test_what_is_no_telephone_event_is_refused(packet: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        TelephoneEvents().feed(packet)


@given(st.binary(max_size=64))
def test_no_octets_do_harm(packet: bytes) -> None:
    events = TelephoneEvents()
    try:
        events.feed(packet)
    except RemoteProtocolError:
        return


@given(st.text(KEYS, min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_every_press_once_under_loss_copies_and_small_reordering(dialed: str, rng: random.Random) -> None:
    packets: list[bytes] = []
    for at, key in enumerate(dialed):
        whole = press(key, 160 + 4000 * at)
        kept = [p for p in whole if rng.random() < 0.6] or [whole[-1]]
        packets += [p for p in kept for _ in range(rng.choice((1, 1, 2, 3)))]
        late = rng.randrange(len(packets))
        packets.append(packets[late] if len(packets) - late < 10 else packets[-1])
    assert keys(packets) == dialed


def test_a_held_key_is_told_of_by_every_packet_of_it() -> None:
    events = TelephoneEvents()
    first, second = press("7", 0), press("8", 4000)
    assert [events.feed(packet).held for packet in first] == [[], [7], [7], [7], [7], [7]]
    assert events.feed(second[0]) == (7, [8], [])
    assert events.feed(first[-1]) == (7, [], [])  # a late packet of a press that is over holds nothing
    assert events.feed(second[-1]).held == [8]
    events = TelephoneEvents()
    assert [events.feed(packet).held for packet in held(2)] == [[], [7], [7], [7]]
