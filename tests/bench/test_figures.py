"""What a benchmark says must follow from what it measured: percentiles, the search for a rate, the load itself."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from bench import memory, report, search, traffic
from mediation.core.network import sip


def frames(path: Path) -> tuple[int, list[tuple[bytes, int, list[int]]]]:
    """(calls in a pass, [(octets, ordinal, offsets)]) of a frame file."""
    body = path.read_bytes()
    assert body[:4] == b"SIPF"
    count, calls = struct.unpack_from("<II", body, 4)
    found, at = [], 12
    for _ in range(count):
        length, marks, ordinal = struct.unpack_from("<HHi", body, at)
        offsets = list(struct.unpack_from(f"<{marks}H", body, at + 8))
        at += 8 + 2 * marks
        found.append((body[at : at + length], ordinal, offsets))
        at += length
    assert at == len(body)
    return calls, found


def simulated(limit: float, fastest: float) -> tuple[list[float], object]:
    asked: list[float] = []

    def trial(rate: float) -> search.Trial:
        asked.append(rate)
        reached = min(rate, fastest)
        return search.Trial(reached, int(reached), 0 if reached <= limit else int(reached - limit))

    return asked, trial


def test_search_ends_just_below_the_rate_that_loses() -> None:
    _, trial = simulated(limit=431_000, fastest=2_000_000)
    found = search.highest_without_loss(trial, 200_000, repeats=3)
    assert 431_000 / search.CLOSE_ENOUGH <= found.offered_per_second <= 431_000
    assert found.lost == 0 and found.lost_above > 0 and not found.sender_limited


def test_search_says_when_the_sender_is_the_limit() -> None:
    asked, trial = simulated(limit=1e9, fastest=500_000)
    found = search.highest_without_loss(trial, 200_000, repeats=2)
    assert found.offered_per_second == pytest.approx(500_000) and found.sender_limited
    assert len(asked) < 10


def test_search_backs_off_from_a_rate_that_does_not_hold() -> None:
    lost = iter([0, 0, 0, 1])

    def trial(rate: float) -> search.Trial:
        return search.Trial(min(rate, 300_000), 1000, next(lost, 0))

    found = search.highest_without_loss(trial, 200_000, repeats=3)
    assert found.offered_per_second == pytest.approx(300_000 * search.BACK_OFF)


def test_search_refuses_to_name_a_rate_when_everything_loses() -> None:
    with pytest.raises(RuntimeError):
        search.highest_without_loss(lambda rate: search.Trial(rate, 1000, 1), 200_000, repeats=2)


def test_percentiles_are_nearest_rank_in_microseconds() -> None:
    found = report.percentiles([1000 * value for value in range(1000, 0, -1)])
    assert found == {"p50_us": 501.0, "p95_us": 951.0, "p99_us": 991.0, "p999_us": 1000.0, "max_us": 1000.0}


def test_a_maximum_is_not_averaged_away() -> None:
    rounds = [report.percentiles([1000] * 10), report.percentiles([1000] * 10), report.percentiles([9_000_000])]
    assert report.medians(rounds)["p50_us"] == 1.0
    assert report.medians(rounds)["max_us"] == 9000.0


def test_mix_is_calls_of_700_octets_and_one_percent_of_subjects(tmp_path: Path) -> None:
    count, of_subjects = traffic.mix(tmp_path / "mix", calls=600, targets=10, share=0.01)
    calls, found = frames(tmp_path / "mix")
    assert (calls, len(found), count) == (600, 4200, 4200)
    numbers = {traffic.number(index) for index in range(10)}
    matching = 0
    for octets, _, offsets in found:
        message = sip.parse(octets[42:])
        assert len(octets) == 742
        for at in offsets:
            width = 9 if at & (traffic.CALLER | traffic.CALLED) else 10
            place = at & 0x7FF
            assert octets[place : place + width].isdigit()
        matching += any(number in message.from_.uri + message.to.uri for number in numbers)
    assert matching == of_subjects == 42


def test_each_event_holds_its_own_stamp_and_that_of_its_call(tmp_path: Path) -> None:
    traffic.events(tmp_path / "events", calls=90, subject=traffic.number(1), live=30)
    _, found = frames(tmp_path / "events")
    for octets, _, offsets in found:
        message = sip.parse(octets[42:])
        own = [at & 0x7FF for at in offsets if at & traffic.OWN]
        opening = [at for at in offsets if not at & traffic.OWN]
        assert own and all(octets[at - 4 : at] == b"lat-" for at in own + opening)
        assert bool(opening) == (message.method != "INVITE")


def test_standing_calls_are_answered_in_order_and_never_end(tmp_path: Path) -> None:
    count = traffic.standing(tmp_path / "calls", calls=100)
    calls, found = frames(tmp_path / "calls")
    assert (calls, len(found), count) == (100, 300, 300)
    heard: dict[int, list[str]] = {}
    for octets, call, _ in found:
        message = sip.parse(octets[42:])
        assert traffic.number(call) in message.from_.uri
        heard.setdefault(call, []).append(message.method or str(message.status))
    assert set(map(tuple, heard.values())) == {("INVITE", "200", "ACK")} and sorted(heard) == list(range(100))


def test_memory_is_counted_once_for_the_site_and_whole_for_each_function() -> None:
    mib = memory.MIB
    found = memory.figures({"iap": memory.Held(30 * mib, 20 * mib), "mediator": memory.Held(15 * mib, 10 * mib)})
    assert found == {"resident_mib": 30.0, "functions": {"iap": 30.0, "mediator": 15.0}}


def test_ip_header_checksum_is_right() -> None:
    octets = traffic.frame(b"x", "192.0.2.1", "192.0.2.2")
    assert sum(struct.unpack("!10H", octets[14:34])) % 0xFFFF == 0


def test_targets_are_distinct_and_never_another_party() -> None:
    numbers = {traffic.number(index) for index in range(100_000)}
    assert len(numbers) == 100_000
    assert {number[:2] for number in numbers} == {"12"} and {len(number) for number in numbers} == {11}
