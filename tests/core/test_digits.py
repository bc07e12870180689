"""Presses of several sources to strings of digits: each once, whatever lags or is lost; and when a string is due."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediation.core.channel.digits import (
    FIRST_DIGIT_TIMEOUT_NS,
    FLASH,
    INTER_DIGIT_TIMEOUT_NS,
    KEYS,
    MAX_DIGITS,
    MAX_LAG_NS,
    MAX_RECENT,
    MAX_TOLD,
    Dialing,
    DigitString,
    Flash,
    Gathered,
    Keys,
    Press,
    Source,
    Tally,
)
from tests.core.call_rig import MS, SECOND, press

LATER = 60 * SECOND


def digit(key: str, at: int, *sources: Source, number: int = 0) -> Press:
    told = set(sources or (Source.TELEPHONE_EVENT,))
    return Press(key, at, at, at, min(told), number, set(told), set(told))


# Strings


def test_complete_at_the_hash_sign() -> None:
    string = DigitString()
    assert [string.add(digit(key, at)) for at, key in enumerate("12#")] == [[], [], [Gathered("12#", 0, 2)]]
    assert string.deadline_ns is None and string.flush() == []


def test_complete_at_32_digits() -> None:
    string = DigitString()
    due = [each for at in range(MAX_DIGITS + 1) for each in string.add(digit("1", at))]
    assert [each.digits for each in due] == ["1" * 32]
    assert string.flush() == [Gathered("1", MAX_DIGITS, MAX_DIGITS)]


def test_due_after_the_inter_digit_timeout() -> None:
    string = DigitString(200 * MS)
    string.add(digit("1", SECOND))
    assert string.deadline_ns == SECOND + 200 * MS
    string.add(digit("2", SECOND + 150 * MS))
    assert string.deadline_ns == SECOND + 350 * MS


def test_due_four_seconds_after_the_first_digit() -> None:
    string = DigitString()
    for at in range(4):
        string.add(digit("1", at * SECOND))
    assert string.deadline_ns == FIRST_DIGIT_TIMEOUT_NS == 4 * SECOND
    assert INTER_DIGIT_TIMEOUT_NS == 1_500 * MS


def test_digits_out_of_order_never_turn_time_back() -> None:
    string = DigitString()
    string.add(digit("1", SECOND))
    string.add(digit("2", SECOND - 1))
    assert string.flush() == [Gathered("12", SECOND, SECOND)]


def test_a_string_is_cut_only_where_no_source_carried_both_sides() -> None:
    rtp, relay, tone = Source.TELEPHONE_EVENT, Source.DTMF_RELAY, Source.PCMU
    string = DigitString()
    carried = [(rtp, relay), (relay, tone), (relay,), (tone,), (rtp, tone), (rtp,), (relay,)]
    for at, sources in enumerate(carried):
        string.add(digit(str(at), at, *sources))
    assert string.flush() == [
        Gathered("012", 0, 2, relay), Gathered("34", 3, 4, tone), Gathered("5", 5, 5, rtp), Gathered("6", 6, 6, relay),
    ]  # fmt: skip


def test_requests_that_overtook_each_other_are_put_in_order() -> None:
    string = DigitString()
    for at, (key, number) in enumerate([("1", 5), ("3", 7), ("4", 8), ("2", 6)]):
        string.add(digit(key, at, Source.DTMF, number=number))
    assert [each.digits for each in string.flush()] == ["1234"]


# Several sources


class Phone:
    """One call of which several sources tell keys."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.dialing = Dialing(INTER_DIGIT_TIMEOUT_NS, self.tally)
        self.done: list[Gathered | Flash] = []
        self.cseq = 100
        self.stamps: dict[str, int] = {}

    def rtp(self, packets: list[bytes], at: int, step: int = 20 * MS, *, up: bool = True) -> Phone:
        for n, packet in enumerate(packets):
            self.done += self.dialing.feed(packet, at + n * step, cut_through=up)
        return self

    def tell(self, source: Source, keys: str, at: int, duration: int = 0, *, cseq: int = 0, place: str = "a",
             up: bool = True) -> Phone:  # fmt: skip
        self.cseq = cseq or self.cseq + 1
        told = Keys(
            source=source, keys=keys, place=place, began_ns=at - duration, ended_ns=at, number=self.cseq,
            request=self.cseq,
        )  # fmt: skip
        self.done += self.dialing.take(told, at, cut_through=up)
        return self

    def tone(self, key: str, at: int, duration: int = 50 * MS, source: Source = Source.PCMU) -> Phone:
        told = Keys(source=source, keys=key, began_ns=at, ended_ns=at + duration)
        self.done += self.dialing.take(told, at, cut_through=True)
        return self

    def strings(self) -> list[tuple[str, Source]]:
        self.done += self.dialing.flush()
        return [(each.digits, each.source) if isinstance(each, Gathered) else ("!", Source(0)) for each in self.done]


