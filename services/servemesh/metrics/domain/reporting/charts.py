"""The pictures of a report."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from servemesh.metrics.domain.reporting import tables
from servemesh.metrics.domain.reporting.contents import Course, Findings, Outlook
from servemesh.pictures.lines import Chart, Line, Mark

MARKS_MAX = 12
OUTLOOKS_MAX = 8
_SHOWN = (
    ("rate", "Calls per second, by model", tables.number, 0.0),
    ("errors", "Share of calls that failed, by model", tables.share, 0.01),
    ("p99", "p99 of the time to answer, by model", tables.span, 0.0),
    ("p50", "Median of the time to answer, by model", tables.span, 0.0),
    ("busy", "Share of the time in which models ran, by worker", tables.share, 1.0),
    ("cpu", "Processors busy, by machine", tables.share, 1.0),
    ("memory", "Memory used, by machine", tables.share, 1.0),
    ("disk", "Disk used, by machine", tables.share, 1.0),
    ("gpu", "GPU busy, by machine", tables.share, 1.0),
)
_MARKED = ("deployment.", "alias.", "worker.left", "worker.lost", "model.quarantined")


def charts(findings: Findings) -> list[Chart]:
    """Return what is drawn of the window, in order; what nothing was measured of is empty."""
    marks = _marks(findings)
    return [
        _chart(title, findings.courses[name], written, top, marks)
        for name, title, written, top in _SHOWN
        if name in findings.courses
    ]


def forecast_charts(findings: Findings) -> list[Chart]:
    """Return a picture of what is expected of each model, with what was."""
    rows = findings.courses.get("rows")
    return [_outlook(each, rows) for each in findings.outlooks[:OUTLOOKS_MAX]]


def _chart(
    title: str, course: Course, written: Callable[[float], str], top: float, marks: Sequence[Mark]
) -> Chart:
    kept = course.largest()
    return Chart(
        title=title,
        begin_s=course.begin_s,
        step_s=course.step_s,
        lines=[Line(name=name, values=values.tolist()) for name, values in kept.lines.items()],
        written=written,
        marks=marks,
        top=top,
    )


def _outlook(outlook: Outlook, rows: Course | None) -> Chart:
    """What was, as far back as is looked ahead, and what is expected after it."""
    step_s, ahead = outlook.step_s, len(outlook.expected)
    past = np.full(ahead, math.nan)
    if rows is not None and outlook.model in rows.lines:
        times = outlook.begin_s - ahead * step_s + (np.arange(ahead) + 0.5) * step_s
        places = np.floor((times - rows.begin_s) / rows.step_s).astype(int)
        values = rows.lines[outlook.model]
        known = (places >= 0) & (places < len(values))
        past[known] = values[places[known]]
    nothing = [math.nan] * ahead
    lines = [
        Line(name="was", values=[*past.tolist(), *nothing]),
        Line(
            name=f"expected ({outlook.method}), with its 90 % interval",
            values=[*nothing, *outlook.expected],
            low=[*nothing, *outlook.low],
            high=[*nothing, *outlook.high],
            is_dashed=True,
        ),
    ]
    if math.isfinite(outlook.capacity):
        lines.append(Line(name="capacity", values=[outlook.capacity] * (2 * ahead)))
    return Chart(
        title=f"{outlook.model}: rows per second",
        begin_s=outlook.begin_s - ahead * step_s,
        step_s=step_s,
        lines=lines,
        written=tables.number,
    )


def _marks(findings: Findings) -> list[Mark]:
    """Alerts that fired and the changes that matter most; those further back than there is room for are left out."""
    fired = [
        Mark(
            time_s=alert.fire_s,
            label="!",
            title=f"{tables.moment(alert.fire_s)} {alert.rule_id}: {alert.text}",
        )
        for alert in findings.alerts
        if alert.fire_s is not None
    ]
    changed = [
        Mark(
            time_s=change.time_s,
            label="Δ",
            title=f"{tables.moment(change.time_s)} {change.kind}: {change.text}",
        )
        for change in findings.changes
        if change.kind.startswith(_MARKED)
    ]
    return [*fired[:MARKS_MAX], *changed[:MARKS_MAX]]
