"""The Pareto picture: each model by size and speed, as SVG that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from servemesh.cli.reports.contents import Report, speedup
from servemesh.client import Variant

_WIDTH, _HEIGHT, _LEFT, _BELOW, _ABOVE = 720, 360, 56, 44, 16
_STEPS = tuple(digit * 10.0**power for power in range(-2, 7) for digit in (1, 2, 5))
_TICKS_MAX = 6
_NEAR = 9.0  # from which on two labels would hide each other
_NOWHERE = (-math.inf, -math.inf)


def drawn(report: Report) -> str:
    """Return the picture; smaller is further left, faster is further up. Numbers are those of the table."""
    models = [each for each in report.models if speedup(each) > 0]
    if not models:
        return ""
    right = max(1.05, *(each.size_ratio * 1.05 for each in models))
    top = max(1.2, *(speedup(each) * 1.1 for each in models))

    def place(ratio: float, speed: float) -> tuple[float, float]:
        x = _LEFT + ratio / right * (_WIDTH - _LEFT - _ABOVE)
        return x, _HEIGHT - _BELOW - speed / top * (_HEIGHT - _BELOW - _ABOVE)

    zero, corner = place(0, 0), place(right, top)
    one = place(1, 1)
    lines = [
        f'<line class="axis" x1="{zero[0]:.1f}" y1="{zero[1]:.1f}" x2="{corner[0]:.1f}" y2="{zero[1]:.1f}"/>',
        f'<line class="axis" x1="{zero[0]:.1f}" y1="{zero[1]:.1f}" x2="{zero[0]:.1f}" y2="{corner[1]:.1f}"/>',
        f'<line class="one" x1="{one[0]:.1f}" y1="{zero[1]:.1f}" x2="{one[0]:.1f}" y2="{corner[1]:.1f}"/>',
        f'<line class="one" x1="{zero[0]:.1f}" y1="{one[1]:.1f}" x2="{corner[0]:.1f}" y2="{one[1]:.1f}"/>',
        f'<text x="{corner[0]:.1f}" y="{_HEIGHT - 8}" text-anchor="end">C: size after ÷ before</text>',
        f'<text x="{zero[0] + 6:.1f}" y="{_ABOVE + 10}">O: speed after ÷ before</text>',
        *_ticks(right, top, place),
    ]
    # What was not measured has no place: far outside, and not drawn.
    places = [
        place(each.size_ratio, speedup(each)) if speedup(each) > 0 else _NOWHERE for each in report.models
    ]
    points = [
        _point(report, number, each, places[number], name)
        for number, (each, name) in enumerate(zip(report.models, _names(places), strict=True))
        if places[number] != _NOWHERE
    ]
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="Size and speed of each model">'
        + "".join((*lines, *points))
        + "</svg>"
    )


def _ticks(right: float, top: float, place: Callable[[float, float], tuple[float, float]]) -> list[str]:
    found = []
    for value in _round_values(right):
        x, y = place(value, 0)
        found.append(f'<text class="tick" x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{value:g}</text>')
    for value in _round_values(top):
        x, y = place(0, value)
        found.append(f'<text class="tick" x="{x - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    return found


def _round_values(end: float) -> list[float]:
    """Return three to six values from 0 on that are easy to read."""
    step = next(each for each in _STEPS if end / each < _TICKS_MAX)
    return [round(number * step, 6) for number in range(1 + int(end / step))]


def _names(points: Sequence[tuple[float, float]]) -> list[str]:
    """Return the number of each point; those that lie on one another share the label of the first."""
    names = [[str(number)] for number in range(len(points))]
    for number, (x, y) in enumerate(points):
        for first in range(number):
            if names[first] and abs(points[first][0] - x) < _NEAR and abs(points[first][1] - y) < _NEAR:
                names[first] += names[number]
                names[number] = []
                break
    return [", ".join(each) for each in names]


def _point(report: Report, number: int, variant: Variant, place: tuple[float, float], label: str) -> str:
    x, y = place
    kind = "accepted" if variant.accepted else "original" if not variant.steps else "refused"
    kind += " front" if variant.pareto else ""
    name = escape(f"{number}: {report.name(variant)}, C {variant.size_ratio:.2f}, O {speedup(variant):.2f}")
    return (
        f'<g><title>{name}</title><circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="6"/>'
        f'<text x="{x + 9:.1f}" y="{y - 6:.1f}">{label}</text></g>'
    )
