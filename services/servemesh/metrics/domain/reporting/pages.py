"""A report as one page of HTML that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from servemesh.metrics.domain.reporting import tables
from servemesh.metrics.domain.reporting.charts import charts, forecast_charts
from servemesh.metrics.domain.reporting.contents import Findings, availability, cost
from servemesh.metrics.domain.reporting.reports import ReportKind
from servemesh.metrics.domain.reporting.tables import moment, number, percent, span
from servemesh.pictures.lines import Chart, drawn, legend
from servemesh.pictures.pages import page, section, table

ROWS_MAX = 100
"""Rows of one table."""
_OUTLOOK = (
    *("Model", "Peak, rows/s", "90 % interval", "When", "Capacity, rows/s", "Exceeded", "Method"),
    "Backtest error (seasonal naive)",
)
_TITLES = {
    ReportKind.DAILY: "Day report",
    ReportKind.WEEKLY: "Week report",
    ReportKind.DEMANDED: "Report",
}


def html(findings: Findings) -> str:
    """Return the page."""
    window = findings.order.window
    title = f"{_TITLES[findings.order.kind]} on {findings.subject}"
    about = (
        f"{moment(window.begin_s)} to {moment(window.end_s)} UTC · written {moment(findings.create_s)} UTC"
    )
    body = [
        f'<h1>{escape(title)}</h1><p class="dim">{escape(about)}</p>',
        _tiles(findings),
        section("What happened", _charts(charts(findings))),
        section("Top errors", _troubles(findings)),
        section("Alerts", _alerts(findings)),
        section("Models", _figures([(tables.short_name(each.subject), each) for each in findings.models])),
        section("Workers", _figures([(tables.short_name(each.subject), each) for each in findings.workers])),
        section("Forecast", _forecast(findings)),
        section("Changes", _changes(findings)),
        _foot(),
    ]
    return page(title, body)


def _tiles(findings: Findings) -> str:
    mesh = findings.models[0] if findings.order.model and findings.models else findings.mesh
    peak = findings.courses["rate"].peak if "rate" in findings.courses else float("nan")
    shown = [
        (percent(availability(mesh), digits=3), "of the calls were not failed by the mesh"),
        (f"{mesh.call_count:,}", f"calls, {number(mesh.call_rate)}/s on average"),
        (f"{number(peak)}/s", "calls at the peak"),
        (span(mesh.p50_s), "half of the calls took at most"),
        (span(mesh.p99_s), "99 of 100 calls took at most"),
        (percent(mesh.fault_tolerance), "of the faults were hidden from callers"),
        (number(mesh.cpu_s_per_1000), "processor seconds for 1,000 calls"),
        (number(cost(mesh)), "cost of all calls, at the prices that are set"),
        (str(sum(alert.fire_s is not None for alert in findings.alerts)), "alerts fired"),
    ]
    tiles = "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(text)}</span></div>' for value, text in shown
    )
    return f'<div class="tiles">{tiles}</div>'


def _charts(found: Sequence[Chart]) -> str:
    figures = [
        f"<figure><figcaption>{escape(chart.title)}</figcaption>{drawn(chart)}{legend(chart)}</figure>"
        for chart in found
        if not chart.is_empty
    ]
    return (
        f'<div class="charts">{"".join(figures)}</div>'
        if figures
        else '<p class="dim">Nothing was measured.</p>'
    )


def _figures(rows: Sequence[tuple[str, object]]) -> str:
    found = [tables.figures_row(name, each) for name, each in rows]  # type: ignore[arg-type]
    kept, more = tables.cut(found, ROWS_MAX)
    return table(tables.HEADINGS, kept) + _dim(more)


def _troubles(findings: Findings) -> str:
    if not findings.troubles:
        return _dim("No call failed.")
    rows = [
        [
            each.model or tables.NOTHING,
            each.where,
            each.what,
            f"{each.count:,.0f}",
            moment(each.began_s) if each.began_s is not None else tables.NOTHING,
            each.cause,
        ]
        for each in findings.troubles
    ]
    kept, more = tables.cut(rows, ROWS_MAX)
    headings = ("Model", "Where", "Error", "Calls", "Began", "Most likely cause")
    return table(headings, kept, texts=(5,)) + _dim(more)


def _alerts(findings: Findings) -> str:
    fired = [alert for alert in findings.alerts if alert.fire_s is not None]
    if not fired:
        return _dim("No alert fired.")
    until_s = min(findings.order.window.end_s, findings.create_s)
    kept, more = tables.cut([tables.alert_row(alert, until_s) for alert in fired], ROWS_MAX)
    return table(("Fired", "For", "Severity", "Rule", "What it said"), kept, texts=(4,)) + _dim(more)


def _forecast(findings: Findings) -> str:
    rows = [tables.outlook_row(each) for each in findings.outlooks]
    missing = [f"{model}: {why}" for model, why in sorted(findings.without_outlook.items())]
    return (
        (_charts(forecast_charts(findings)) if rows else "")
        + table(_OUTLOOK, rows)
        + _dim(f"No forecast of {'; '.join(missing[:20])}." if missing else "")
    )


def _changes(findings: Findings) -> str:
    rows = [[moment(each.time_s), each.kind, each.resource, each.text] for each in findings.changes]
    kept, more = tables.cut(rows, ROWS_MAX)
    return (
        (table(("When", "What", "Of", ""), kept, texts=(3,)) + _dim(more))
        if rows
        else _dim("Nothing changed.")
    )


def _foot() -> str:
    return _dim(
        "Times are UTC. Availability: calls that the mesh did not fail ÷ calls that ended; refusals of callers' "
        "mistakes do not count against it. Quantiles are of the time from a call's arrival to its answer, over all "
        "workers together. Upright lines: alerts that fired (!) and changes (Δ). docs/metrics.md defines every figure."
    )


def _dim(text: str) -> str:
    return f'<p class="dim">{escape(text)}</p>' if text else ""
