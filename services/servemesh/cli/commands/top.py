"""`servemesh top`: calls, rows and latencies of every version, as they are now."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.table import Table

from servemesh.cli import output
from servemesh.cli.options import Address, AsJson, connected
from servemesh.client import Client, Statistics

_COLUMNS = ("MODEL", "VERSION", "CALLS/S", "ROWS/S", "FAILED/S", "ROWS PER RUN", "MS PER CALL", "MS QUEUED")


def top(
    address: Address,
    interval: Annotated[float, typer.Option(metavar="SECONDS", min=0.2, help="Between two readings.")] = 1.0,
    count: Annotated[
        int | None, typer.Option(min=1, help="Readings, then stop.", show_default="until Ctrl-C")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what the mesh is doing now, model by model."""
    with connected(address) as client:
        if as_json:
            for _ in range(count or 1):
                output.print_json(_reading(client, interval))
            return
        with Live(console=output.out, auto_refresh=False) as live:
            left = count
            while left is None or left > 0:
                live.update(_table(_reading(client, interval)), refresh=True)
                left = None if left is None else left - 1


def rates(
    before: Iterable[Statistics], after: Iterable[Statistics], interval_s: float
) -> list[dict[str, Any]]:
    """Return what happened between two readings, per second and per call."""
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
            {
                "model": item.model,
                "version": item.version,
                "calls_per_s": calls / interval_s,
                "rows_per_s": rows / interval_s,
                "failures_per_s": failures / interval_s,
                "rows_per_run": rows / batches if batches else 0.0,
                "ms_per_call": 1000 * duration_s / calls if calls else 0.0,
                "ms_queued": 1000 * queue_s / calls if calls else 0.0,
            }
        )
    return found


def _reading(client: Client, interval_s: float) -> list[dict[str, Any]]:
    before, start_s = client.statistics(), time.monotonic()
    time.sleep(interval_s)
    after = client.statistics()
    return rates(before, after, time.monotonic() - start_s)


def _table(reading: list[dict[str, Any]]) -> Table:
    rows = (
        [item["model"], item["version"], *(f"{value:.1f}" for value in list(item.values())[2:])]
        for item in reading
    )
    return output.table_of(_COLUMNS, rows)
