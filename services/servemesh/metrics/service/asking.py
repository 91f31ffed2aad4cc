"""Short ways to ask the store: for sums over a whole window, and for courses over its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servemesh.exponential import ExponentialHistogram
from servemesh.metrics.domain.queries import Measure, Query, Window
from servemesh.metrics.service.ports import Readings
from servemesh.observe import names
from servemesh.observe.names import Metric

Key = tuple[str, ...]
Filters = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Courses:
    """One value for each step, by labels; NaN where nothing was measured."""

    begin_s: float
    step_s: float
    values: Mapping[Key, NDArray[np.float64]]


async def growth(
    readings: Readings, metric: Metric, window: Window, by: Sequence[str], filters: Filters | None = None
) -> dict[Key, float]:
    """Return by labels what a counter grew by in the window."""
    answer = await readings.query(_query(metric, Measure.INCREASE, window, by, filters))
    return {_key(track.labels, by): float(np.nansum(track.values)) for track in answer.tracks}


async def sums(readings: Readings, metric: Metric, window: Window, by: Sequence[str]) -> dict[Key, float]:
    """Return by labels the sum of what a histogram observed in the window."""
    answer = await readings.query(_query(metric, Measure.SUM_RATE, window, by, None))
    span_s = window.end_s - window.begin_s
    return {_key(track.labels, by): float(np.nansum(track.values)) * span_s for track in answer.tracks}


async def merged(
    readings: Readings, metric: Metric, window: Window, by: Sequence[str], filters: Filters | None = None
) -> dict[Key, ExponentialHistogram]:
    """Return by labels what a histogram observed in the window."""
    found = await readings.distributions(_query(metric, Measure.INCREASE, window, by, filters))
    return {_key(labels, by): histogram for labels, histogram in found}


async def courses(
    readings: Readings,
    metric: Metric,
    measure: Measure,
    window: Window,
    by: Sequence[str],
    *,
    step_s: float,
    filters: Filters | None = None,
    quantile: float = 0.5,
) -> Courses:
    """Return by labels one measure of a metric at each step."""
    answer = await readings.query(_query(metric, measure, window, by, filters, step_s, quantile))
    return Courses(
        begin_s=answer.begin_s,
        step_s=answer.step_s,
        values={_key(track.labels, by): track.values for track in answer.tracks},
    )


async def is_measured(readings: Readings, window: Window, *, step_s: float) -> NDArray[np.bool_] | None:
    """Return for each step whether any worker told anything: what did not grow then was 0; None if none ever did."""
    found = await courses(readings, names.WORKER_SLOT_MEMORY, Measure.MAX, window, (), step_s=step_s)
    told: NDArray[np.bool_] | None = None
    for values in found.values.values():
        told = ~np.isnan(values) if told is None else told | ~np.isnan(values)
    return told


def _key(labels: Mapping[str, str], by: Sequence[str]) -> Key:
    return tuple(labels.get(label, "") for label in by)


def _query(
    metric: Metric,
    measure: Measure,
    window: Window,
    by: Sequence[str],
    filters: Filters | None,
    step_s: float | None = None,
    quantile: float = 0.5,
) -> Query:
    return Query(
        metric=metric.name,
        measure=measure,
        window=window,
        step_s=step_s or window.end_s - window.begin_s,
        filters=filters or {},
        group_by=tuple(by),
        quantile=quantile,
    )
