"""Forecasts of demand: on which steps, from how much history, by which method, and how far to believe it.

The method is chosen by a rolling backtest: what it would have said at earlier times is compared with what came. One
that does not beat seasonal naive there is not used. Intervals are made as wide as the backtest says they must be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NAIVE = "seasonal_naive"
CONFIDENCE = 0.9
_Z = 1.6448536
_FOLDS_MAX = 5
_HOUR_S, _DAY_S = 3600.0, 86_400.0
_SHORT_S = 6 * _HOUR_S
_FIRST_STEPS = 24
"""What a method gets to see at least, where there is no season."""
_KNOWN_MIN = 0.5
"""Of the steps of the history, so many must have been measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The steps that a horizon is forecast in."""

    step_s: float
    history_s_min: float
    history_s_max: float
    seasons: tuple[int, ...]
    """A day and a week, in steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """What a method says of the coming steps, with its 90 % interval."""

    expected: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The chosen method's projection with the mean absolute errors of the backtest."""

    method: str
    projection: Projection
    backtest_error: float
    naive_error: float


class Method(Protocol):
    """Looks ahead."""

    def __call__(self, history: Floats, steps: int) -> Projection:
        """Return the coming steps."""


def grid(horizon_s: float) -> Grid:
    """Return the steps for a horizon: 5 minutes up to 6 hours ahead, an hour beyond."""
    if horizon_s <= _SHORT_S:
        return Grid(
            step_s=300.0,
            history_s_min=max(3 * _HOUR_S, 4 * horizon_s),
            history_s_max=15 * _DAY_S,
            seasons=(288, 2016),
        )
    return Grid(
        step_s=_HOUR_S,
        history_s_min=2 * _DAY_S + max(_DAY_S, horizon_s),
        history_s_max=4 * 7 * _DAY_S + horizon_s,
        seasons=(24, 168),
    )


def without_gaps(values: Floats, seasons: tuple[int, ...]) -> Floats:
    """Return the history from its first known step on, what is missing taken from a day before or the step before.

    Empty if too little of it is known.
    """
    known = np.flatnonzero(~np.isnan(values))
    if not len(known):
        return values[:0]
    filled = values[known[0] :].copy()
    if len(known) < _KNOWN_MIN * len(filled):
        return values[:0]
    for at in np.flatnonzero(np.isnan(filled)):
        filled[at] = filled[at - seasons[0]] if at >= seasons[0] else filled[at - 1]
    return filled


def usable_seasons(length: int, steps: int, seasons: tuple[int, ...]) -> tuple[int, ...]:
    """Return the seasons of which even the first fold of the backtest sees two rounds."""
    return tuple(season for season in seasons if length - steps >= 2 * season)


def seasonal_naive(season: int) -> Method:
    """Return what says that each step will be as it was a season ago; with a season of 1, as it was last."""

    def method(history: Floats, steps: int) -> Projection:
        last = history[-season:]
        expected = np.resize(last, steps)
        changes = history[season:] - history[:-season]
        spread = float(np.sqrt(np.mean(changes**2))) if len(changes) else 0.0
        rounds = np.arange(steps) // season + 1
        reach = _Z * spread * np.sqrt(rounds)
        return Projection(expected=expected, low=expected - reach, high=expected + reach)

    return method


def chosen(
    history: Floats,
    steps: int,
    naive: Method,
    others: Mapping[str, Method],
    *,
    first_steps: int,
    has_time: Callable[[], bool] = lambda: True,
) -> Forecast:
    """Return the forecast of the method with the least error in the backtest; naive, unless one beats it.

    `first_steps` is what the first fold sees at least. A method whose backtest is not done when there is no more time
    is not used.
    """
    best, method = NAIVE, naive
    naive_error, widening = _backtest(history, steps, naive, first_steps)
    error = naive_error
    for name, other in others.items():
        if not has_time():
            break
        other_error, other_widening = _backtest(history, steps, other, first_steps, has_time)
        if other_error < error:
            best, method, error, widening = name, other, other_error, other_widening
    return Forecast(
        method=best,
        projection=_widened(method(history, steps), widening),
        backtest_error=error,
        naive_error=naive_error,
    )


def first_steps(seasons: tuple[int, ...], steps: int) -> int:
    """Return what the first fold of a backtest must see at least."""
    return max(_FIRST_STEPS, 2 * max(seasons, default=1), min(steps, 2 * _FIRST_STEPS))


def _backtest(
    history: Floats,
    steps: int,
    method: Method,
    first: int,
    has_time: Callable[[], bool] = lambda: True,
) -> tuple[float, float]:
    """Return the mean absolute error, and the factor by which intervals must be widened to hold what came."""
    errors: list[Floats] = []
    stretches: list[Floats] = []
    origin = len(history) - steps
    for _ in range(_FOLDS_MAX):
        if origin < first and errors:
            break
        if not has_time():
            return np.inf, 1.0
        said = method(history[:origin], steps)
        missed = np.abs(history[origin : origin + steps] - said.expected)
        reach = np.maximum((said.high - said.low) / 2, 1e-9)
        errors.append(missed)
        stretches.append(missed / reach)
        origin -= steps
    needed = float(np.quantile(np.concatenate(stretches), CONFIDENCE))
    mean = float(np.mean(np.concatenate(errors)))
    return (mean if np.isfinite(mean) else np.inf), max(1.0, needed)


def _widened(said: Projection, factor: float) -> Projection:
    """Return the projection with its interval wider by `factor`; nothing is below 0, as demand never is."""
    expected = np.maximum(said.expected, 0.0)
    return Projection(
        expected=expected,
        low=np.clip(expected - factor * (said.expected - said.low), 0.0, expected),
        high=np.maximum(said.expected + factor * (said.high - said.expected), expected),
    )
