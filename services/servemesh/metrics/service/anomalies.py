"""Lists the times at which calls, errors or latency of a Model were not what its season lets expect."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servemesh.metrics.domain.anomalies import (
    HISTORY_STEPS_MIN,
    Floats,
    Stretch,
    odd_latencies,
    odd_rates,
    odd_shares,
)
from servemesh.metrics.domain.queries import Measure, Window
from servemesh.metrics.service.asking import Courses, courses, is_measured
from servemesh.metrics.service.ports import Readings
from servemesh.metrics.service.windows import checked, history_missing, require_calls
from servemesh.observe import names

ANOMALIES_MAX = 1000
_DAY_S = 86_400.0
_HISTORY_S = 28 * _DAY_S
_STEP_S, _STEP_S_YOUNG = 300.0, 60.0
_CALLS_MIN = 20
"""A quantile of fewer calls says too little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """A stretch of time in which a measure was odd."""

    model: str
    measure: str
    window: Window
    value: float
    expected: float
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Course:
    """What one model did."""

    calls: Floats
    failed: Floats
    p95_s: Floats


class Anomalies:
    """Judges each step by what was before it: five minutes long, one minute while there is less than a day."""

    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    async def list(self, window: Window, model: str = "") -> list[Anomaly]:
        """Return the anomalies in the window, newest first; of all models, if none is named.

        ConflictError if the model that is named has too little history.
        """
        checked(window)
        if model:
            await require_calls(self._readings, window, model)
        found: list[Anomaly] = []
        begin_s, step_s, read = await self._read(window, model)
        judged_from = max(0, round((window.begin_s - begin_s) / step_s))
        for each, course in read.items():
            known = int(np.count_nonzero(~np.isnan(course.calls)))
            if model and known <= HISTORY_STEPS_MIN:
                raise history_missing(
                    f"judging models/{model}",
                    need_s=(HISTORY_STEPS_MIN + 1) * step_s,
                    got_s=known * step_s,
                    then="ask again later",
                )
            for measure, stretch in _odd(course, step_s, judged_from):
                span = Window(begin_s=begin_s + stretch.begin * step_s, end_s=begin_s + stretch.end * step_s)
                found.append(
                    Anomaly(
                        model=each,
                        measure=measure,
                        window=span,
                        value=stretch.value,
                        expected=stretch.expected,
                        score=stretch.score,
                    )
                )
        found.sort(key=lambda each: (-each.window.begin_s, each.model, each.measure))
        return found[:ANOMALIES_MAX]

    async def _read(self, window: Window, model: str) -> tuple[float, float, dict[str, _Course]]:
        """Return the first step, its length, and the courses of the models."""
        for step_s, history_s in ((_STEP_S, _HISTORY_S), (_STEP_S_YOUNG, _DAY_S)):
            end_s = window.end_s // step_s * step_s
            begin_s = (window.begin_s - history_s) // step_s * step_s
            whole = Window(begin_s=max(0.0, begin_s), end_s=end_s)
            calls = await self._asked(names.WORKER_CALLS, Measure.INCREASE, whole, step_s, model)
            known = max((int(np.count_nonzero(~np.isnan(each))) for each in calls.values.values()), default=0)
            if known * step_s >= _DAY_S or step_s == _STEP_S_YOUNG:
                break
        failed = await self._asked(
            names.WORKER_CALLS, Measure.INCREASE, whole, step_s, model, failed_only=True
        )
        p95_s = await self._asked(names.WORKER_CALL_DURATION, Measure.QUANTILE, whole, step_s, model)
        told = await is_measured(self._readings, whole, step_s=step_s)
        return (
            calls.begin_s,
            calls.step_s,
            {
                key[0]: _course(values, failed.values.get(key), p95_s.values.get(key), told)
                for key, values in calls.values.items()
                if key[0]
            },
        )

    async def _asked(
        self,
        metric: names.Metric,
        measure: Measure,
        window: Window,
        step_s: float,
        model: str,
        *,
        failed_only: bool = False,
    ) -> Courses:
        filters = ({"model": (model,)} if model else {}) | ({"outcome": ("failed",)} if failed_only else {})
        return await courses(
            self._readings, metric, measure, window, ("model",), step_s=step_s, filters=filters, quantile=0.95
        )


def _course(
    calls: Floats,
    failed: Floats | None,
    p95_s: Floats | None,
    told: NDArray[np.bool_] | None,
) -> _Course:
    """Return what one model did; where workers told of other things, nothing is 0, but not before its first call."""
    known = ~np.isnan(calls)
    if told is not None and known.any():
        known = known | (told & (np.arange(len(calls)) > np.argmax(known)))
    calls = np.where(known, np.nan_to_num(calls), np.nan)
    nothing = np.full_like(calls, np.nan)
    return _Course(
        calls=calls,
        failed=nothing if failed is None else np.where(known, np.nan_to_num(failed), np.nan),
        p95_s=nothing if p95_s is None else np.where(calls >= _CALLS_MIN, p95_s, np.nan),
    )


def _odd(course: _Course, step_s: float, judged_from: int) -> Iterator[tuple[str, Stretch]]:
    measures: dict[str, Callable[[], list[Stretch]]] = {
        "call_rate": lambda: odd_rates(course.calls, step_s=step_s, judged_from=judged_from),
        "error_ratio": lambda: odd_shares(
            course.failed, course.calls, step_s=step_s, judged_from=judged_from
        ),
        "p95_s": lambda: odd_latencies(course.p95_s, step_s=step_s, judged_from=judged_from),
    }
    for measure, judged in measures.items():
        for stretch in judged():
            yield measure, stretch
