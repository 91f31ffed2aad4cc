"""What readers ask: each question in one snapshot of its own, over roll-ups and what is not rolled up yet."""

from __future__ import annotations

import math
from collections.abc import Mapping

import duckdb
import numpy as np
from numpy.typing import NDArray

from servemesh.errors import InvalidError, OverloadedError
from servemesh.exponential import ExponentialHistogram
from servemesh.metrics.adapters.duck_catalog import Catalog, Picked, picked
from servemesh.metrics.adapters.duck_frontier import Reach
from servemesh.metrics.adapters.duck_histograms import histograms
from servemesh.metrics.adapters.duck_rows import by_step, snapshot
from servemesh.metrics.adapters.duck_schema import GROWTH, LEVEL, SUMMARY
from servemesh.metrics.domain.coverage import Plan, covering, planned
from servemesh.metrics.domain.queries import Annotation, Answer, Kind, Measure, Query, Track, Window

_STEPS: Mapping[Measure, str] = {
    Measure.MEAN: "sum(sum) / sum(count)",
    Measure.MIN: "min(min)",
    Measure.MAX: "max(max)",
    Measure.INCREASE: "sum(count)",
    Measure.RATE: "sum(count)",
    Measure.SUM_RATE: "sum(sum)",
}
_RATES = (Measure.RATE, Measure.SUM_RATE)
MEASURES: Mapping[Kind, tuple[Measure, ...]] = {
    Kind.COUNTER: (Measure.RATE, Measure.INCREASE),
    Kind.GAUGE: (Measure.MEAN, Measure.MIN, Measure.MAX, Measure.LAST),
    Kind.UP_DOWN_COUNTER: (Measure.MEAN, Measure.MIN, Measure.MAX, Measure.LAST),
    Kind.HISTOGRAM: (
        Measure.RATE,
        Measure.INCREASE,
        Measure.MEAN,
        Measure.MIN,
        Measure.MAX,
        Measure.QUANTILE,
        Measure.SUM_RATE,
    ),
}


def answered(
    cursor: duckdb.DuckDBPyConnection, catalog: Catalog, query: Query, reach: Reach, values_max: int
) -> Answer:
    """Answer a query."""
    plan = planned(query.window, query.step_s, reach.held)
    known = catalog.of_metric(query.metric)
    if not known or plan.step_count < 1:
        return Answer(begin_s=plan.begin_ms / 1000, step_s=plan.step_ms / 1000, unit="", tracks=())
    first = next(iter(known))
    if query.measure not in MEASURES[first.kind]:
        raise _unfit(query, first.kind)
    chosen = picked(known, query.filters, query.group_by)
    asked = len(chosen.labels) * plan.step_count
    if asked > values_max:
        raise OverloadedError(
            f"the answer has {asked} values, at most {values_max} are allowed: ask for longer steps, a shorter "
            "window or fewer labels",
            reason="QUERY_TOO_LARGE",
            retry_after_s=None,
            got=asked,
            expected=values_max,
        )
    values = np.full((len(chosen.labels), plan.step_count), np.nan)
    if len(chosen.series):
        _fill(values, cursor, chosen, plan, query, first.kind, reach)
    if query.measure in _RATES:
        values /= np.array([plan.span_s(step) for step in range(plan.step_count)])
    return Answer(
        begin_s=plan.begin_ms / 1000,
        step_s=plan.step_ms / 1000,
        unit=f"{first.unit}/s" if query.measure in _RATES else first.unit,
        tracks=tuple(
            Track(labels=labels, values=row) for labels, row in zip(chosen.labels, values, strict=True)
        ),
    )


def distributions(
    cursor: duckdb.DuckDBPyConnection, catalog: Catalog, query: Query, reach: Reach
) -> tuple[tuple[Mapping[str, str], ExponentialHistogram], ...]:
    """Merge what was observed in the whole window, by group."""
    begin_ms, end_ms = round(query.window.begin_s * 1000), round(query.window.end_s * 1000)
    plan = Plan(
        begin_ms=begin_ms,
        end_ms=end_ms,
        step_ms=end_ms - begin_ms,
        segments=covering(begin_ms, end_ms, reach.held),
    )
    chosen = picked(catalog.of_metric(query.metric), query.filters, query.group_by)
    if not len(chosen.series) or begin_ms >= end_ms:
        return ()
    cells = histograms(cursor, chosen, plan, reach)
    return tuple(
        (chosen.labels[group], histogram)
        for (group, _), histogram in sorted(cells.items(), key=lambda c: c[0])
    )


def noted(
    cursor: duckdb.DuckDBPyConnection, window: Window, resource: str, count_max: int
) -> tuple[Annotation, ...]:
    """Return what changed, newest first."""
    rows = cursor.execute(
        "SELECT id, time, kind, resource, text FROM annotations WHERE time >= ? AND time < ? "
        "AND (? = '' OR resource = ? OR starts_with(resource, ? || '/')) ORDER BY time DESC, id DESC LIMIT ?",
        [
            math.ceil(window.begin_s * 1000),
            math.ceil(window.end_s * 1000),
            resource,
            resource,
            resource,
            count_max,
        ],
    ).fetchall()
    return tuple(
        Annotation(annotation_id=key, time_s=time_ms / 1000, kind=kind, resource=of, text=text)
        for key, time_ms, kind, of, text in rows
    )


def _fill(
    values: NDArray[np.float64],
    cursor: duckdb.DuckDBPyConnection,
    chosen: Picked,
    plan: Plan,
    query: Query,
    kind: Kind,
    reach: Reach,
) -> None:
    if query.measure is Measure.QUANTILE:
        for (group, step), histogram in histograms(cursor, chosen, plan, reach).items():
            values[group, step] = histogram.quantile(query.quantile)
        return
    with snapshot(cursor, chosen, reach) as snap:
        if kind is Kind.COUNTER:
            sql = by_step(GROWTH, plan, snap, "sum(value)")
        elif kind is Kind.HISTOGRAM:
            sql = by_step(SUMMARY, plan, snap, _STEPS[query.measure])
        elif query.measure is Measure.LAST:
            lasts = by_step(LEVEL, plan, snap, "arg_max(last, last_time)", keys="grp, step, series")
            sql = f"SELECT grp, step, sum(value) AS value FROM ({lasts}) GROUP BY grp, step"
        else:
            sql = by_step(LEVEL, plan, snap, _STEPS[query.measure])
        found = cursor.execute(sql).fetchnumpy()
    values[found["grp"], found["step"]] = np.ma.filled(found["value"].astype(np.float64), np.nan)


def _unfit(query: Query, kind: Kind) -> InvalidError:
    fitting = ", ".join(MEASURES[kind])
    return InvalidError(
        f"measure is {query.measure}, {query.metric} is a {kind}: expected one of {fitting}",
        reason="MEASURE_UNFIT",
        field="measure",
        expected=fitting,
        got=query.measure,
    )
