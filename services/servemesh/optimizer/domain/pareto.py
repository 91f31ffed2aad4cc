"""Which Variants are worth a look: the front over metric, size and speed, and their order from the best on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from servemesh.optimizer.domain.results import VariantReport

SMALLER = 0.99
"""A size ratio up to which a model counts as smaller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A Variant in three figures, each the smaller the better."""

    metric_loss: float
    size_bytes: int
    slowness: float
    """1 ÷ the speed-up, geometric mean over the batch sizes."""


def point(variant: VariantReport) -> Point:
    """Return where `variant` stands; what was not measured counts as the worst."""
    loss = variant.metric_loss.value if variant.metric_loss else math.inf
    return Point(
        metric_loss=math.inf if math.isnan(loss) else loss,
        size_bytes=variant.size_bytes,
        slowness=1.0 / speed if (speed := speedup(variant)) else math.inf,
    )


def speedup(variant: VariantReport) -> float:
    """Return its speed-up over all batch sizes, the geometric mean; 0 if none was measured."""
    return _mean([speed.speedup.value for speed in variant.speeds])


def speedup_low(variant: VariantReport) -> float:
    """Return the lower end of its speed-up over all batch sizes; 0 if none was measured."""
    return _mean([speed.speedup.low for speed in variant.speeds])


def speedup_high(variant: VariantReport) -> float:
    """Return the upper end of its speed-up over all batch sizes; 0 if none was measured."""
    return _mean([speed.speedup.high for speed in variant.speeds])


def dominates(one: Point, other: Point) -> bool:
    """Whether `one` is nowhere worse than `other`, and somewhere better."""
    pairs = (
        (one.metric_loss, other.metric_loss),
        (one.size_bytes, other.size_bytes),
        (one.slowness, other.slowness),
    )
    return all(left <= right for left, right in pairs) and any(left < right for left, right in pairs)


def covers(one: VariantReport, other: VariantReport) -> bool:
    """Whether `other` is not worth having beside `one`: no smaller, no nearer to the original, faster within noise."""
    left, right = point(one), point(other)
    return (
        left.size_bytes <= right.size_bytes
        and left.metric_loss <= right.metric_loss
        and speedup_high(one) >= speedup_low(other)
    )


def front(points: Sequence[Point]) -> list[bool]:
    """Return for each point whether no other dominates it."""
    return [not any(dominates(other, each) for other in points) for each in points]


def marked(variants: Sequence[VariantReport]) -> list[VariantReport]:
    """Return the variants with their Pareto marks, in the same order."""
    marks = front([point(variant) for variant in variants])
    return [replace(variant, pareto=mark) for variant, mark in zip(variants, marks, strict=True)]


def best_first(variants: Sequence[VariantReport]) -> list[VariantReport]:
    """Return the variants in order: accepted before refused, then those that are not slower than the original
    before those that are; among the first the fastest, where speeds that may be equal are told apart by size.
    """
    left = sorted(variants, key=_key)
    ordered: list[VariantReport] = []
    while left:
        chosen = _first(left)
        ordered.append(chosen)
        left.remove(chosen)
    return ordered


def is_slower(variant: VariantReport) -> bool:
    """Whether it was measured slower than the original, beyond noise."""
    return bool(variant.speeds) and speedup_high(variant) < 1.0


def _first(ordered: Sequence[VariantReport]) -> VariantReport:
    """Return the smallest of those that may be as fast as the fastest."""
    fastest = ordered[0]
    low = speedup_low(fastest)
    rivals = [
        each
        for each in ordered
        if (each.accepted, is_slower(each)) == (fastest.accepted, is_slower(fastest))
        and speedup_high(each) >= low
    ]
    return min(rivals, key=lambda each: (each.size_bytes, point(each).metric_loss, ordered.index(each)))


def _key(variant: VariantReport) -> tuple[object, ...]:
    place = point(variant)
    by_figures: tuple[object, ...] = (place.slowness, place.size_bytes, place.metric_loss)
    if is_slower(variant):
        by_figures = (place.size_bytes, place.slowness, place.metric_loss)
    return (not variant.accepted, is_slower(variant), *by_figures, repr(variant))


def _mean(figures: Sequence[float]) -> float:
    if not figures or any(not figure > 0 for figure in figures):
        return 0.0
    return math.exp(sum(math.log(figure) for figure in figures) / len(figures))
