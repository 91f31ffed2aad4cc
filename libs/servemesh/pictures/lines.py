"""Charts of values over time: lines with gaps where nothing was measured, intervals, and marks at what happened."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from servemesh.pictures.axes import Frame, Tick, number_ticks, time_ticks

COLOURS = 8
"""Lines that have a colour of their own; the style of the page names them l0, l1 …"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Values, one for each step; NaN where there is none. `low` and `high` are an interval around them."""

    name: str
    values: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    is_dashed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Something that happened, drawn as an upright line with a short label."""

    time_s: float
    label: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Lines over the same steps. `written` turns a value into words; `top` is the least that the axis shows."""

    title: str
    begin_s: float
    step_s: float
    lines: Sequence[Line]
    written: Callable[[float], str]
    marks: Sequence[Mark] = ()
    top: float = 0.0

    @property
    def is_empty(self) -> bool:
        """Whether nothing was measured."""
        return not any(math.isfinite(value) for line in self.lines for value in line.values)


def drawn(chart: Chart) -> str:
    """Return the chart as SVG."""
    steps = max((len(line.values) for line in chart.lines), default=1)
    end_s = chart.begin_s + steps * chart.step_s
    shown = [value for line in chart.lines for value in (*line.values, *line.high) if math.isfinite(value)]
    high = max([chart.top, *shown]) or 1.0
    ticks = number_ticks(0.0, high * 1.05)
    frame = Frame(
        x_low=chart.begin_s, x_high=end_s, y_high=max(high * 1.05, ticks[-1]), left=64.0, right=24.0
    )
    y_ticks = [Tick(value=value, label=chart.written(value)) for value in ticks]
    parts = [frame.axes(time_ticks(chart.begin_s, end_s), y_ticks)]
    parts += [_mark(frame, mark) for mark in chart.marks if chart.begin_s <= mark.time_s < end_s]
    for place, line in enumerate(chart.lines):
        kind = f"l{place % COLOURS}"
        if line.low and line.high:
            parts.append(_band(frame, chart, line, kind))
        parts.append(_course(frame, chart, line, kind))
    return frame.svg(chart.title, "".join(parts))


def legend(chart: Chart) -> str:
    """Return the names of the lines with their colours, as HTML."""
    named = [(place, line) for place, line in enumerate(chart.lines) if line.name]
    items = [
        f'<span class="key"><svg viewBox="0 0 20 8" aria-hidden="true"><path class="l{place % COLOURS}'
        f'{" dashed" if line.is_dashed else ""}" d="M1,4H19"/></svg>{escape(line.name)}</span>'
        for place, line in named
    ]
    return f'<p class="legend">{"".join(items)}</p>' if items else ""


def _course(frame: Frame, chart: Chart, line: Line, kind: str) -> str:
    """A path that leaves out what was not measured; a value alone is a dot."""
    parts, pen_is_down = [], False
    for place, value in enumerate(line.values):
        if not math.isfinite(value):
            pen_is_down = False
            continue
        x, y = _place(frame, chart, place, value)
        is_alone = not pen_is_down and not (
            place + 1 < len(line.values) and math.isfinite(line.values[place + 1])
        )
        parts.append(f"{'L' if pen_is_down else 'M'}{x:.1f},{y:.1f}{'h.1' if is_alone else ''}")
        pen_is_down = True
    dashed = " dashed" if line.is_dashed else ""
    return (
        f'<path class="{kind}{dashed}" d="{"".join(parts)}"><title>{escape(line.name)}</title></path>'
        if parts
        else ""
    )


def _band(frame: Frame, chart: Chart, line: Line, kind: str) -> str:
    above = [
        _place(frame, chart, place, value) for place, value in enumerate(line.high) if math.isfinite(value)
    ]
    below = [
        _place(frame, chart, place, value) for place, value in enumerate(line.low) if math.isfinite(value)
    ]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*above, *reversed(below)])
    return f'<polygon class="{kind} band" points="{points}"/>' if points else ""


def _place(frame: Frame, chart: Chart, place: int, value: float) -> tuple[float, float]:
    return frame.x(chart.begin_s + (place + 0.5) * chart.step_s), frame.y(value)


def _mark(frame: Frame, mark: Mark) -> str:
    x = frame.x(mark.time_s)
    return (
        f'<g class="mark"><title>{escape(mark.title)}</title>'
        f'<line x1="{x:.1f}" y1="{frame.above:.1f}" x2="{x:.1f}" y2="{frame.height - frame.below:.1f}"/>'
        f'<text x="{x:.1f}" y="{frame.above - 4:.1f}" text-anchor="middle">{escape(mark.label)}</text></g>'
    )
