"""The frame of a picture: where values lie, and ticks at numbers and times that people like."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

_TIME_STEPS_S = (
    *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200),
    *(86_400 * days for days in (1, 2, 7, 14, 28, 56, 112)),
)
_DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A place on an axis, and what stands there."""

    value: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A picture of `width` x `height` with room for labels, in which x and y lie between low and high."""

    width: float = 720.0
    height: float = 240.0
    left: float = 56.0
    right: float = 16.0
    above: float = 16.0
    below: float = 28.0
    x_low: float = 0.0
    x_high: float = 1.0
    y_low: float = 0.0
    y_high: float = 1.0

    def x(self, value: float) -> float:
        """Where a value lies from the left."""
        inside = self.width - self.left - self.right
        return self.left + (value - self.x_low) / (self.x_high - self.x_low) * inside

    def y(self, value: float) -> float:
        """Where a value lies from the top."""
        inside = self.height - self.above - self.below
        return self.height - self.below - (value - self.y_low) / (self.y_high - self.y_low) * inside

    def axes(self, x_ticks: Sequence[Tick], y_ticks: Sequence[Tick], *, has_grid: bool = True) -> str:
        """Return both axes with their ticks, and lines across at those of y."""
        left, right = self.left, self.width - self.right
        bottom, top = self.height - self.below, self.above
        parts = []
        for tick in y_ticks:
            y = self.y(tick.value)
            if has_grid:
                parts.append(_line("grid", left, y, right, y))
            parts.append(_text("tick", left - 6, y + 4, tick.label, "end"))
        for tick in x_ticks:
            x = self.x(tick.value)
            parts.append(_line("axis", x, bottom, x, bottom + 4))
            parts.append(_text("tick", x, bottom + 18, tick.label, "middle"))
        parts += [_line("axis", left, bottom, right, bottom), _line("axis", left, bottom, left, top)]
        return "".join(parts)

    def svg(self, label: str, body: str) -> str:
        """Return the whole picture; `label` is what it shows, for those who do not see it."""
        return f'<svg viewBox="0 0 {self.width:g} {self.height:g}" role="img" aria-label="{escape(label)}">{body}</svg>'


def number_ticks(low: float, high: float, *, most: int = 5) -> list[float]:
    """Return round numbers from `low` to `high`, at most so many and one more."""
    if not math.isfinite(high - low) or high <= low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1.0, 2.0, 2.5, 5.0, 10.0) if size * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(place * step, 12) for place in range(first, last + 1)]


def time_ticks(begin_s: float, end_s: float, *, most: int = 8) -> list[Tick]:
    """Return full minutes, hours or days in UTC; a day's first tick is its date."""
    span_s = max(end_s - begin_s, 1.0)
    step_s = next((step for step in _TIME_STEPS_S if span_s / step <= most), _TIME_STEPS_S[-1])
    first = math.ceil(begin_s / step_s)
    last = math.floor(end_s / step_s)
    return [
        Tick(value=place * step_s, label=_moment(place * step_s, step_s)) for place in range(first, last + 1)
    ]


def _moment(moment_s: float, step_s: float) -> str:
    moment = datetime.fromtimestamp(moment_s, UTC)
    if step_s >= _DAY_S or moment_s % _DAY_S == 0:
        return f"{moment:%d} {moment:%b}"
    return f"{moment:%H:%M:%S}" if step_s < 60 else f"{moment:%H:%M}"


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(kind: str, x: float, y: float, text: str, anchor: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
