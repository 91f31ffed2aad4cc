"""The tables of a report as rows of text, for the page and for CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime

from servemesh.metrics.domain.alerting.alerts import Alert
from servemesh.metrics.domain.figures import Figures
from servemesh.metrics.domain.reporting.contents import Findings, Outlook, availability, cost

NOTHING = "–"  # noqa: RUF001 - a dash is what tables have there
HEADINGS = (
    *("", "Calls", "Calls/s", "Availability", "p50", "p95", "p99", "Busy", "Queue share", "Rows/run"),
    *("CPU s/1,000", "GPU s/1,000", "Cost/1,000", "Cost"),
)
_SUBJECTS = ("models/", "workers/", "tenants/")


def figures_row(name: str, found: Figures) -> list[str]:
    """Return the cells under HEADINGS."""
    return [
        name,
        f"{found.call_count:,}",
        number(found.call_rate),
        percent(availability(found), digits=3),
        span(found.p50_s),
        span(found.p95_s),
        span(found.p99_s),
        percent(found.busy_share),
        percent(found.queue_share),
        number(found.rows_per_run),
        number(found.cpu_s_per_1000),
        number(found.gpu_s_per_1000),
        number(found.cost_per_1000),
        number(cost(found)),
    ]


def short_name(subject: str) -> str:
    """Return a subject's name without its kind."""
    for prefix in _SUBJECTS:
        subject = subject.removeprefix(prefix)
    return subject.replace("/versions/", "@")


def alert_row(alert: Alert, until_s: float) -> list[str]:
    """Return when it fired, for how long, how urgent it was, and what it said."""
    fired_s = alert.fire_s if alert.fire_s is not None else alert.start_s
    ended_s = alert.resolve_s if alert.resolve_s is not None else until_s
    lasted = span(max(0.0, ended_s - fired_s)) + ("" if alert.resolve_s is not None else ", still")
    return [moment(fired_s), lasted, alert.severity.value, alert.rule_id, alert.text]


def outlook_row(outlook: Outlook) -> list[str]:
    """Return what is expected of a model."""
    peak_s, peak = outlook.peak
    place = round((peak_s - outlook.begin_s) / outlook.step_s)
    interval = f"{number(outlook.low[place])} to {number(outlook.high[place])}"
    return [
        outlook.model,
        number(peak),
        interval,
        moment(peak_s),
        number(outlook.capacity),
        moment(outlook.exceeded_s) if outlook.exceeded_s is not None else "not in sight",
        outlook.method,
        f"{number(outlook.backtest_error)} ({number(outlook.naive_error)})",
    ]


def as_csv(findings: Findings) -> str:
    """Return the figures of the mesh and of every model and worker as CSV; what was not measured is empty."""
    text = io.StringIO()
    names = [field.name for field in fields(Figures)]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["window_start", "window_end", *names, "availability", "cost"])
    window = findings.order.window
    times = [_iso(window.begin_s), _iso(window.end_s)]
    whole = [] if findings.order.model else [findings.mesh]
    for found in (*whole, *findings.models, *findings.workers):
        values = [*asdict(found).values(), availability(found), cost(found)]
        writer.writerow([*times, *("" if _is_nothing(value) else value for value in values)])
    return text.getvalue()


def moment(moment_s: float) -> str:
    """Return a time in UTC to the minute."""
    return f"{datetime.fromtimestamp(moment_s, UTC):%Y-%m-%d %H:%M}"


def number(value: float) -> str:
    """Return a number with about three digits."""
    if math.isnan(value):
        return NOTHING
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def percent(value: float, *, digits: int = 1) -> str:
    """Return a share in per cent."""
    if math.isnan(value):
        return NOTHING
    text = f"{100 * value:.{digits}f}".rstrip("0").rstrip(".") if digits > 1 else f"{100 * value:.{digits}f}"
    return f"{text} %"


def share(value: float) -> str:
    """Return a share in per cent, no longer than it must be."""
    return f"{100 * value:.3g} %"


def span(value_s: float) -> str:
    """Return a span in the unit that fits."""
    if math.isnan(value_s):
        return NOTHING
    for size_s, unit in ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min")):
        if value_s >= 2 * size_s:
            return f"{value_s / size_s:.3g} {unit}"
    return f"{value_s:.3g} s" if value_s >= 1 else f"{1000 * value_s:.3g} ms"


def _iso(moment_s: float) -> str:
    return f"{datetime.fromtimestamp(moment_s, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _is_nothing(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def cut(rows: Sequence[list[str]], most: int) -> tuple[list[list[str]], str]:
    """Return the first rows, and words about how many more there are."""
    more = len(rows) - most
    return list(rows[:most]), f"and {more} more" if more > 0 else ""
