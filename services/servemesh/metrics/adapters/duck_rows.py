"""The rows that a query reads, as SQL: roll-ups, and what is finer where it is not rolled up yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import duckdb

from servemesh.metrics.adapters.duck_catalog import Picked
from servemesh.metrics.adapters.duck_frontier import Reach
from servemesh.metrics.adapters.duck_schema import Family
from servemesh.metrics.domain.coverage import Plan, Resolution, Segment


class Rolled(NamedTuple):
    """Which rows of a resolution are in the coarser one too."""

    seq: int
    time_ms: int
    low: int


class Snapshot(NamedTuple):
    """What a query knows of its moment."""

    rolled: Mapping[Resolution, Rolled]
    reach: Reach

    def has_rolled_up(self, resolution: Resolution, segment: Segment) -> bool:
        """Whether all rows of a resolution in the segment are in the next coarser one."""
        return self.reach.is_rolled_up(resolution, segment.end_ms)


@contextmanager
def snapshot(cursor: duckdb.DuckDBPyConnection, chosen: Picked, reach: Reach) -> Iterator[Snapshot]:
    """One transaction, so that what is rolled up and what is not yet come from the same moment."""
    cursor.register("picked", {"series": chosen.series, "grp": chosen.groups})
    cursor.begin()
    try:
        marks = cursor.execute("SELECT resolution, seq, time, low FROM rolled").fetchall()
        yield Snapshot({Resolution(resolution): Rolled(*rest) for resolution, *rest in marks}, reach)
    finally:
        cursor.rollback()
        cursor.unregister("picked")


def by_step(family: Family, plan: Plan, snap: Snapshot, measure: str, *, keys: str = "grp, step") -> str:
    return f"SELECT {keys}, {measure} AS value FROM ({rows(family, plan, snap)}) GROUP BY {keys}"


def rows(family: Family, plan: Plan, snap: Snapshot) -> str:
    """All rows of a plan, with their group and step."""
    parts = " UNION ALL ".join(
        _part(family, resolution, segment, snap)
        for segment in plan.segments
        for resolution in Resolution
        if resolution == segment.resolution
        or (resolution < segment.resolution and not snap.has_rolled_up(resolution, segment))
    )
    return (
        f"SELECT *, ((time - {plan.begin_ms}) // {plan.step_ms})::INTEGER AS step FROM ({parts}) "
        "JOIN picked USING (series)"
    )


def _part(family: Family, resolution: Resolution, segment: Segment, snap: Snapshot) -> str:
    """Rows of one resolution in a segment; of finer ones than the segment's only what is not rolled up."""
    condition = f"time >= {segment.begin_ms} AND time < {segment.end_ms}"
    if resolution < segment.resolution:
        marks = snap.rolled[resolution]
        condition += f" AND seq > {marks.low} AND (seq > {marks.seq} OR time >= {marks.time_ms})"
    return f"SELECT series, time, {family.selected(resolution)} FROM {family.table(resolution)} WHERE {condition}"
