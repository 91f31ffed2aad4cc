"""What the one writer does: append points, roll them up, keep annotations. Each is one transaction."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from servemesh.exponential import ExponentialHistogram
from servemesh.exponential_buckets import Buckets
from servemesh.metrics.adapters import duck_catalog
from servemesh.metrics.adapters.duck_catalog import Catalog
from servemesh.metrics.adapters.duck_schema import BUCKET, COARSER, FAMILIES, GROWTH, LEVEL, SUMMARY, Family
from servemesh.metrics.domain.coverage import Resolution
from servemesh.metrics.domain.points import Point, Series
from servemesh.metrics.domain.queries import Annotation, Kind

Columns = dict[str, NDArray[Any]]
GRACE_MS = {Resolution.MINUTE: 15_000, Resolution.HOUR: 90_000}
"""Points may come so late and still be rolled up with the others of their minute; an hour waits for its last minute."""


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Commit at the end of the block, or undo it all."""
    connection.begin()
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def append(
    connection: duckdb.DuckDBPyConnection, catalog: Catalog, points: Sequence[Point], seq: int
) -> None:
    """Store points and the series that they are the first of."""
    numbers, added = _numbered(catalog, points)
    tables = _tables(points, numbers)
    with transaction(connection):
        if added:
            connection.execute(
                "INSERT INTO series SELECT unnest(?::BIGINT[]), unnest(?::VARCHAR[]), unnest(?::VARCHAR[]), "
                "unnest(?::VARCHAR[]), unnest(?::VARCHAR[])",
                duck_catalog.columns(added),
            )
        for family, columns in tables:
            _insert(connection, family, seq, columns)
    catalog.add(added.items())


def roll_up(connection: duckdb.DuckDBPyConnection, now_ms: int, seq: int) -> dict[Resolution, int]:
    """Bring what is complete into the next coarser resolution: whole minutes, whole hours.

    Return until when, for each resolution of which there was something to roll up.
    """
    with transaction(connection):
        return {
            resolution: until_ms
            for resolution, coarser in COARSER.items()
            if (until_ms := _roll_up(connection, resolution, coarser, now_ms, seq))
        }


def annotate(connection: duckdb.DuckDBPyConnection, annotation: Annotation) -> None:
    """Keep it once."""
    with transaction(connection):
        connection.execute(
            "INSERT OR IGNORE INTO annotations VALUES (?, ?, ?, ?, ?)",
            [
                annotation.annotation_id,
                round(annotation.time_s * 1000),
                annotation.kind,
                annotation.resource,
                annotation.text,
            ],
        )


def last_seq(connection: duckdb.DuckDBPyConnection) -> int:
    """Return the last number that a flush or a roll-up used."""
    tables = [family.table(resolution) for family in FAMILIES for resolution in Resolution]
    asked = " UNION ALL ".join(f"SELECT max(seq) AS seq FROM {table}" for table in [*tables, "rolled"])
    row = connection.execute(f"SELECT coalesce(max(seq), 0) FROM ({asked})").fetchone()
    return int(row[0]) if row else 0


def wall_ms() -> int:
    """Return the machine's time."""
    return time.time_ns() // 1_000_000


def _numbered(catalog: Catalog, points: Sequence[Point]) -> tuple[NDArray[np.int64], dict[Series, int]]:
    numbers = [catalog.number(point.series) for point in points]
    if None not in numbers:
        return np.array(numbers, np.int64), {}
    new = (point.series for point, number in zip(points, numbers, strict=True) if number is None)
    added = catalog.allotted(dict.fromkeys(new))
    found = [
        added[point.series] if number is None else number
        for point, number in zip(points, numbers, strict=True)
    ]
    return np.array(found, np.int64), added


def _tables(points: Sequence[Point], numbers: NDArray[np.int64]) -> list[tuple[Family, Columns]]:
    """Sort points into the families that keep them, as columns."""
    growth, level, distributions = [], [], []
    for place, point in enumerate(points):
        if isinstance(point.value, ExponentialHistogram):
            distributions.append(place)
        elif point.series.kind is Kind.COUNTER:
            growth.append(place)
        else:
            level.append(place)
    tables: list[tuple[Family, Columns]] = []
    for family, places in ((GROWTH, growth), (LEVEL, level)):
        if places:
            values = np.array([points[place].value for place in places], np.float64)
            tables.append((family, {**_when(points, numbers, places), "value": values}))
    if distributions:
        tables.append((SUMMARY, _summaries(points, numbers, distributions)))
        tables.append((BUCKET, _buckets(points, numbers, distributions)))
    return tables