RTP, RELAY, DTMF, KPML, PCMU = Source.TELEPHONE_EVENT, Source.DTMF_RELAY, Source.DTMF, Source.KPML, Source.PCMU


@pytest.mark.parametrize("lag", [-300 * MS, -1, 0, 90 * MS, 300 * MS])
def test_one_press_by_telephone_event_and_info_is_one_digit(lag: int) -> None:
    """Scenario 21, whichever comes first."""
    phone = Phone()
    if lag < 0:
        phone.tell(RELAY, "5", SECOND + lag).rtp(press("5", 0), SECOND)
    else:
        packets = press("5", 0)
        phone.rtp(packets[:1], SECOND).tell(RELAY, "5", SECOND + lag).rtp(packets[1:], SECOND + 20 * MS)
    assert phone.strings() == [("5", RTP)]
    assert phone.tally.again == 1


def test_sources_further_apart_than_the_longest_lag_are_two_presses() -> None:
    assert Phone().tell(RELAY, "5", SECOND).rtp(press("5", 0), SECOND + MAX_LAG_NS).strings() == [("5", RTP)]
    far = Phone().tell(RELAY, "5", SECOND).rtp(press("5", 0), SECOND + MAX_LAG_NS + 1)
    assert far.strings() == [("5", RELAY), ("5", RTP)]


def test_a_tone_that_had_ended_long_before_is_another_press() -> None:
    assert Phone().tell(RELAY, "5", 2 * SECOND).tone("5", SECOND).strings() == [("5", RELAY), ("5", PCMU)]


def test_a_press_lasts_as_long_as_any_of_its_sources_says() -> None:
    phone = Phone().rtp(press("5", 0)[:1], SECOND).tell(RELAY, "5", SECOND + 300 * MS, 300 * MS)
    assert phone.tell(KPML, "5", SECOND + 600 * MS).strings() == [("5", RTP)]


def test_a_source_that_told_a_press_tells_another_one_next_time() -> None:
    phone = Phone().rtp(press("5", 0)[:1], SECOND).tell(RELAY, "5", SECOND + 50 * MS)
    assert phone.tell(RELAY, "5", SECOND + 250 * MS).strings() == [("55", RELAY)]


