"""The rows that a query reads, as SQL: roll-ups, and what is finer where it is not rolled up yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import duckdb

from servemesh.metrics.adapters.duck_catalog import Picked
from servemesh.metrics.adapters.duck_schema import Family
from servemesh.metrics.domain.coverage import Plan, Resolution, Segment


class Rolled(NamedTuple):
    """Which rows of a resolution are in the coarser one too."""

    seq: int
    time_ms: int
    low: int


@contextmanager
def snapshot(cursor: duckdb.DuckDBPyConnection, chosen: Picked) -> Iterator[Mapping[Resolution, Rolled]]:
    """One transaction, so that what is rolled up and what is not yet come from the same moment."""
    cursor.register("picked", {"series": chosen.series, "grp": chosen.groups})
    cursor.begin()
    try:
        marks = cursor.execute("SELECT resolution, seq, time, low FROM rolled").fetchall()
        yield {Resolution(resolution): Rolled(*rest) for resolution, *rest in marks}
    finally:
        cursor.rollback()
        cursor.unregister("picked")


def by_step(
    family: Family, plan: Plan, rolled: Mapping[Resolution, Rolled], measure: str, *, keys: str = "grp, step"
) -> str:
    return f"SELECT {keys}, {measure} AS value FROM ({rows(family, plan, rolled)}) GROUP BY {keys}"


def rows(family: Family, plan: Plan, rolled: Mapping[Resolution, Rolled]) -> str:
    """All rows of a plan, with their group and step."""
    parts = " UNION ALL ".join(
        _part(family, resolution, segment, rolled)
        for segment in plan.segments
        for resolution in Resolution
        if resolution <= segment.resolution
    )
    return (
        f"SELECT *, ((time - {plan.begin_ms}) // {plan.step_ms})::INTEGER AS step FROM ({parts}) "
        "JOIN picked USING (series)"
    )


def _part(
    family: Family, resolution: Resolution, segment: Segment, rolled: Mapping[Resolution, Rolled]
) -> str:
    """Rows of one resolution in a segment; of finer ones than the segment's only what is not rolled up."""
    condition = f"time >= {segment.begin_ms} AND time < {segment.end_ms}"
    if resolution < segment.resolution:
        marks = rolled[resolution]
        condition += f" AND seq > {marks.low} AND (seq > {marks.seq} OR time >= {marks.time_ms})"
    return f"SELECT series, time, {family.selected(resolution)} FROM {family.table(resolution)} WHERE {condition}"
