"""Points for the store of the metrics service, and questions about them."""

from __future__ import annotations

from servemesh.exponential import ExponentialHistogram
from servemesh.metrics.domain.points import Point, Series
from servemesh.metrics.domain.queries import Kind, Measure, Query, Window

HOUR_MS, MINUTE_MS = 3_600_000, 60_000
BEGIN_MS = 1_790_000_000_000 // HOUR_MS * HOUR_MS  # a whole hour
END_MS = BEGIN_MS + 3 * HOUR_MS


def a_count(time_ms: int, value: float = 1.0, metric: str = "calls", **labels: str) -> Point:
    """What a counter grew by."""
    return Point(Series.of(metric, Kind.COUNTER, "", **labels), time_ms, value)


def a_level(time_ms: int, value: float, metric: str = "memory", **labels: str) -> Point:
    """What a gauge showed."""
    return Point(Series.of(metric, Kind.GAUGE, "By", **labels), time_ms, value)


def a_distribution(time_ms: int, *values: float, metric: str = "duration", **labels: str) -> Point:
    """What a histogram observed."""
    histogram = ExponentialHistogram.of(values, scale=4)
    return Point(Series.of(metric, Kind.HISTOGRAM, "s", **labels), time_ms, histogram)


def a_query(
    metric: str,
    measure: Measure,
    begin_ms: int,
    end_ms: int,
    *by: str,
    step_ms: int = 0,
    quantile: float = 0.5,
    **filters: str,
) -> Query:
    """Ask for a window, in one step if none is given."""
    return Query(
        metric=metric,
        measure=measure,
        window=Window(begin_s=begin_ms / 1000, end_s=end_ms / 1000),
        step_s=(step_ms or end_ms - begin_ms) / 1000,
        group_by=by,
        quantile=quantile,
        filters={label: (value,) for label, value in filters.items()},
    )


def three_hours() -> list[Point]:
    """Points of three workers every 20 s."""
    points = []
    for place, time_ms in enumerate(range(BEGIN_MS, END_MS, 20_000)):
        for worker in range(3):
            labels = {"worker": f"w{worker}", "model": "a" if worker else "b"}
            points.append(a_count(time_ms, float(worker + 1), **labels))
            points.append(a_level(time_ms, float(place % 50 + worker), **labels))
            points.append(a_distribution(time_ms, 0.1 * (worker + 1), 0.4, -0.2, 0.0, **labels))
    return points


def questions() -> list[Query]:
    spans = [
        (BEGIN_MS, END_MS, 0),
        (BEGIN_MS + 1_234, END_MS - 17_000, 0),
        (BEGIN_MS, END_MS, HOUR_MS),
        (BEGIN_MS, END_MS, 5 * MINUTE_MS),
        (BEGIN_MS + 2 * HOUR_MS, BEGIN_MS + 2 * HOUR_MS + 10 * MINUTE_MS, 30_000),
    ]
    asked = {
        "calls": (Measure.RATE, Measure.INCREASE),
        "memory": (Measure.MEAN, Measure.MIN, Measure.MAX, Measure.LAST),
        "duration": (
            Measure.RATE,
            Measure.MEAN,
            Measure.MIN,
            Measure.MAX,
            Measure.SUM_RATE,
            Measure.QUANTILE,
        ),
    }
    return [
        a_query(metric, measure, begin_ms, end_ms, "model", step_ms=step_ms, quantile=0.9)
        for metric, measures in asked.items()
        for measure in measures
        for begin_ms, end_ms, step_ms in spans
    ]
