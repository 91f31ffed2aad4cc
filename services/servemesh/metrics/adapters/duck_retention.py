"""Keeps the store within its age and its size: the finest goes first, the oldest of it first."""

from __future__ import annotations

import duckdb

from servemesh.metrics.adapters.duck_schema import COARSER, FAMILIES, GROWTH, LEVEL, SUMMARY
from servemesh.metrics.adapters.duck_writes import transaction
from servemesh.metrics.domain.coverage import HOUR_MS, Held, Resolution
from servemesh.metrics.domain.retention import Retention, Trimmed

SLICES = (
    16  # what is deleted at a time when the store is too large: this part of the time that a resolution spans
)
ANNOTATIONS_MAX = 100_000


def held(connection: duckdb.DuckDBPyConnection) -> Held:
    """Return since when each resolution is complete."""
    kept = dict(connection.execute("SELECT resolution, kept FROM rolled").fetchall())
    return Held(raw_ms=kept[Resolution.RAW], minute_ms=kept[Resolution.MINUTE])


def size_bytes(connection: duckdb.DuckDBPyConnection) -> int:
    """Return what the file uses; blocks that are free again do not count."""
    row = connection.execute("SELECT block_size * used_blocks FROM pragma_database_size()").fetchone()
    return int(row[0]) if row else 0


def retain(connection: duckdb.DuckDBPyConnection, now_ms: int, retention: Retention) -> list[Trimmed]:
    """Delete what is too old; then, while the store is too large, the oldest of the finest there is."""
    for resolution in Resolution:
        _delete(connection, resolution, now_ms - retention.kept_ms(resolution))
    with transaction(connection):
        oldest = now_ms - retention.kept_ms(Resolution.HOUR)
        connection.execute("DELETE FROM annotations WHERE time < ?", [oldest])
        connection.execute(
            "DELETE FROM annotations WHERE id IN (SELECT id FROM annotations ORDER BY time DESC OFFSET ?)",
            [ANNOTATIONS_MAX],
        )
    connection.execute("CHECKPOINT")
    trimmed = []
    for resolution in Resolution:
        while size_bytes(connection) > retention.size_bytes_max:
            until_ms = _first_slice(connection, resolution, now_ms)
            if until_ms is None or not _delete(connection, resolution, until_ms):
                break
            connection.execute("CHECKPOINT")
            trimmed.append(Trimmed(resolution, until_ms))
    return trimmed


def forget_series(connection: duckdb.DuckDBPyConnection) -> list[int]:
    """Delete the series of which there are no points any more, and return their numbers."""
    named = (GROWTH, LEVEL, SUMMARY)  # what has buckets has a summary
    tables = [family.table(resolution) for family in named for resolution in Resolution]
    used = " UNION ".join(f"SELECT DISTINCT series FROM {table}" for table in tables)
    with transaction(connection):
        rows = connection.execute(f"DELETE FROM series WHERE id NOT IN ({used}) RETURNING id").fetchall()
    return [number for (number,) in rows]


def _delete(connection: duckdb.DuckDBPyConnection, resolution: Resolution, until_ms: int) -> bool:
    """Delete what is older, as far as the next coarser resolution has it; return whether there was anything."""
    deleted_count = 0
    with transaction(connection):
        row = connection.execute(
            "SELECT seq, time FROM rolled WHERE resolution = ?", [int(resolution)]
        ).fetchone()
        assert row is not None
        condition = f"time < {until_ms}"
        if resolution in COARSER:
            seq, rolled_ms = row
            until_ms = min(until_ms, rolled_ms)
            condition = f"time < {until_ms} AND seq <= {seq}"
        for family in FAMILIES:
            row = connection.execute(f"DELETE FROM {family.table(resolution)} WHERE {condition}").fetchone()
            deleted_count += int(row[0]) if row else 0
        connection.execute(
            "UPDATE rolled SET kept = greatest(kept, ?) WHERE resolution = ?", [until_ms, int(resolution)]
        )
    return deleted_count > 0


def _first_slice(connection: duckdb.DuckDBPyConnection, resolution: Resolution, now_ms: int) -> int | None:
    """Return until when to delete next; None if too little is left to delete."""
    asked = " UNION ALL ".join(f"SELECT min(time) AS time FROM {f.table(resolution)}" for f in FAMILIES)
    row = connection.execute(f"SELECT min(time) FROM ({asked})").fetchone()
    if row is None or row[0] is None or now_ms - row[0] < 2 * HOUR_MS:
        return None
    return int(row[0]) + max(int(Resolution.MINUTE), (now_ms - int(row[0])) // SLICES)
