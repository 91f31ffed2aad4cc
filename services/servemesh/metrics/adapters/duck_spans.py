"""Spans in the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
import orjson

from servemesh.metrics.adapters.duck_writes import transaction
from servemesh.metrics.domain.queries import Window
from servemesh.metrics.domain.spans import Order, Span

_COLUMNS = "time, trace_id, span_id, parent_id, name, labels, duration, failed, message"
_ORDERS = {Order.SLOWEST: "duration DESC", Order.NEWEST: "time DESC"}


def append(connection: duckdb.DuckDBPyConnection, spans: Sequence[Span]) -> None:
    """Store spans."""
    rows = [
        (
            span.begin_ms,
            span.trace_id,
            span.span_id,
            span.parent_id,
            span.name,
            orjson.dumps(span.labels).decode(),
            span.duration_s,
            span.failed,
            span.message,
        )
        for span in spans
    ]
    columns = [list(column) for column in zip(*rows, strict=True)]
    unnested = ", ".join(["unnest(?::BIGINT[])", *["unnest(?::VARCHAR[])"] * 5, "unnest(?::DOUBLE[])"])
    with transaction(connection):
        connection.execute(
            f"INSERT INTO spans ({_COLUMNS}) SELECT {unnested}, unnest(?::BOOLEAN[]), unnest(?::VARCHAR[])",
            columns,
        )


def trim(connection: duckdb.DuckDBPyConnection, before_ms: int, count_max: int) -> None:
    """Delete what is old, and the oldest of what is too much."""
    with transaction(connection):
        connection.execute("DELETE FROM spans WHERE time < ?", [before_ms])
        counted = connection.execute("SELECT count(*) FROM spans").fetchone()
        excess = int(counted[0]) - count_max if counted else 0
        if excess > 0:
            connection.execute(
                "DELETE FROM spans WHERE rowid IN (SELECT rowid FROM spans ORDER BY time LIMIT ?)", [excess]
            )


def of_trace(cursor: duckdb.DuckDBPyConnection, trace_id: str, count_max: int) -> tuple[Span, ...]:
    """Return the spans of one trace."""
    rows = cursor.execute(
        f"SELECT {_COLUMNS} FROM spans WHERE trace_id = ? ORDER BY time, span_id LIMIT ?",
        [trace_id, count_max],
    ).fetchall()
    return tuple(_span(row) for row in rows)


def found(
    cursor: duckdb.DuckDBPyConnection, window: Window, *, failed: bool, order: Order, count_max: int
) -> tuple[Span, ...]:
    """Return spans that began in the window."""
    rows = cursor.execute(
        f"SELECT {_COLUMNS} FROM spans WHERE time >= ? AND time < ? AND (failed OR NOT ?) "
        f"ORDER BY {_ORDERS[order]} LIMIT ?",
        [round(window.begin_s * 1000), round(window.end_s * 1000), failed, count_max],
    ).fetchall()
    return tuple(_span(row) for row in rows)


def _span(row: tuple[Any, ...]) -> Span:
    time_ms, trace_id, span_id, parent_id, name, labels, duration_s, failed, message = row
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent_id,
        name=name,
        labels=tuple((label, value) for label, value in orjson.loads(labels)),
        begin_ms=time_ms,
        duration_s=duration_s,
        failed=failed,
        message=message,
    )
