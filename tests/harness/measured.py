"""A store in memory with what a test says was measured: the real one, nothing pretends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from servemesh.exponential import ExponentialHistogram
from servemesh.metrics.adapters.duck_store import DuckStore
from servemesh.metrics.domain.points import Point, Series
from servemesh.metrics.domain.queries import Kind
from servemesh.observe import names
from servemesh.observe.names import Metric

BEGIN_S = 1_800_000_000.0 // 3600 * 3600
"""When the tests' measurements begin: a whole hour."""


@asynccontextmanager
async def measured(*points: Iterable[Point]) -> AsyncIterator[DuckStore]:
    """Give a store that holds the points."""
    async with DuckStore.opened(":memory:") as store:
        await store.append([point for some in points for point in some])
        yield store


def counted(metric: Metric, time_s: float, growth: float, **labels: str) -> Point:
    """Give what a counter grew by."""
    return Point(Series.of(metric.name, Kind.COUNTER, **labels), round(time_s * 1000), growth)


def level(metric: Metric, time_s: float, value: float, **labels: str) -> Point:
    """Give the value of a gauge."""
    return Point(Series.of(metric.name, Kind.GAUGE, **labels), round(time_s * 1000), value)


def observed(metric: Metric, time_s: float, values: Iterable[float], **labels: str) -> Point:
    """Give what a histogram observed."""
    histogram = ExponentialHistogram.of(values, scale=4)
    series = Series(metric.name, Kind.HISTOGRAM, "", tuple(sorted(labels.items())))
    return Point(series, round(time_s * 1000), histogram)


def worked(
    time_s: float,
    *,
    answered: Iterable[float] = (),
    failed: int = 0,
    refused: int = 0,
    queue_s: float = 0.0,
    runs: Iterable[int] = (),
    run_s: Iterable[float] = (),
    cpu_s: float = 0.0,
    model: str = "digits",
    version: str = "1",
    worker: str = "worker-1",
) -> list[Point]:
    """Give what one worker tells of one version: durations of answered calls, rows and seconds of runs."""
    own = {"service": "worker", "instance": worker}
    labels = {**own, "model": model, "version": version}
    durations = list(answered)
    return [
        counted(names.WORKER_CALLS, time_s, len(durations), outcome="answered", **labels),
        counted(names.WORKER_CALLS, time_s, failed, outcome="failed", **labels),
        counted(names.WORKER_CALLS, time_s, refused, outcome="refused", **labels),
        observed(names.WORKER_CALL_DURATION, time_s, durations, **labels),
        counted(names.WORKER_QUEUE_DURATION, time_s, queue_s, **labels),
        observed(names.WORKER_BATCH_ROWS, time_s, [float(rows) for rows in runs], **labels),
        observed(names.WORKER_BATCH_DURATION, time_s, run_s, **labels),
        level(names.WORKER_SLOT_MEMORY, time_s, 1e6, **labels),
        counted(names.PROCESS_CPU, time_s, cpu_s, **own),
    ]
