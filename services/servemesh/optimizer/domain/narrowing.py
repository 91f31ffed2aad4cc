"""How many units each layer of a network keeps, and which, when it is made narrower."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Interchangeable units of a layer: what each matters, and how many channels wide each is."""

    scores: Array
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowing:
    """How much goes: a share of each layer, or of all layers together; what stays is rounded to a multiple."""

    ratio: float
    everywhere: bool
    multiple: int
    keep_least: float


def dropped_units(layers: Sequence[Layer], narrowing: Narrowing) -> list[Array]:
    """Return for each layer the units that go, by number. Every layer keeps at least one."""
    if narrowing.everywhere:
        wanted = _kept_everywhere(layers, narrowing)
    else:
        wanted = [len(layer.scores) * (1 - narrowing.ratio) for layer in layers]
    return [
        _least(layer, _rounded(layer, count, narrowing)) for layer, count in zip(layers, wanted, strict=True)
    ]


def _kept_everywhere(layers: Sequence[Layer], narrowing: Narrowing) -> list[float]:
    """Return how many units of each layer are above the score that leaves the wanted share of all."""
    relative = [layer.scores / (layer.scores.mean() or 1.0) for layer in layers]
    everything = np.concatenate(relative) if relative else np.zeros(0)
    if not everything.size:
        return []
    limit = np.quantile(everything, narrowing.ratio)
    return [float((scores > limit).sum()) for scores in relative]


def _rounded(layer: Layer, wanted: float, narrowing: Narrowing) -> int:
    """Return how many units to keep: near `wanted`, a whole number of vectors wide, never none."""
    count = len(layer.scores)
    step = max(1, narrowing.multiple // layer.width)
    wanted = max(wanted, count * narrowing.keep_least, 1)
    if step >= count:
        step = 1
    return int(min(count, max(step, int(wanted / step + 0.5) * step)))


def _least(layer: Layer, kept: int) -> Array:
    """Return the units that matter least; of equals, the later ones go."""
    order = np.argsort(-layer.scores, kind="stable")
    dropped: Array = np.sort(order[kept:])
    return dropped
