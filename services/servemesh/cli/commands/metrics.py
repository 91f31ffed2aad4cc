"""`servemesh metrics`: what was measured, by name and over time."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Annotated, Any

import typer

from servemesh.cli import output
from servemesh.cli.options import Address, AsJson, connected, duration_s, known, pairs
from servemesh.client import Reading
from servemesh.client.reading import MEASURES
from servemesh.lifecycle import SystemClock

app = typer.Typer(help="What the mesh has measured.", no_args_is_help=True)
_BARS = "▁▂▃▄▅▆▇█"
_BARS_MAX = 32
_LAST = "1h"


def metric_names(incomplete: str) -> list[str]:
    """Return the metrics that a shell may complete a word to."""
    return known(
        lambda client: [each.metric for each in client.metrics.list_metrics(timeout_s=1.0)], incomplete
    )


Last = Annotated[str, typer.Option("--last", metavar="TIME", help="How far to look back, as 90s, 5m or 1h.")]


@app.command("ls")
def list_metrics(address: Address, as_json: AsJson = False) -> None:
    """List the metrics in the store."""
    with connected(address) as client:
        found = client.metrics.list_metrics()
    if as_json:
        output.print_json(found)
        return
    rows = ((one.metric, one.kind, one.unit, ", ".join(one.labels), one.series_count) for one in found)
    output.print_table(
        ("METRIC", "KIND", "UNIT", "LABELS", "SERIES"), rows, empty="Nothing was measured yet."
    )


@app.command()
def query(
    metric: Annotated[str, typer.Argument(help="Name of the metric.", autocompletion=metric_names)],
    address: Address,
    measure: Annotated[
        str, typer.Option(metavar="MEASURE", help=f"{', '.join(MEASURES)}; without: rate, or mean.")
    ] = "",
    quantile: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Of a histogram, for example 0.99.")
    ] = None,
    by: Annotated[list[str] | None, typer.Option(metavar="LABEL", help="Keep this label apart.")] = None,
    where: Annotated[
        list[str] | None, typer.Option(metavar="LABEL=VALUE", help="Only the series that have it.")
    ] = None,
    last: Last = _LAST,
    step: Annotated[str | None, typer.Option(metavar="TIME", help="Length of a step.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show one measure of one metric over time."""
    now = SystemClock().now()
    with connected(address) as client:
        reading = client.metrics.query(
            metric,
            measure,
            where=pairs(where or [], "--where"),
            by=by or [],
            quantile=quantile,
            begin=now - timedelta(seconds=duration_s(last, "--last")),
            end=now,
            step_s=duration_s(step, "--step"),
        )
    if as_json:
        output.print_json(document(reading))
        return
    output.print_table(("SERIES", "LAST", "LEAST", "MOST", "OVER TIME"), _rows(reading), empty="No points.")
    output.out.print(f"{reading.unit or 'without a unit'}, a step is {reading.step_s:g} s")


def document(reading: Reading) -> dict[str, Any]:
    """Return what --json prints; where nothing was measured there is null."""
    tracks = [
        {"labels": dict(track.labels), "values": [None if math.isnan(v) else v for v in track.values]}
        for track in reading.tracks
    ]
    return {
        "metric": reading.metric,
        "unit": reading.unit,
        "begin_time": reading.begin_time,
        "step_s": reading.step_s,
        "tracks": tracks,
    }


def bars(values: tuple[float, ...]) -> str:
    """Return the values as a row of bars from 0 up; a dot where nothing was measured."""
    width = max(1, math.ceil(len(values) / _BARS_MAX))
    groups = [values[at : at + width] for at in range(0, len(values), width)]
    means = [_mean(group) for group in groups]
    most = max((value for value in means if not math.isnan(value)), default=0.0)
    return "".join("·" if math.isnan(value) else _bar(value, most) for value in means)


def _bar(value: float, most: float) -> str:
    share = value / most if most > 0 else 0.0
    return _BARS[min(len(_BARS) - 1, max(0, int(share * len(_BARS))))]


def _mean(values: tuple[float, ...]) -> float:
    measured = [value for value in values if not math.isnan(value)]
    return sum(measured) / len(measured) if measured else math.nan


def _rows(reading: Reading) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for track in reading.tracks:
        measured = [value for value in track.values if not math.isnan(value)]
        label = ", ".join(f"{key}={value}" for key, value in track.labels.items()) or "all"
        numbers = (
            (f"{value:.4g}" for value in (measured[-1], min(measured), max(measured)))
            if measured
            else ("",) * 3
        )
        rows.append((label, *numbers, bars(track.values)))
    return rows
