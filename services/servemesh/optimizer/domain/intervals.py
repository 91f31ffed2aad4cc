"""What a figure might have been by chance: intervals by the bootstrap, and a test of no difference by permutation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from servemesh.optimizer.domain.results import Interval

Array = np.ndarray[Any, Any]

RESAMPLES = 2_000
CONFIDENCE = 0.95
_SAME = 1e-9  # by what sums that are added in another order may differ
_CELLS_MAX = 4_000_000  # numbers drawn at a time, so that memory stays bounded


def of_median(rounds: Array, *, seed: int) -> Interval:
    """Return the median of measurements [processes, rounds] with its interval.

    What one process measures is alike, so that processes are resampled first, and then the rounds of each.
    """
    values = np.asarray(rounds, np.float64)
    process_count, round_count = values.shape
    random = np.random.default_rng(seed)
    processes = random.integers(0, process_count, (RESAMPLES, process_count, 1))
    drawn = values[processes, random.integers(0, round_count, (RESAMPLES, process_count, round_count))]
    return _interval(float(np.median(values)), np.median(drawn, axis=(1, 2)))


def of_ratio(before: Array, after: Array, *, seed: int) -> Interval:
    """Return the median of before ÷ after, paired by round, with its interval: a speed-up where both are times."""
    return of_median(np.asarray(before, np.float64) / np.asarray(after, np.float64), seed=seed)


def of_statistic(
    rows: Array, contributions: Callable[[Array], Array], statistic: Callable[[Array], Array], *, seed: int
) -> Interval:
    """Return `statistic` of what all `rows` [rows, m] contribute, with its interval over resampled rows.

    `contributions` gives [n, k] for some of the rows, and `statistic` takes sums of them, [..., k], and gives [...].
    Rows that are the same are drawn together, which changes nothing but the time and the memory it takes.
    """
    kinds, counts = np.unique(rows, axis=0, return_counts=True)
    contributed = contributions(kinds)
    total = int(counts.sum())
    random = np.random.default_rng(seed)
    at_once = max(1, _CELLS_MAX // max(contributed.shape))
    values = []
    for begin in range(0, RESAMPLES, at_once):
        drawn = random.multinomial(total, counts / total, size=min(at_once, RESAMPLES - begin))
        values.append(statistic(drawn.astype(contributed.dtype) @ contributed))
    return _interval(float(statistic(counts.astype(contributed.dtype) @ contributed)), np.concatenate(values))


def chance_of(
    pairs: Array, contributions: Callable[[Array], Array], statistic: Callable[[Array], Array], *, seed: int
) -> float:
    """Return how likely a `statistic` as far from 0 is if both halves of each row of `pairs` [rows, 2 m] are alike.

    A paired permutation test, two-sided: what each row says of the one and of the other is swapped at random.
    """
    kinds, counts = np.unique(pairs, axis=0, return_counts=True)
    kept, swapped = contributions(kinds), contributions(np.roll(kinds, pairs.shape[1] // 2, axis=1))
    random = np.random.default_rng(seed)
    at_once = max(1, _CELLS_MAX // max(kept.shape))
    seen = abs(float(statistic(counts.astype(kept.dtype) @ kept))) * (1 - _SAME)
    as_far = 0
    for begin in range(0, RESAMPLES, at_once):
        times = random.binomial(counts, 0.5, size=(min(at_once, RESAMPLES - begin), len(kinds)))
        values = statistic(times.astype(kept.dtype) @ swapped + (counts - times).astype(kept.dtype) @ kept)
        as_far += int((np.abs(values) >= seen).sum())
    return (1 + as_far) / (1 + RESAMPLES)


def _interval(value: float, resampled: Array) -> Interval:
    """Return the value between the ends of the percentile interval; the value itself is always inside."""
    tail = 100 * (1 - CONFIDENCE) / 2
    resampled = resampled[~np.isnan(resampled)]
    if not len(resampled):
        return Interval(value=value, low=value, high=value)
    low, high = np.percentile(resampled, [tail, 100 - tail])
    return Interval(value=value, low=min(float(low), value), high=max(float(high), value))
