"""Marks the times at which a measure left what its season lets expect.

What is expected of a step is what its time of day (of the week, once there are four weeks) usually has, shifted by
how the hours before it differed from that; before there are four days, it is what those hours had. The spread is the
median absolute deviation of what went before. Counts and shares scatter by chance, too: a step is never odd for less.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SCORE_MIN = 4.0
"""A step is odd from so many robust standard deviations on."""
_SCORE_LAST = 2.0
"""An anomaly goes on until a step is as near as this again."""
STEPS_MIN = 2
"""So many odd steps in a row, on the same side, make an anomaly: never a single one."""
HISTORY_STEPS_MIN = 30
"""A step with fewer known ones before it is not judged."""
_MAD_TO_SIGMA = 1.4826
_DAY_S, _WEEK_S = 86_400.0, 604_800.0
_LEVEL_S, _LEVEL_S_WITHOUT_SEASON = 43_200.0, 7_200.0
_ROUNDS_MIN = 4
"""A season is known once there are so many of it: then three others say what is usual."""
_SPREAD_STEPS = 12
"""The spread is taken anew after so many steps."""
_CHANGE_MIN = 0.05
"""Latencies that differ by less than this share are the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """An anomaly: steps `begin` to `end` (excluded), with the worst one's value, expectation and score."""

    begin: int
    end: int
    value: float
    expected: float
    score: float


def odd_rates(counts: Floats, *, step_s: float, judged_from: int) -> list[Stretch]:
    """Return where calls came oddly often or seldom; `counts` are calls of each step, NaN where unknown."""
    # Twice the root of a Poisson count scatters by 1, whatever the count.
    roots = 2 * np.sqrt(counts + 0.375)
    return _odd(
        roots,
        floor=np.ones_like(roots),
        back=lambda root: np.maximum(0.0, (root / 2) ** 2 - 0.375) / step_s,
        step_s=step_s,
        judged_from=judged_from,
    )


def odd_shares(parts: Floats, counts: Floats, *, step_s: float, judged_from: int) -> list[Stretch]:
    """Return where the share `parts` ÷ `counts` (failed calls of all) was oddly high; fewer failures are no harm."""
    known = np.where(counts > 0, counts, np.nan)
    angles = np.arcsin(np.sqrt((np.nan_to_num(parts) + 0.375) / (known + 0.75)))
    found = _odd(
        angles,
        floor=1 / np.sqrt(4 * known + 2),
        back=lambda angle: np.sin(angle) ** 2,
        step_s=step_s,
        judged_from=judged_from,
    )
    return [each for each in found if each.value > each.expected]


def odd_latencies(seconds: Floats, *, step_s: float, judged_from: int) -> list[Stretch]:
    """Return where a latency was oddly long; shorter ones are no harm."""
    logs = np.log(np.where(seconds > 0, seconds, np.nan))
    found = _odd(
        logs,
        floor=np.full_like(logs, _CHANGE_MIN),
        back=np.exp,
        step_s=step_s,
        judged_from=judged_from,
    )
    return [each for each in found if each.value > each.expected]


def _odd(
    values: Floats,
    *,
    floor: Floats,
    back: Callable[[Floats], Floats],
    step_s: float,
    judged_from: int,
) -> list[Stretch]:
    season = _season(values, step_s)
    level_s = _LEVEL_S_WITHOUT_SEASON if season is None else _LEVEL_S
    rest = values if season is None else values - season
    residuals = rest - _median_before(rest, max(_SPREAD_STEPS, round(level_s / step_s)))
    scores = np.full_like(values, np.nan)
    for begin in range(max(judged_from, HISTORY_STEPS_MIN), len(values), _SPREAD_STEPS):
        past = residuals[:begin]
        past = past[~np.isnan(past)]
        if len(past) >= HISTORY_STEPS_MIN:
            judged = slice(begin, begin + _SPREAD_STEPS)
            spread = _MAD_TO_SIGMA * float(np.median(np.abs(past)))
            scores[judged] = residuals[judged] / np.maximum(spread, floor[judged])
    return _stretches(scores, back(values), back(values - residuals))


def _season(values: Floats, step_s: float) -> Floats | None:
    """Return for each step what the other days (or weeks) had at its time; None while there are too few."""
    for period_s in (_WEEK_S, _DAY_S):
        period = round(period_s / step_s)
        if len(values) < _ROUNDS_MIN * period:
            continue
        rounds = -(-len(values) // period)
        filled = np.full(rounds * period, np.nan)
        filled[: len(values)] = values
        table = filled.reshape(rounds, period)
        usual = [_nan_median(np.delete(table, each, axis=0), axis=0) for each in range(rounds)]
        return np.concatenate(usual)[: len(values)]
    return None


def _median_before(values: Floats, steps: int) -> Floats:
    """Return for each step the median of those right before it; NaN where it would stand on too few."""
    padded = np.concatenate([np.full(steps, np.nan), values])
    windows = np.lib.stride_tricks.sliding_window_view(padded, steps)[: len(values)]
    known = (~np.isnan(windows)).sum(axis=1)
    return np.where(known >= _SPREAD_STEPS, _nan_median(windows, axis=1), np.nan)


def _nan_median(values: Floats, axis: int) -> Floats:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a row without values has no median
        found: Floats = np.nanmedian(values, axis=axis)
    return found


def _stretches(scores: Floats, values: Floats, expected: Floats) -> list[Stretch]:
    """Return the runs of steps on one side of what was expected that have enough odd ones in a row."""
    found = []
    side = np.where(np.abs(scores) >= _SCORE_LAST, np.sign(scores), 0.0)
    edges = [0, *(np.flatnonzero(np.diff(side)) + 1).tolist(), len(side)]
    for begin, end in itertools.pairwise(edges):
        sizes = np.abs(scores[begin:end])
        odd = [sum(1 for _ in run) for is_odd, run in itertools.groupby(sizes >= SCORE_MIN) if is_odd]
        if side[begin] and max(odd, default=0) >= STEPS_MIN:
            worst = begin + int(np.argmax(sizes))
            stretch = Stretch(
                begin=begin,
                end=end,
                value=float(values[worst]),
                expected=float(expected[worst]),
                score=float(sizes.max()),
            )
            found.append(stretch)
    return found