def _when(points: Sequence[Point], numbers: NDArray[np.int64], places: Sequence[int]) -> Columns:
    return {
        "series": numbers[np.array(places, np.int64)],
        "time": np.array([points[place].time_ms for place in places], np.int64),
    }


def _summaries(points: Sequence[Point], numbers: NDArray[np.int64], places: Sequence[int]) -> Columns:
    values = [points[place].value for place in places]
    histograms = [value for value in values if isinstance(value, ExponentialHistogram)]
    return {
        **_when(points, numbers, places),
        "count": np.array([one.count for one in histograms], np.int64),
        **{
            name: np.array([getattr(one, name) for one in histograms], np.float64)
            for name in ("sum", "min", "max", "zero_threshold")
        },
    }


def _buckets(points: Sequence[Point], numbers: NDArray[np.int64], places: Sequence[int]) -> Columns:
    """One row for each bucket that is not empty, column by column: rows as tuples would take ten times as long."""
    owners: list[int] = []
    spans: list[int] = []
    sides: list[int] = []
    offsets: list[int] = []
    scales: list[int] = []
    counts: list[int] = []
    for place in places:
        value = points[place].value
        assert isinstance(value, ExponentialHistogram)
        zeros = Buckets(0, (value.zero_count,))
        for side, buckets in ((0, zeros), (1, value.positive), (-1, value.negative)):
            if buckets.counts:
                owners.append(place)
                spans.append(len(buckets.counts))
                sides.append(side)
                offsets.append(buckets.offset)
                scales.append(value.scale)
                counts += buckets.counts
    lengths, count = np.array(spans, np.int64), np.array(counts, np.int64)
    begins = np.repeat(np.cumsum(lengths) - lengths, lengths)
    times = np.array([points[place].time_ms for place in owners], np.int64)
    columns: Columns = {
        "series": np.repeat(numbers[np.array(owners, np.int64)], lengths),
        "time": np.repeat(times, lengths),
        "side": np.repeat(np.array(sides, np.int8), lengths),
        "scale": np.repeat(np.array(scales, np.int8), lengths),
        "place": (np.repeat(np.array(offsets, np.int64), lengths) + np.arange(len(count)) - begins).astype(
            np.int32
        ),
        "count": count,
    }
    return {name: column[count > 0] for name, column in columns.items()}


def _insert(connection: duckdb.DuckDBPyConnection, family: Family, seq: int, columns: Columns) -> None:
    listed, order = ", ".join(columns), np.argsort(columns["series"], kind="stable")
    # duckdb finds the table `incoming` in this variable, and reads numpy's arrays where they are, NaN as NULL.
    incoming = {name: column[order] for name, column in columns.items()}  # noqa: F841
    connection.execute(
        f"INSERT INTO {family.table(Resolution.RAW)} (seq, {listed}) SELECT {seq}, {listed} FROM incoming"
    )


def _roll_up(
    connection: duckdb.DuckDBPyConnection,
    resolution: Resolution,
    coarser: Resolution,
    now_ms: int,
    seq: int,
) -> int | None:
    """Roll up all rows of earlier flushes that are complete and have not been yet; return until when."""
    until_ms = (now_ms - GRACE_MS[coarser]) // int(coarser) * int(coarser)
    row = connection.execute(
        "SELECT seq, time, low FROM rolled WHERE resolution = ?", [int(resolution)]
    ).fetchone()
    assert row is not None
    done_seq, done_ms, low = row
    if until_ms <= done_ms:
        return None
    pending = f"seq > {low} AND (seq > {done_seq} OR time >= {done_ms})"
    for family in FAMILIES:
        connection.execute(
            f"INSERT INTO {family.table(coarser)} (seq, series, time, {', '.join(family.rolled)}) "
            f"SELECT {seq}, series, slot, {', '.join(family.rolled)} FROM ("
            f"SELECT series, time // {int(coarser)} * {int(coarser)} AS slot, {family.keys}{family.joined} "
            f"FROM (SELECT series, time, {family.selected(resolution)} FROM {family.table(resolution)} "
            f"WHERE {pending} AND seq < {seq} AND time < {until_ms}) "
            f"GROUP BY series, slot{', ' + family.keys.rstrip(', ') if family.keys else ''}) ORDER BY series, slot"
        )
    open_rows = " UNION ALL ".join(
        f"SELECT min(seq) AS seq FROM {family.table(resolution)} WHERE seq > {low} AND time >= {until_ms}"
        for family in FAMILIES
    )
    connection.execute(
        f"UPDATE rolled SET seq = {seq - 1}, time = {until_ms}, "
        f"low = coalesce((SELECT min(seq) FROM ({open_rows})), {seq}) - 1 WHERE resolution = {int(resolution)}"
    )
    return until_ms
