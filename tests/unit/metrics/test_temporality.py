"""What senders count becomes what grew: each unit once, whatever comes again, late, reset or not at all."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servemesh.exponential import ExponentialHistogram
from servemesh.metrics.domain.points import Series
from servemesh.metrics.domain.queries import Kind
from servemesh.metrics.domain.samples import KIND_OF, Drop, Explicit, Flow
from servemesh.metrics.domain.temporality import Bounds, Stream, Value, mistimed, taken

WATCHED_MS = 1_000
increments = st.lists(st.integers(0, 1_000), min_size=1, max_size=30)


def a_stream(flow: Flow) -> Stream:
    return Stream(Series.of("m", KIND_OF[flow]), flow)


def taken_all(stream: Stream, points: list[tuple[int, int, Value]]) -> list[Value | Drop]:
    return [taken(stream, start, time, value, WATCHED_MS) for start, time, value in points]


def _sum(values: list[Value | Drop]) -> float:
    return math.fsum(value for value in values if isinstance(value, float))


@given(increments, st.data())
def test_cumulative_counts_add_up_whatever_comes_twice_or_not_at_all(grown: list[int], data: st.DataObject):
    totals = [float(sum(grown[: n + 1])) for n in range(len(grown))]
    sent = [(WATCHED_MS, 2_000 + place, total) for place, total in enumerate(totals)]
    kept = [point for point in sent if data.draw(st.booleans())] or sent[-1:]
    twice = [point for point in kept for _ in range(data.draw(st.integers(1, 3)))]
    assert _sum(taken_all(a_stream(Flow.CUMULATIVE_COUNTER), twice)) == kept[-1][2]


@given(st.lists(increments, min_size=1, max_size=4), st.booleans())
def test_resets_lose_nothing_that_was_sent(lives: list[list[int]], says_so: bool):
    """A process that starts again begins at 0. One that does not say when must be seen to have less than before."""
    stream, stored, time_ms, before = a_stream(Flow.CUMULATIVE_COUNTER), 0.0, 2_000, 0.0
    for life in lives:
        start_ms, total = time_ms if says_so else WATCHED_MS, 0.0
        for more in life:
            time_ms += 1
            total += more
            got = taken(stream, start_ms, time_ms, total, WATCHED_MS)
            assert isinstance(got, float)
            expected = more if total != more else total if says_so or total < before else total - before
            assert got == expected
            stored += got
            before = total
    if says_so:
        assert stored == sum(map(sum, lives))


def test_a_sum_that_began_before_anybody_looked_is_counted_from_its_first_point():
    stream = a_stream(Flow.CUMULATIVE_COUNTER)
    assert taken_all(stream, [(10, 2_000, 500.0), (10, 3_000, 502.0)]) == [Drop.BASELINE, 2.0]


def test_a_sum_of_unknown_start_is_counted_from_its_first_point():
    stream = a_stream(Flow.CUMULATIVE_COUNTER)
    assert taken_all(stream, [(0, 2_000, 500.0), (0, 3_000, 502.0)]) == [Drop.BASELINE, 2.0]


def test_cumulative_points_that_come_late_are_in_the_newer_ones_already():
    stream = a_stream(Flow.CUMULATIVE_COUNTER)
    points = [
        (WATCHED_MS, 3_000, 5.0),
        (WATCHED_MS, 2_000, 3.0),
        (WATCHED_MS, 3_000, 5.0),
        (WATCHED_MS, 4_000, 6.0),
    ]
    assert taken_all(stream, points) == [5.0, Drop.LATE, Drop.DUPLICATE, 1.0]


def test_points_of_a_process_that_has_been_replaced_are_late():
    stream = a_stream(Flow.CUMULATIVE_COUNTER)
    assert taken_all(stream, [(3_000, 4_000, 1.0), (2_000, 5_000, 9.0)]) == [1.0, Drop.LATE]


@given(st.lists(st.integers(1, 100), min_size=1, max_size=20, unique=True).map(sorted), st.data())
def test_growth_is_counted_once_in_any_order_within_what_is_remembered(ends: list[int], data: st.DataObject):
    sent: list[tuple[int, int, Value]] = []
    for begin in range(0, len(ends), 3):  # threes in any order, each perhaps twice
        three = data.draw(st.permutations(ends[begin : begin + 3]))
        sent.extend((0, end, 1.0) for end in three for _ in range(data.draw(st.integers(1, 2))))
    assert _sum(taken_all(a_stream(Flow.DELTA_COUNTER), sent)) == len(ends)


def test_growth_older_than_what_is_remembered_is_not_counted_a_second_time():
    stream = a_stream(Flow.DELTA_COUNTER)
    got = taken_all(stream, [(0, end, 1.0) for end in (10, 20, 30, 40, 50)])
    assert got == [1.0] * 5
    assert taken(stream, 0, 10, 1.0, WATCHED_MS) is Drop.LATE


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=20))
def test_growth_of_what_goes_up_and_down_is_added_to_its_level(grown: list[float]):
    stream = a_stream(Flow.DELTA_UP_DOWN)
    got = taken_all(stream, [(0, 10 + place, more) for place, more in enumerate(grown)])
    level = 0.0
    for value, more in zip(got, grown, strict=True):
        level += more
        assert value == level


def test_a_gauge_is_kept_as_it_is_once():
    stream = a_stream(Flow.GAUGE)
    points = [(0, 10, 1.0), (0, 10, 1.0), (0, 5, 2.0), (0, 20, -3.0)]
    assert taken_all(stream, points) == [1.0, Drop.DUPLICATE, 2.0, -3.0]


@given(st.lists(st.lists(st.floats(0.001, 10), max_size=5), min_size=1, max_size=8))
def test_growth_of_exponential_histograms_is_what_was_observed_since(observed: list[list[float]]):
    stream, everything = a_stream(Flow.CUMULATIVE_HISTOGRAM), list[float]()
    for place, values in enumerate(observed):
        everything += values
        total = replace(ExponentialHistogram.of(everything, scale=4), min=math.nan, max=math.nan)
        got = taken(stream, WATCHED_MS, 2_000 + place, total, WATCHED_MS)
        assert isinstance(got, ExponentialHistogram)
        seen = ExponentialHistogram.of(values, scale=4).at_scale(got.scale)
        assert (got.count, got.positive) == (len(values), seen.positive)


def test_growth_of_explicit_histograms_is_by_bucket_and_bounds_that_change_begin_anew():
    stream = a_stream(Flow.CUMULATIVE_HISTOGRAM)
    first, second = Explicit((1.0, 2.0), (1, 2, 0), 3.0), Explicit((1.0, 2.0), (1, 4, 1), 9.0)
    other = Explicit((5.0,), (1, 0), 1.0)
    got = taken_all(
        stream, [(WATCHED_MS, 2_000, first), (WATCHED_MS, 3_000, second), (WATCHED_MS, 4_000, other)]
    )
    assert got == [first, Explicit((1.0, 2.0), (0, 2, 1), 6.0), other]


def test_explicit_histograms_become_exponential_ones_of_the_same_count():
    explicit = Explicit((0.1, 1.0), (5, 10, 1), 7.0)
    assert explicit.exponential().count == 16
    assert Explicit((), (4,), 2.0).exponential().quantile(0.5) == pytest.approx(0.5, rel=0.044)


def test_times_out_of_bounds_are_not_believed():
    bounds = Bounds(future_ms=1_000, ancient_ms=10_000)
    now_ms = 1_000_000
    times = (now_ms + 1_000, now_ms + 1_001, now_ms - 10_000, now_ms - 10_001, 0)
    wrong = (None, Drop.FUTURE, None, Drop.ANCIENT, Drop.NO_TIME)
    assert tuple(mistimed(time_ms, now_ms, bounds) for time_ms in times) == wrong


def test_every_flow_has_a_kind():
    assert {KIND_OF[flow] for flow in Flow} == set(Kind)
