"""How models are measured: what a plan leaves open, when a model is warm, how many runs make a round."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from servemesh.errors import InvalidError
from servemesh.optimizer.domain import predictions, task_metrics
from servemesh.optimizer.domain.datasets import Column
from servemesh.optimizer.domain.parity import has_scores
from servemesh.optimizer.domain.specs import MeasurementPlan

Array = np.ndarray[Any, Any]

BATCH_SIZES = (1, 8)
ROUNDS = 15
PROCESSES = 5  # of each model, one after the other; the rounds are spread over them
WORKER_THREADS = 1  # of a run, as the worker has it unless it is set otherwise

WARM_RUNS = 5  # in each of two windows that must be alike
WARM_TOLERANCE = 0.05
WARM_RUNS_MAX = 200
WARM_S_MAX = 1.0
ROUND_S = 0.02  # of runs, in each round of each model
ROUND_RUNS_MIN = 3
ROUND_RUNS_MAX = 200
LONG_RUN_S = 0.25  # from which one run is a round


def plan_of(values: Mapping[str, Any]) -> MeasurementPlan:
    """Return the plan with its open values filled in; InvalidError for an unknown metric."""
    plan = MeasurementPlan(
        metric=values.get("metric") or "",
        top_k=values.get("top_k") or task_metrics.TOP_K_DEFAULT,
        output=values.get("output") or "",
        batch_sizes=tuple(dict.fromkeys(values.get("batch_sizes") or BATCH_SIZES)),
        threads=values.get("threads") or WORKER_THREADS,
        rounds=values.get("rounds") or ROUNDS,
    )
    if plan.metric:
        task_metrics.named(plan.metric)
    return plan


def batch_sizes(plan: MeasurementPlan, fixed_rows: int | None) -> tuple[int, ...]:
    """Return the rows per run that are measured: the plan's, or the one number that the model takes."""
    return plan.batch_sizes if fixed_rows is None else (fixed_rows,)


def is_warm(runs_s: Sequence[float]) -> bool:
    """Whether the last runs took as long as those before them, or warming up has lasted long enough."""
    if len(runs_s) >= WARM_RUNS_MAX or (sum(runs_s) >= WARM_S_MAX and len(runs_s) >= 2):
        return True
    if len(runs_s) < 2 * WARM_RUNS:
        return False
    before = float(np.median(runs_s[-2 * WARM_RUNS : -WARM_RUNS]))
    return abs(float(np.median(runs_s[-WARM_RUNS:])) - before) <= WARM_TOLERANCE * before


def runs_per_round(run_s: float) -> int:
    """Return how many runs one round has, of which the median counts."""
    if run_s >= LONG_RUN_S:
        return 1
    return min(max(math.ceil(ROUND_S / max(run_s, 1e-9)), ROUND_RUNS_MIN), ROUND_RUNS_MAX)


def label_for(output: str, labels: Sequence[Column]) -> Column | None:
    """Return the label column that an output is held against: the one of its name, or else the first."""
    return next((label for label in labels if label.name == output), labels[0] if labels else None)


def check_labels(metric: str, labels: Sequence[Column]) -> None:
    """InvalidError if `metric` means nothing without labels and there are none."""
    if metric in task_metrics.LABELLED and not labels:
        raise InvalidError(
            f"the metric {metric} needs labels, and there are none: name a Dataset with label columns, or the metric "
            "agreement, which compares with the original",
            reason="METRIC_NEEDS_LABELS",
            field="measurement.metric",
            expected="a Dataset with label columns",
            got="none",
        )


def default_metric(output: Array, labels: Array | None) -> str:
    """Return what some rows of output and labels call for: accuracy, mse, or agreement where there are no labels."""
    if labels is None:
        return "agreement"
    if predictions.is_text(labels) or labels.dtype.kind == "b" or output.dtype.kind in "OSUTbiu":
        return "accuracy"
    numbers = labels.astype(np.float64)
    if not (numbers == np.round(numbers)).all():
        return "mse"
    if not has_scores(output):
        return "accuracy" if np.isin(numbers, (0, 1)).all() else "mse"
    if labels.shape != output.shape:
        return "accuracy"
    one_each = np.isin(numbers, (0, 1)).all() and (numbers.sum(axis=-1) == 1).all()
    return "accuracy" if one_each else "mse"


def compares_with_original(metric: str, output: Array, labels: Array | None) -> bool:
    """Whether a metric is held against the original's output rather than against labels."""
    if metric == "agreement" or labels is None:
        return True
    if metric not in ("cosine", "mse"):
        return False
    return predictions.is_text(labels) or labels.size != output.size
