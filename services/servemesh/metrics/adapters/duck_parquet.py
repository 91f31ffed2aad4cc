"""Writes roll-ups as parquet: one file for each family of points, each row with the whole name of its series."""

from __future__ import annotations

from pathlib import Path

import duckdb

from servemesh.metrics.adapters.duck_schema import FAMILIES, Family
from servemesh.metrics.domain.coverage import Resolution


def written(
    cursor: duckdb.DuckDBPyConnection, resolution: Resolution, begin_ms: int, end_ms: int, folder: Path
) -> tuple[Path, ...]:
    """Write a span of time to files in `folder`; families without points have none."""
    return tuple(
        path
        for family in FAMILIES
        if _copied(cursor, family, resolution, begin_ms, end_ms, path := folder / f"{family.name}.parquet")
    )


def _copied(
    cursor: duckdb.DuckDBPyConnection,
    family: Family,
    resolution: Resolution,
    begin_ms: int,
    end_ms: int,
    path: Path,
) -> bool:
    columns = ", ".join(family.rolled)
    quoted = str(path).replace("'", "''")
    counted = cursor.execute(
        "COPY (SELECT s.metric, s.kind, s.unit, s.labels, make_timestamp_ms(p.time) AS time, "
        f"{columns} FROM (SELECT series, time, {family.selected(resolution)} FROM {family.table(resolution)} "
        f"WHERE time >= {begin_ms} AND time < {end_ms}) p JOIN series s ON s.id = p.series "
        f"ORDER BY s.metric, s.labels, p.time) TO '{quoted}' (FORMAT parquet, COMPRESSION zstd)"
    ).fetchone()
    return counted is not None and int(counted[0]) > 0
