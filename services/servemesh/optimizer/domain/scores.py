"""The metric of several models on the same rows, and how much worse each is than the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from servemesh.optimizer.domain import intervals
from servemesh.optimizer.domain.results import Interval
from servemesh.optimizer.domain.task_metrics import Metric

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A metric on one model's rows; `loss` is how much worse it is than the first model's, on the same rows."""

    metric: Interval
    loss: Interval
    chance: float | None
    """Of a loss or gain at least as large, if both answered equally well; None for the first."""


def measured(metric: Metric, seen: Sequence[Array], *, seed: int) -> list[Measured]:
    """Return the metric of each model and its loss against the first, from what `metric.seen` gave for all rows."""
    rows = metric.rows(seen)
    first, *others = (_measured(metric, rows[0], each, seed) for each in rows)
    return [replace(first, chance=None), *others]


def _measured(metric: Metric, baseline: Array, variant: Array, seed: int) -> Measured:
    sign = 1 if metric.higher_is_better else -1
    width = baseline.shape[1]

    def contributions(rows: Array) -> Array:
        ours, theirs = metric.contributions(rows[:, :width]), metric.contributions(rows[:, width:])
        return np.concatenate([ours, theirs], axis=1)

    def loss(sums: Array) -> Array:
        ours, theirs = np.split(sums, 2, axis=-1)
        lost: Array = sign * (metric.value(ours) - metric.value(theirs))
        return lost

    pairs = np.concatenate([baseline, variant], axis=1)
    return Measured(
        metric=intervals.of_statistic(variant, metric.contributions, metric.value, seed=seed),
        loss=intervals.of_statistic(pairs, contributions, loss, seed=seed),
        chance=intervals.chance_of(pairs, contributions, loss, seed=seed),
    )
