"""Percentiles within the width of a bucket, against sorting."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mediation.delivery.histogram import Histogram


def test_an_empty_histogram_has_no_percentiles() -> None:
    histogram = Histogram()
    assert (histogram.count, histogram.percentile(50), histogram.max_us, histogram.within(1)) == (0, 0, 0, 0)


@given(st.lists(st.integers(0, 200_000_000), min_size=1, max_size=300), st.sampled_from([1, 50, 95, 99, 99.9, 100]))
def test_percentiles_are_those_of_the_sorted_list_to_three_percent(durations_us: list[int], percent: float) -> None:
    histogram = Histogram()
    for duration in durations_us:
        histogram.record(duration * 1000)
    limited = sorted(min(duration, (1 << 27) - 1) for duration in durations_us)
    exact = limited[max(1, -int(-len(limited) * percent // 100)) - 1]
    found = histogram.percentile(percent)
    assert exact <= found <= exact * 1.04 + 1
    assert histogram.count == len(durations_us)
    assert histogram.max_us == limited[-1]


@given(st.lists(st.integers(0, 20_000_000), max_size=100))
def test_within_counts_what_does_not_exceed_a_limit(durations_us: list[int]) -> None:
    histogram = Histogram()
    for duration in durations_us:
        histogram.record(duration * 1000)
    surely = sum(duration <= 8_000_000 for duration in durations_us)
    at_most = sum(duration <= 8_000_000 * 1.04 for duration in durations_us)
    assert surely <= histogram.within(8_000_000) <= at_most


def test_a_clock_that_was_set_back_counts_as_no_time() -> None:
    histogram = Histogram()
    histogram.record(-5_000_000)
    assert (histogram.percentile(50), histogram.count) == (0, 1)
