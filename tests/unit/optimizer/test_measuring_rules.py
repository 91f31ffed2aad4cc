"""What a plan leaves open is chosen by what the model says and what the labels are."""

from __future__ import annotations

import numpy as np
import pytest

from servemesh.optimizer.domain import measuring
from servemesh.optimizer.domain.datasets import Column

SCORES = np.array([[0.2, 0.8], [0.7, 0.3], [0.6, 0.4]], np.float32)
CLASSES = np.array([1, 0, 1])
TEXTS = np.array([b"a", b"b", b"a"], dtype=object)


@pytest.mark.parametrize(
    ("output", "labels", "metric"),
    [
        (SCORES, None, "agreement"),
        (SCORES, CLASSES, "accuracy"),
        (SCORES, CLASSES.astype(np.float64), "accuracy"),
        (SCORES, CLASSES[:, np.newaxis], "accuracy"),
        (SCORES, np.eye(2)[CLASSES], "accuracy"),
        (SCORES, np.array([[3, 4], [5, 6], [7, 8]]), "mse"),
        (SCORES, SCORES, "mse"),
        (CLASSES, CLASSES, "accuracy"),
        (TEXTS, TEXTS, "accuracy"),
        (SCORES[:, 0], CLASSES, "accuracy"),
        (SCORES[:, :1], CLASSES > 0, "accuracy"),
        (SCORES[:, 0], CLASSES * 150, "mse"),
        (SCORES[:, 0], CLASSES + 0.5, "mse"),
    ],
)
def test_the_metric_follows_from_outputs_and_labels(
    output: np.ndarray, labels: np.ndarray | None, metric: str
):
    assert measuring.default_metric(output, labels) == metric


@pytest.mark.parametrize(
    ("metric", "labels", "with_original"),
    [
        ("agreement", CLASSES, True),
        ("accuracy", CLASSES, False),
        ("cosine", CLASSES, True),
        ("cosine", SCORES, False),
        ("mse", None, True),
        ("mse", TEXTS, True),
    ],
)
def test_vectors_are_held_against_the_original_where_labels_are_none(
    metric: str, labels: np.ndarray | None, with_original: bool
):
    assert measuring.compares_with_original(metric, SCORES, labels) == with_original


def test_the_label_of_an_outputs_name_is_its_label():
    first, second = (Column(name=name, datatype="INT64", row_shape=(), label=True) for name in "ab")
    assert measuring.label_for("b", (first, second)) is second
    assert measuring.label_for("y", (first, second)) is first
    assert measuring.label_for("y", ()) is None


def test_a_plan_has_defaults_and_a_fixed_batch_goes_before_it():
    plan = measuring.plan_of({"metric": "", "batch_sizes": [], "rounds": 0, "threads": 0, "top_k": 0})
    assert (plan.batch_sizes, plan.rounds, plan.threads, plan.top_k) == ((1, 8), 15, 1, 5)
    assert measuring.batch_sizes(plan, None) == (1, 8)
    assert measuring.batch_sizes(plan, 4) == (4,)


def test_a_model_is_warm_when_runs_take_as_long_as_before_or_after_a_while():
    assert not measuring.is_warm([0.001] * 9)
    assert measuring.is_warm([0.001] * 10)
    assert not measuring.is_warm([0.002] * 5 + [0.001] * 5)
    assert measuring.is_warm([2.0, 1.0])
    assert not measuring.is_warm([2.0])


def test_short_runs_are_many_to_a_round_and_long_ones_are_alone():
    assert [measuring.runs_per_round(run_s) for run_s in (1e-6, 0.001, 0.1, 1.0)] == [200, 20, 3, 1]