@pytest.mark.parametrize("gap", [80 * MS, 120 * MS, 200 * MS, 500 * MS, 1300 * MS])
@pytest.mark.parametrize("lag", [0, 100 * MS, 300 * MS])
def test_fast_repeats_of_one_key_by_two_sources(gap: int, lag: int) -> None:
    events: list[tuple[int, int]] = [(n * gap, 0) for n in range(5)] + [(n * gap + lag, 1) for n in range(5)]
    phone = Phone()
    for at, source in sorted(events):
        if source:
            phone.tell(RELAY, "5", SECOND + at)
        else:
            phone.rtp(press("5", at // MS * 8)[:1], SECOND + at)
    assert phone.strings() == [("55555", RTP)]


def test_a_repeat_that_one_of_the_sources_lost() -> None:
    """Telephone-events of the second press are lost, then the INFO of the third."""
    phone = Phone().rtp(press("5", 0)[:1], SECOND).tell(RELAY, "5", SECOND + 100 * MS)
    phone.tell(RELAY, "5", SECOND + 600 * MS)
    phone.rtp(press("5", 9000)[:1], SECOND + 1200 * MS)
    assert "".join(digits for digits, _ in phone.strings()) == "555"


@pytest.mark.parametrize("duration", [0, 2900 * MS])
@pytest.mark.parametrize("source", [RELAY, DTMF, KPML])
def test_a_held_key_whose_request_comes_at_its_release(duration: int, source: Source) -> None:
    packets = [press("7", 0)[0]] + [press("7", 0)[1]] * 145 + press("7", 0)[-3:]
    phone = Phone().rtp(packets, SECOND).tell(source, "7", SECOND + 3000 * MS, duration)
    assert phone.strings() == [("7", RTP)]


def test_a_held_key_whose_telephone_events_come_late() -> None:
    phone = Phone().tell(RELAY, "7", 4 * SECOND, 3 * SECOND).rtp(press("7", 0), 4 * SECOND + 100 * MS)
    assert phone.strings() == [("7", RTP)]
    assert Phone().tell(RELAY, "7", 4 * SECOND, 3 * SECOND).rtp(press("7", 0), 5 * SECOND).strings() == [
        ("7", RELAY), ("7", RTP),
    ]  # fmt: skip


def test_tones_are_the_last_resort() -> None:
    phone = Phone()
    for n, key in enumerate("123"):
        phone.rtp(press(key, 4000 * n), SECOND + n * 300 * MS).tone(key, SECOND + n * 300 * MS + 5 * MS)
    assert phone.strings() == [("123", RTP)]
    assert Phone().tone("1", SECOND).tone("2", SECOND + 100 * MS).strings() == [("12", PCMU)]


def test_a_tone_heard_twice_is_one_and_repeated_is_two() -> None:
    phone = Phone().tone("1", SECOND).tone("1", SECOND + MS).tone("1", SECOND + 90 * MS).tone("1", SECOND + 91 * MS)
    assert phone.strings() == [("11", PCMU)]
    assert phone.tally.copies == 2


def test_four_sources_tell_one_number() -> None:
    rng = random.Random(1)
    events = []
    for n, key in enumerate("2015550199"):
        start = SECOND + n * 250 * MS
        events += [(start + rng.randrange(250) * MS, source, n, key) for source in (KPML, RELAY, DTMF)]
        events.append((start, RTP, n, key))
    phone = Phone()
    cseq = dict.fromkeys((KPML, RELAY, DTMF), 0)
    for at, source, n, key in sorted(events):
        if source is RTP:
            phone.rtp(press(key, 2000 * n)[:1], at)
        else:
            cseq[source] += 1
            phone.tell(source, key, at, cseq=cseq[source], place=source.name)
    assert phone.strings() == [("2015550199", RTP)]
    assert phone.tally.again == 30


@given(
    st.text(KEYS.replace("#", ""), min_size=1, max_size=24),
    st.integers(0, 300),
    st.randoms(use_true_random=False),
)
def test_every_press_once_by_two_sources_of_which_each_loses_some(dialed: str, lag: int, rng: random.Random) -> None:
    """No press is lost by both; a press is never closer than 400 ms to the next of the same key that only one told."""
    events = []
    at = SECOND
    for n, key in enumerate(dialed):
        at += 750 * MS
        carried = rng.choice(((RTP,), (RELAY,), (RTP, RELAY)))
        events += [(at + (lag * MS if source is RELAY else 0), source, n, key) for source in carried]
    phone = Phone()
    for stamp, source, n, key in sorted(events):
        if source is RTP:
            phone.rtp(press(key, 8000 * n)[: rng.randrange(1, 6)], stamp)
        else:
            phone.tell(RELAY, key, stamp)
    assert "".join(digits for digits, _ in phone.strings()) == dialed


def test_the_two_legs_of_a_back_to_back_agent_tell_one_press() -> None:
    """It keeps the Call-ID and gives the INFO a tag and a CSeq of its own."""
    phone = Phone()
    for n, key in enumerate("55"):
        phone.tell(RELAY, key, SECOND + n * 200 * MS, cseq=3 + n, place="a")
        phone.tell(RELAY, key, SECOND + n * 200 * MS + MS, cseq=90 + n, place="b")
    assert phone.strings() == [("55", RELAY)]


def test_retransmissions_of_a_request() -> None:
    phone = Phone().tell(RELAY, "5", SECOND, cseq=7).tell(RELAY, "5", SECOND + 500 * MS, cseq=7)
    assert phone.strings() == [("5", RELAY)]
    assert phone.tally.copies == 1


def test_a_request_that_the_network_refuses_counts_once_and_is_counted() -> None:
    phone = Phone().tell(RELAY, "5", SECOND, cseq=7)
    assert phone.dialing.answered("a", 7, 500) and phone.dialing.answered("a", 7, 500)
    assert not phone.dialing.answered("a", 8, 200)
    phone.tell(RELAY, "5", SECOND + 300 * MS, cseq=8)
    phone.dialing.answered("a", 8, 200)
    assert phone.strings() == [("55", RELAY)]
    assert phone.tally.refused == 1


@pytest.mark.parametrize(
    ("again", "after", "dialed"), [("5", 100 * MS, "5"), ("6", 100 * MS, "56"), ("5", 3 * SECOND, "55")]
)
def test_the_same_request_again_with_credentials_is_no_new_press(again: str, after: int, dialed: str) -> None:
    phone = Phone().tell(RELAY, "5", SECOND, cseq=7)
    phone.dialing.answered("a", 7, 407)
    phone.tell(RELAY, again, SECOND + after, cseq=8).tell(RELAY, "1", 8 * SECOND, cseq=9)
    assert phone.strings() == [(dialed + "1", RELAY)]
    assert phone.tally.refused == 0


def test_a_press_before_the_answer_stays_before_it_for_every_source() -> None:
    phone = Phone().rtp(press("2", 0)[:2], SECOND, up=False).tell(RELAY, "2", SECOND + 200 * MS)
    phone.rtp(press("2", 0)[2:], SECOND + 40 * MS)
    assert phone.strings() == []
    assert (phone.tally.early, phone.tally.again) == (1, 1)


def test_a_flash_completes_what_was_dialed_and_is_told_once() -> None:
    phone = Phone().tell(RELAY, "1", SECOND).rtp(press("!", 0), 2 * SECOND).tell(RELAY, FLASH, 2 * SECOND + 50 * MS)
    assert phone.strings() == [("1", RELAY), ("!", RTP)]


def test_a_slow_source_after_the_string_was_sent() -> None:
    phone = Phone()
    for n, key in enumerate("12#"):
        phone.rtp(press(key, 4000 * n), SECOND + n * 200 * MS)
    for n, key in enumerate("12#"):
        phone.tell(RELAY, key, SECOND + n * 200 * MS + 300 * MS)
    assert phone.strings() == [("12#", RTP)]


def test_memory_is_bounded() -> None:
    phone = Phone()
    for n in range(10 * MAX_TOLD):
        phone.tell(RELAY, "1", SECOND + n * SECOND, place=f"place{n}")
        phone.dialing.answered(f"place{n}", phone.cseq, 407)
    assert len(phone.dialing._told) == len(phone.dialing._challenged) == MAX_TOLD
    assert len(phone.dialing._presses._recent) == MAX_RECENT
