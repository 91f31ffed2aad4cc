"""Histograms out of the rows of their buckets, for each group and step of a query."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import duckdb
import numpy as np
from numpy.typing import NDArray

from servemesh.exponential import ExponentialHistogram
from servemesh.exponential_buckets import EMPTY, Buckets
from servemesh.metrics.adapters.duck_catalog import Picked
from servemesh.metrics.adapters.duck_frontier import Reach
from servemesh.metrics.adapters.duck_rows import by_step, rows, snapshot
from servemesh.metrics.adapters.duck_schema import BUCKET, SUMMARY, known
from servemesh.metrics.domain.coverage import Plan

_SUMMED = f"{known('sum', 'sum')}, {known('min', 'min')}, {known('max', 'max')}, max(zero_threshold) AS zero_threshold"


class _Cell(NamedTuple):
    """Where the observations of one group in one step lie: from `begin` to `end` in the columns read."""

    group: int
    step: int
    begin: int
    end: int


def histograms(
    cursor: duckdb.DuckDBPyConnection, chosen: Picked, plan: Plan, reach: Reach
) -> dict[tuple[int, int], ExponentialHistogram]:
    """Read histograms by group and step; places of finer scales are joined to those of the coarsest."""
    with snapshot(cursor, chosen, reach) as snap:
        source = by_step(BUCKET, plan, snap, "sum(count)::BIGINT", keys="grp, step, side, scale, place")
        buckets = cursor.execute(
            f"SELECT * FROM ({source}) ORDER BY grp, step, scale, side, place"
        ).fetchnumpy()
        summary = cursor.execute(
            f"SELECT grp, step, {_SUMMED} "
            f"FROM ({rows(SUMMARY, plan, snap)}) WHERE count > 0 GROUP BY grp, step"
        ).fetchnumpy()
    sums = {
        (int(group), int(step)): (*numbers,)
        for group, step, *numbers in zip(
            summary["grp"],
            summary["step"],
            *(
                np.ma.filled(summary[name].astype(np.float64), np.nan).tolist()
                for name in ("sum", "min", "max", "zero_threshold")
            ),
            strict=True,
        )
    }
    return {
        (cell.group, cell.step): _histogram(buckets, cell, sums[cell.group, cell.step])
        for cell in _cells(buckets)
    }


def _cells(buckets: Mapping[str, NDArray[Any]]) -> Iterator[_Cell]:
    groups, steps = buckets["grp"], buckets["step"]
    if not len(groups):
        return
    edges = np.flatnonzero((np.diff(groups) != 0) | (np.diff(steps) != 0)) + 1
    for begin, end in zip([0, *edges.tolist()], [*edges.tolist(), len(groups)], strict=True):
        yield _Cell(int(groups[begin]), int(steps[begin]), begin, end)


def _histogram(
    buckets: Mapping[str, NDArray[Any]], cell: _Cell, known: tuple[float, ...]
) -> ExponentialHistogram:
    """Make a histogram of rows that are in order of their scale."""
    part = slice(cell.begin, cell.end)
    scales, sides = buckets["scale"][part], buckets["side"][part]
    places, counts = buckets["place"][part], buckets["value"][part]
    parts = []
    for scale in np.unique(scales).tolist():
        at = scales == scale
        parts.append(
            ExponentialHistogram(
                scale=scale,
                zero_count=int(counts[at & (sides == 0)].sum()),
                positive=_side(places, counts, at & (sides == 1)),
                negative=_side(places, counts, at & (sides == -1)),
            )
        )
    total, least, greatest, zero_threshold = known
    merged = parts[0].merged(parts[1:]).with_zero_threshold(zero_threshold)
    return replace(merged, sum=total, min=least, max=greatest)


def _side(places: NDArray[Any], counts: NDArray[Any], chosen: NDArray[np.bool_]) -> Buckets:
    """Make buckets of those rows that are chosen; there is one for each place, in order."""
    at = places[chosen]
    if not len(at):
        return EMPTY
    first = int(at[0])
    row = np.zeros(int(at[-1]) - first + 1, np.int64)
    row[at - first] = counts[chosen]
    return Buckets(first, tuple(row.tolist()))
