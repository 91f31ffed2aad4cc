"""The Pareto picture: each model by size and speed, as SVG that needs nothing else."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from servemesh.cli.reports.contents import Report, speedup
from servemesh.client import Variant

_WIDTH, _HEIGHT, _LEFT, _BELOW, _ABOVE = 720, 360, 56, 44, 16


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
    points = [
        _point(report, number, each, *place(each.size_ratio, speedup(each)))
        for number, each in enumerate(report.models)
        if speedup(each) > 0
    ]
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="Size and speed of each model">'
        + "".join((*lines, *points))
        + "</svg>"
    )


def _ticks(right: float, top: float, place: Callable[[float, float], tuple[float, float]]) -> list[str]:
    found = []
    for part in (0.25, 0.5, 0.75, 1.0):
        x, y = place(right * part, 0)
        found.append(
            f'<text class="tick" x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{right * part:.2g}</text>'
        )
        x, y = place(0, top * part)
        found.append(
            f'<text class="tick" x="{x - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{top * part:.2g}</text>'
        )
    return found


def _point(report: Report, number: int, variant: Variant, x: float, y: float) -> str:
    kind = "accepted" if variant.accepted else "original" if not variant.steps else "refused"
    kind += " front" if variant.pareto else ""
    name = escape(f"{number}: {report.name(variant)}, C {variant.size_ratio:.2f}, O {speedup(variant):.2f}")
    return (
        f'<g><title>{name}</title><circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="6"/>'
        f'<text x="{x + 9:.1f}" y="{y - 6:.1f}">{number}</text></g>'
    )
