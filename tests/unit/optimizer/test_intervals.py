"""Intervals hold the figure, shrink with more rows, and are the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servemesh.optimizer.domain import intervals
from servemesh.optimizer.domain.results import Interval

values = st.lists(st.floats(0.001, 1000), min_size=1, max_size=30)


def of_mean(numbers: list[float], seed: int) -> Interval:
    """The mean of `numbers`, as a sum of them by a sum of ones."""
    return intervals.of_statistic(
        np.array([[number] for number in numbers]),
        lambda rows: np.concatenate([rows, np.ones_like(rows)], axis=1),
        lambda sums: sums[..., 0] / sums[..., 1],
        seed=seed,
    )


@settings(max_examples=25, deadline=None)
@given(values, st.integers(0, 2**32))
def test_the_figure_lies_in_its_interval_and_the_interval_in_the_data(numbers: list[float], seed: int):
    for found in (
        intervals.of_median(np.array([numbers]), seed=seed),
        of_mean(numbers, seed=seed),
    ):
        assert (
            min(numbers) * (1 - 1e-9) <= found.low <= found.value <= found.high <= max(numbers) * (1 + 1e-9)
        )


def chance(ours: list[int], theirs: list[int]) -> float:
    """Of a difference of means as large as that between these rows."""
    return intervals.chance_of(
        np.array([ours, theirs]).T,
        lambda pairs: np.concatenate([pairs, np.ones_like(pairs[:, :1])], axis=1).astype(float),
        lambda sums: (sums[..., 0] - sums[..., 1]) / sums[..., 2],
        seed=0,
    )


def test_chance_is_what_counting_all_swaps_gives():
    assert chance([1] * 20, [1] * 20) == 1.0
    # Of six rows that differ, all in one direction: 2 of 64 swaps differ as far.
    assert chance([1] * 30, [0] * 6 + [1] * 24) == pytest.approx(2 / 64, abs=0.01)
    # Three and three: no swap differs less.
    assert chance([1, 0] * 3 + [1] * 9, [0, 1] * 3 + [1] * 9) == 1.0
    assert chance([1] * 100, [0] * 40 + [1] * 60) < 0.001


@settings(max_examples=10, deadline=None)
@given(values, st.integers(0, 2**32))
def test_the_same_seed_gives_the_same_interval(numbers: list[float], seed: int):
    assert of_mean(numbers, seed=seed) == of_mean(numbers, seed=seed)


def test_the_interval_of_a_mean_is_as_wide_as_theory_says():
    numbers = np.random.default_rng(0).normal(size=900)
    found = of_mean(numbers.tolist(), seed=1)
    assert found.high - found.low == pytest.approx(2 * 1.96 / 30, rel=0.15)


def test_rows_that_contribute_the_same_are_drawn_together_without_changing_the_interval():
    numbers = [1.0] * 900 + [0.0] * 100
    found = of_mean(numbers, seed=2)
    assert found.value == 0.9
    assert found.high - found.low == pytest.approx(2 * 1.96 * (0.09 / 1000) ** 0.5, rel=0.15)


def test_a_ratio_is_paired_by_round():
    after = np.random.default_rng(0).uniform(1, 100, (5, 3))  # the machine was slower in some rounds
    found = intervals.of_ratio(2 * after, after, seed=0)
    assert (found.low, found.value, found.high) == pytest.approx((2, 2, 2))


def test_processes_that_differ_widen_the_interval_more_than_rounds_that_differ():
    spread = np.linspace(0.9, 1.1, 5)
    by_process, by_round = np.tile(spread, (5, 1)).T, np.tile(spread, (5, 1))
    of_processes, of_rounds = (intervals.of_median(each, seed=0) for each in (by_process, by_round))
    assert of_processes.value == of_rounds.value == 1
    assert of_processes.high - of_processes.low > 1.5 * (of_rounds.high - of_rounds.low)


def test_most_intervals_hold_the_truth():
    random = np.random.default_rng(3)
    held = 0
    for seed in range(100):
        found = of_mean((random.random(200) < 0.8).astype(float).tolist(), seed=seed)
        held += found.low <= 0.8 <= found.high
    assert held >= 88
