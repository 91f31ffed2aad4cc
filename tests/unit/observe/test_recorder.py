"""Observations are sorted into the right buckets of both kinds, whoever observes meanwhile."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servemesh.observe.recorder import BUCKETS_MAX, SCALE, Exponential, Recorder

BOUNDS = (0.001, 0.01, 0.1, 1.0)
sizes = st.floats(min_value=1e-8, max_value=1e8)


def bucket_of(value: float, exponential: Exponential) -> int:
    """Return the place of the bucket that holds `value`."""
    return math.ceil(math.log2(value) * 2**exponential.scale) - 1 - exponential.offset


@given(st.lists(sizes, min_size=1, max_size=50))
def test_every_observation_is_in_its_bucket(values: list[float]):
    recorder = Recorder(BOUNDS)
    for value in values:
        recorder.observe(value)
    recorded = recorder.recorded()
    expected = [0] * (len(BOUNDS) + 1)
    for value in values:
        expected[bisect_left(BOUNDS, value)] += 1
    assert recorded.counts == expected
    assert recorded.total == pytest.approx(sum(values))
    exponential = recorded.exponential
    assert sum(exponential.counts) == len(values)
    assert len(exponential.counts) <= BUCKETS_MAX
    for value in values:
        assert exponential.counts[bucket_of(value, exponential)]


@given(st.integers(min_value=-20, max_value=20))
def test_a_power_of_two_is_the_upper_end_of_its_bucket(power: int):
    recorder = Recorder(BOUNDS)
    recorder.observe(2.0**power)
    exponential = recorder.recorded().exponential
    assert (exponential.scale, exponential.offset, exponential.counts) == (SCALE, (power << SCALE) - 1, [1])


def test_what_is_not_over_zero_has_a_count_of_its_own():
    recorder = Recorder(BOUNDS)
    for value in (0.0, -1.0, 0.5):
        recorder.observe(value)
    recorded = recorder.recorded()
    assert (recorded.count, recorded.exponential.zero_count, recorded.exponential.counts) == (3, 2, [1])


def test_nanoseconds_are_shown_as_seconds():
    recorder = Recorder(BOUNDS, unit=1e-9)
    recorder.observe(50_000_000)
    recorded = recorder.recorded()
    assert (recorded.counts, recorded.total) == ([0, 0, 1, 0, 0], pytest.approx(0.05))


def test_no_observation_is_lost_while_others_ask():
    recorder, asked, done = Recorder(BOUNDS), 0, threading.Event()

    def observe() -> None:
        for _ in range(20_000):
            recorder.observe(0.5)

    writers = [threading.Thread(target=observe) for _ in range(3)]
    for writer in writers:
        writer.start()
    reader = threading.Thread(target=lambda: [recorder.recorded() for _ in iter(done.is_set, True)])
    reader.start()
    for writer in writers:
        writer.join()
    done.set()
    reader.join()
    asked = recorder.recorded().count
    assert asked == 60_000
