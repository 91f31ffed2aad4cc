"""`servemesh metrics overview | compare | anomalies | forecast | capacity | drift`: what follows from measurements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from servemesh.cli import output
from servemesh.cli.commands.metrics import Last, bars
from servemesh.cli.options import Address, AsJson, ModelName, connected, duration_s
from servemesh.client import Capacity, Comparison, Figures, Forecast
from servemesh.client.analysing import SUBJECTS
from servemesh.lifecycle import SystemClock

_LAST, _LAST_DAY = "1h", "24h"
_TIME = "%Y-%m-%d %H:%M"
_SIGNIFICANT = 0.05
_COLUMNS = (
    "SUBJECT",
    "CALLS",
    "CALLS/S",
    "FAILED",
    "P50 MS",
    "P95 MS",
    "P99 MS",
    "QUEUED",
    "ROWS/RUN",
    "BUSY",
    "ANSWERED",
    "RECOVERED",
    "CPU S/1000",
    "GPU S/1000",
    "COST/1000",
)
Horizon = Annotated[
    str, typer.Option("--ahead", metavar="TIME", help="How far to look, 15m to 14 days (336h).")
]


def overview(
    address: Address,
    by: Annotated[str, typer.Option(metavar="SUBJECT", help=f"{', '.join(SUBJECTS)}.")] = "model",
    last: Last = _LAST,
    as_json: AsJson = False,
) -> None:
    """Show rate, errors, duration, saturation and cost of the mesh, and of each model, version or worker."""
    begin, end = _window(last)
    with connected(address) as client:
        found = client.metrics.overview(by=by, begin=begin, end=end)
    if as_json:
        output.print_json(_without_nan(output.plain(found)))
        return
    rows = [_figures_row(each) for each in (found.mesh, *found.subjects)]
    output.print_table(_COLUMNS, rows, empty="")
    output.out.print(f"{found.worker_count} workers, {found.firing_count} alerts fire; - was not measured")


def compare(
    model: ModelName,
    baseline: Annotated[int, typer.Argument(min=1, help="The version that is compared with.")],
    candidate: Annotated[int, typer.Argument(min=1, help="The version that is compared.")],
    address: Address,
    last: Last = _LAST,
    as_json: AsJson = False,
) -> None:
    """Compare two versions of a model over the same time, with intervals and p-values."""
    begin, end = _window(last)
    with connected(address) as client:
        found = client.metrics.compare(model, baseline, candidate, begin=begin, end=end)
    if as_json:
        output.print_json(_without_nan(output.plain(found)))
        return
    output.print_table(
        (
            "MEASURE",
            f"VERSION {baseline}",
            f"VERSION {candidate}",
            "DIFFERENCE",
            "95 % INTERVAL",
            "P",
            "TEST",
        ),
        _differences(found),
        empty="Neither answered enough calls in this time to be compared.",
    )
    output.out.print(
        f"{found.baseline_call_count} and {found.candidate_call_count} calls; a p below {_SIGNIFICANT} is rare "
        "where there is no difference, but one of several measures gets there more easily",
        soft_wrap=True,
    )


def anomalies(
    address: Address,
    model: Annotated[str, typer.Option(metavar="NAME", help="Only of this model.")] = "",
    last: Last = _LAST_DAY,
    as_json: AsJson = False,
) -> None:
    """List when calls, errors or latency were not what their season lets expect."""
    begin, end = _window(last)
    with connected(address) as client:
        found = client.metrics.anomalies(model, begin=begin, end=end)
    if as_json:
        output.print_json(_without_nan(output.plain(found)))
        return
    rows = (
        (
            each.begin_time.strftime(_TIME),
            each.end_time.strftime(_TIME),
            each.model,
            each.measure,
            f"{each.value:.4g}",
            f"{each.expected:.4g}",
            f"{each.score:.1f}",
        )
        for each in found
    )
    columns = ("BEGAN (UTC)", "ENDED (UTC)", "MODEL", "MEASURE", "VALUE", "EXPECTED", "SCORE")
    output.print_table(columns, rows, empty="Nothing odd in this time.")


def drift(
    model: ModelName,
    version: Annotated[int, typer.Argument(min=1, help="The version.")],
    address: Address,
    last: Last = _LAST_DAY,
    as_json: AsJson = False,
) -> None:
    """Show how far the inputs and outputs of a version have moved from its first day."""
    begin, end = _window(last)
    with connected(address) as client:
        found = client.metrics.drift(model, version, begin=begin, end=end)
    if as_json:
        output.print_json(_without_nan(output.plain(found)))
        return
    rows = (
        (
            each.tensor,
            "all" if each.feature < 0 else each.feature,
            f"{each.psi:.3f}",
            f"{each.ks:.3f}",
            f"{each.p_value:.3g}",
        )
        for each in found.features
    )
    output.print_table(("TENSOR", "FEATURE", "PSI", "KS", "P"), rows, empty="No features.")
    output.out.print(
        f"{found.row_count} rows, {found.reference_row_count} in the reference; "
        "PSI below 0.1 is still, above 0.25 moved"
    )


def forecast(model: ModelName, address: Address, ahead: Horizon = _LAST_DAY, as_json: AsJson = False) -> None:
    """Show the demand of a model in the hours or days ahead."""
    with connected(address) as client:
        found = client.metrics.forecast(model, horizon_s=duration_s(ahead, "--ahead"))
    if as_json:
        output.print_json(_without_nan(output.plain(found)))
        return
    rows = (
        (each.time.strftime(_TIME), f"{each.expected:.1f}", f"{each.low:.1f}", f"{each.high:.1f}")
        for each in found.points
    )
    columns = ("FROM (UTC)", "ROWS/S", "90 % LOW", "90 % HIGH")
    output.print_table(columns, rows, empty="No steps.")
    output.out.print(_method(found), soft_wrap=True)


def capacity(address: Address, ahead: Horizon = _LAST_DAY, as_json: AsJson = False) -> None:
    """Show how many workers are needed now and ahead, and which model will need more than there are."""
    with connected(address) as client:
        found = client.metrics.capacity(horizon_s=duration_s(ahead, "--ahead"))
    if as_json:
        output.print_json(_without_nan(output.plain(found)))
        return
    now = SystemClock().now()
    rows = (
        (
            each.model,
            f"{each.rows_per_worker:.1f}",
            f"{each.demand:.1f}",
            f"{each.peak_demand:.1f}",
            each.peak_time.strftime(_TIME),
            exceeded(each.exceeded_time, now),
        )
        for each in found.models
    )
    columns = ("MODEL", "ROWS/S A WORKER", "ROWS/S NOW", "AT PEAK", "PEAK (UTC)", "EXCEEDS CAPACITY")
    output.print_table(columns, rows, empty="No models.")
    output.out.print(sentence(found))


COMMANDS = (overview, compare, anomalies, drift, forecast, capacity)


def sentence(found: Capacity) -> str:
    """Return how many workers are needed, in one sentence."""
    return (
        f"workers needed by {found.peak_time:%H:%M} UTC: {found.needed_at_peak} "
        f"({found.needed_at_peak_low} to {found.needed_at_peak_high}); needed now: {found.needed_now}; "
        f"there are {found.worker_count}"
    )


def exceeded(moment: datetime | None, now: datetime) -> str:
    """Return when demand passes what there is, as people say it."""
    if moment is None:
        return "no"
    ahead_s = (moment - now).total_seconds()
    if ahead_s < 60:
        return "now"
    return f"in {ahead_s / 60:.0f} min" if ahead_s < 7200 else f"in {ahead_s / 3600:.0f} h"


def _window(last: str) -> tuple[datetime, datetime]:
    now = SystemClock().now()
    return now - timedelta(seconds=duration_s(last, "--last")), now


def _figures_row(each: Figures) -> list[object]:
    numbers = (
        (each.call_rate, "{:.1f}"),
        (each.error_ratio, "{:.2%}"),
        (each.p50_s * 1000, "{:.1f}"),
        (each.p95_s * 1000, "{:.1f}"),
        (each.p99_s * 1000, "{:.1f}"),
        (each.queue_share, "{:.0%}"),
        (each.rows_per_run, "{:.1f}"),
        (each.busy_share, "{:.0%}"),
        (each.utilisation, "{:.2%}"),
        (each.fault_tolerance, "{:.2%}"),
        (each.cpu_s_per_1000, "{:.2f}"),
        (each.gpu_s_per_1000, "{:.2f}"),
        (each.cost_per_1000, "{:.4g}"),
    )
    shown = ["-" if math.isnan(value) else form.format(value) for value, form in numbers]
    return [each.subject or "mesh", each.call_count, *shown]


def _differences(found: Comparison) -> Sequence[Sequence[object]]:
    return [
        (
            each.measure,
            f"{each.baseline:.4g}",
            f"{each.candidate:.4g}",
            f"{each.difference:+.4g}",
            f"{each.low:+.4g} to {each.high:+.4g}",
            f"{each.p_value:.3g}",
            each.method,
        )
        for each in found.differences
    ]


def _method(found: Forecast) -> str:
    days = (found.history_end_time - found.history_begin_time).total_seconds() / 86_400
    course = bars(tuple(each.expected for each in found.points))
    return (
        f"{course}\n{found.method} on {days:.1f} days; in the backtest it was wrong by "
        f"{found.backtest_error:.3g} rows/s on average, seasonal naive by {found.naive_error:.3g}"
    )


def _without_nan(value: Any) -> Any:
    """Return plain values with null for what was not measured: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
