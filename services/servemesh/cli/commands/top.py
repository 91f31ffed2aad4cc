"""`servemesh top`: calls, rows and latencies of every version, as they are now."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.table import Table

from servemesh.cli import output
from servemesh.cli.options import Address, AsJson, connected
from servemesh.client import Client, Statistics
from servemesh.errors import UnavailableError, UnsupportedError
from servemesh.lifecycle import SystemClock

_COLUMNS = (
    "MODEL",
    "VERSION",
    "CALLS/S",
    "FAILED/S",
    "ROWS/S",
    "ROWS PER RUN",
    "P50 MS",
    "P99 MS",
    "QUEUED",
    "BUSY",
)
_BY = ("model", "version")
_Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One Version; what is not known is NaN."""

    model: str
    version: str
    calls_per_s: float = 0.0
    failures_per_s: float = 0.0
    rows_per_s: float = 0.0
    rows_per_run: float = math.nan
    p50_ms: float = math.nan
    p99_ms: float = math.nan
    queue_share: float = math.nan
    busy_share: float = math.nan


def top(
    address: Address,
    window: Annotated[
        float, typer.Option(metavar="SECONDS", min=10, help="What is looked at, up to now.")
    ] = 60.0,
    interval: Annotated[float, typer.Option(metavar="SECONDS", min=0.2, help="Between two readings.")] = 2.0,
    count: Annotated[
        int | None, typer.Option(min=1, help="Readings, then stop.", show_default="until Ctrl-C")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="One reading, then stop.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what the mesh is doing now, model by model."""
    left = 1 if once or (as_json and count is None) else count
    with connected(address) as client:
        if as_json:
            for number in range(left or 1):
                if number:
                    time.sleep(interval)
                output.print_json([_document(row) for row in _rows(client, window, interval)])
            return
        if left == 1:
            output.out.print(_shown(_rows(client, window, interval), window))
            return
        with Live(console=output.out, auto_refresh=False) as live:
            while True:
                live.update(_shown(_rows(client, window, interval), window), refresh=True)
                left = None if left is None else left - 1
                if left == 0:
                    return
                time.sleep(interval)


def _rows(client: Client, window_s: float, interval_s: float) -> list[Row]:
    """Ask the metrics service; where there is none, the workers, twice."""
    try:
        return _measured(client, window_s)
    except (UnavailableError, UnsupportedError):
        return _counted(client, interval_s)


def _measured(client: Client, window_s: float) -> list[Row]:
    now = SystemClock().now()
    begin = now - timedelta(seconds=window_s)

    def asked(metric: str, measure: str, quantile: float | None = None, **where: str) -> dict[_Key, float]:
        reading = client.metrics.query(
            metric, measure, where=where, by=_BY, quantile=quantile, begin=begin, end=now, step_s=window_s
        )
        return {
            (track.labels.get("model", ""), track.labels.get("version", "")): _last(track.values)
            for track in reading.tracks
        }

    duration, rows = "servemesh.worker.call.duration", "servemesh.worker.batch.rows"
    return joined(
        calls=asked("servemesh.worker.calls", "rate"),
        failures=asked("servemesh.worker.calls", "rate", outcome="failed"),
        rows=asked(rows, "sum_rate"),
        runs=asked(rows, "rate"),
        p50_s=asked(duration, "quantile", 0.5),
        p99_s=asked(duration, "quantile", 0.99),
        latency_s=asked(duration, "sum_rate"),
        queue_s=asked("servemesh.worker.queue.duration", "rate"),
        busy_s=asked("servemesh.worker.batch.duration", "sum_rate"),
    )


def joined(**figures: Mapping[_Key, float]) -> list[Row]:
    """Return a row for each Version that was called, busiest first."""

    def of(name: str, key: _Key) -> float:
        return figures[name].get(key, math.nan)

    rows = [
        Row(
            model=key[0],
            version=key[1],
            calls_per_s=of("calls", key),
            failures_per_s=_known(of("failures", key)),
            rows_per_s=_known(of("rows", key)),
            rows_per_run=_ratio(of("rows", key), of("runs", key)),
            p50_ms=1000 * of("p50_s", key),
            p99_ms=1000 * of("p99_s", key),
            queue_share=_ratio(of("queue_s", key), of("latency_s", key)),
            busy_share=of("busy_s", key),
        )
        for key, calls in figures["calls"].items()
        if not math.isnan(calls)
    ]
    return sorted(rows, key=lambda row: (-row.calls_per_s, row.model, row.version))


def _counted(client: Client, interval_s: float) -> list[Row]:
    before, start_s = client.statistics(), time.monotonic()
    time.sleep(interval_s)
    return rates(before, client.statistics(), time.monotonic() - start_s)


def rates(before: Iterable[Statistics], after: Iterable[Statistics], interval_s: float) -> list[Row]:
    """Return what happened between two readings of the workers, which know no quantiles."""
    known = {(item.model, item.version): item for item in before}
    found = []
    for item in after:
        last = known.get((item.model, item.version))
        calls = item.calls - (last.calls if last else 0)
        rows = item.rows - (last.rows if last else 0)
        batches = item.batches - (last.batches if last else 0)
        failures = item.failures - (last.failures if last else 0)
        duration_s = item.duration_s - (last.duration_s if last else 0.0)
        queue_s = item.queue_s - (last.queue_s if last else 0.0)
        found.append(
            Row(
                model=item.model,
                version=item.version,
                calls_per_s=calls / interval_s,
                failures_per_s=failures / interval_s,
                rows_per_s=rows / interval_s,
                rows_per_run=_ratio(rows, batches),
                queue_share=_ratio(queue_s, duration_s),
            )
        )
    return found


def _document(row: Row) -> dict[str, Any]:
    values = output.plain(row)
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in values.items()
    }


def _shown(rows: list[Row], window_s: float) -> Table | str:
    if not rows:
        return f"no calls in the last {window_s:g} s"
    return output.table_of(
        _COLUMNS,
        (
            (
                row.model,
                row.version,
                *(_number(value) for value in (row.calls_per_s, row.failures_per_s, row.rows_per_s)),
                *(_number(value) for value in (row.rows_per_run, row.p50_ms, row.p99_ms)),
                *(_percent(value) for value in (row.queue_share, row.busy_share)),
            )
            for row in rows
        ),
    )


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _percent(value: float) -> str:
    return "" if math.isnan(value) else f"{100 * value:.0f} %"


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _known(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def _last(values: tuple[float, ...]) -> float:
    return next((value for value in reversed(values) if not math.isnan(value)), math.nan)
