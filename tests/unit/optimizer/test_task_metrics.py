"""Metrics agree with those of scikit-learn, and differences are taken on the same rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from servemesh.errors import InvalidError
from servemesh.optimizer.domain import edits, scores, task_metrics

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 5, 200)
SCORES = RANDOM.normal(size=(200, 5)).astype(np.float32) + 1.5 * np.eye(5, dtype=np.float32)[LABELS]


def value(name: str, output: np.ndarray, target: np.ndarray, **details: int) -> float:
    metric = task_metrics.named(name, **details)
    halves = [metric.seen(output[part], target[part]) for part in (slice(0, 1), slice(1, None))]
    return scores.measured(metric, [np.concatenate(halves)], seed=0)[0].metric.value


def test_accuracy_and_f1_are_those_of_scikit_learn():
    chosen = SCORES.argmax(axis=1)
    assert value("accuracy", SCORES, LABELS) == metrics.accuracy_score(LABELS, chosen)
    assert value("f1", SCORES, LABELS) == pytest.approx(metrics.f1_score(LABELS, chosen, average="macro"))


def test_f1_leaves_out_places_without_a_label_and_counts_classes_that_are_never_right():
    chosen = np.array([[0, 1, 7], [2, 2, 0]])
    right = np.array([[0, 1, -100], [1, 2, 1]])
    assert value("f1", chosen, right) == pytest.approx(
        metrics.f1_score([0, 1, 1, 2, 1], [0, 1, 2, 2, 0], average="macro")
    )


def test_f1_of_many_classes_is_that_of_scikit_learn():
    right = RANDOM.integers(0, 300, 2_000)
    chosen = np.where(RANDOM.random(2_000) < 0.9, right, RANDOM.integers(0, 300, 2_000))
    assert value("f1", chosen, right) == pytest.approx(
        metrics.f1_score(right, chosen, average="macro"), abs=1e-5
    )


def test_top_k_is_that_of_scikit_learn():
    expected = metrics.top_k_accuracy_score(LABELS, SCORES, k=2)
    assert value("top_k", SCORES, LABELS, top_k=2) == pytest.approx(expected)
    assert value("top_k", SCORES, LABELS, top_k=9) == 1


def test_labels_as_text_floats_and_scores_mean_the_same():
    chosen = SCORES.argmax(axis=1)
    expected = metrics.accuracy_score(LABELS, chosen)
    assert value("accuracy", SCORES, LABELS.astype(np.float64)) == expected
    assert value("accuracy", SCORES, np.eye(5)[LABELS]) == expected
    assert value("accuracy", chosen, LABELS[:, np.newaxis]) == expected
    words = np.array([str(label).encode() for label in LABELS], dtype=object)
    assert value("accuracy", chosen.astype("U"), words) == expected
    assert value("f1", chosen.astype("U"), words) == pytest.approx(
        metrics.f1_score(LABELS, chosen, average="macro")
    )


def test_a_single_score_says_yes_from_one_half_on():
    scores = np.array([[0.2], [0.9], [0.6], [0.4]], np.float32)
    assert value("accuracy", scores, np.array([0, 1, 0, 0])) == 0.75


def test_places_without_a_label_do_not_count():
    scores = np.zeros((2, 3, 2), np.float32)
    scores[..., 1] = 1
    assert value("accuracy", scores, np.array([[1, 0, -100], [1, -100, -100]])) == pytest.approx(2 / 3)


def test_mse_is_that_of_scikit_learn():
    output = RANDOM.normal(size=(200, 3))
    target = RANDOM.normal(size=(200, 3))
    assert value("mse", output, target) == pytest.approx(metrics.mean_squared_error(target, output))


def test_cosine_is_one_for_the_same_direction():
    vectors = RANDOM.normal(size=(200, 8))
    vectors[0] = 0
    assert value("cosine", 3 * vectors, vectors) == pytest.approx(1)
    assert value("cosine", -vectors[1:], vectors[1:]) == pytest.approx(-1)


def test_word_errors_are_counted_over_all_rows():
    ours = np.array([b"the cat sat", b"a b c d"], dtype=object)
    right = np.array([b"the cat sat down", b"a x c d"], dtype=object)
    assert value("wer", ours, right) == pytest.approx(2 / 8)
    assert value("wer", np.array([[1, 2, 3]] * 2), np.array([[1, 3, -100]] * 2)) == 0.5


@settings(max_examples=60, deadline=None)
@given(st.text("abc", max_size=8), st.text("abc", max_size=8), st.text("abc", max_size=8))
def test_edits_are_a_distance(one: str, other: str, third: str):
    assert (edits.distance(one, other) == 0) == (one == other)
    assert edits.distance(one, other) == edits.distance(other, one)
    assert edits.distance(one, third) <= edits.distance(one, other) + edits.distance(other, third)
    assert abs(len(one) - len(other)) <= edits.distance(one, other) <= max(len(one), len(other))


def test_agreement_is_the_same_choice_the_cosine_or_how_small_the_error_is():
    other = SCORES.copy()
    other[:20] = -other[:20]
    assert value("agreement", other, SCORES) == pytest.approx(0.9)
    vectors = SCORES / np.linalg.norm(SCORES, axis=1, keepdims=True)
    assert value("agreement", 2 * vectors, vectors) == pytest.approx(1)
    numbers = np.linspace(-1, 1, 200)
    assert value("agreement", numbers + 0.1, numbers) == pytest.approx(0.9)
    assert value("agreement", np.full(200, np.nan), numbers) == 0


def test_the_loss_is_paired_and_counts_up_where_a_model_is_worse():
    metric = task_metrics.named("accuracy")
    worse = SCORES.copy()
    worse[:4] = -worse[:4]
    seen = [metric.seen(scores, LABELS) for scores in (SCORES, SCORES, worse)]
    same, again, lost = scores.measured(metric, seen, seed=0)
    assert same.loss == again.loss
    assert (again.loss.low, again.loss.value, again.loss.high) == (0, 0, 0)
    assert lost.loss.value == pytest.approx(same.metric.value - lost.metric.value)
    assert lost.loss.high - lost.loss.low < (same.metric.high - same.metric.low) / 2
    squared = task_metrics.named("mse")
    target = np.zeros((50, 1))
    found = scores.measured(squared, [squared.seen(target + error, target) for error in (1, 2)], seed=0)
    assert found[1].loss.value == 3


@pytest.mark.parametrize(
    ("metric", "output", "target"),
    [
        ("accuracy", SCORES, LABELS + 1),
        ("accuracy", SCORES, LABELS + 0.5),
        ("accuracy", SCORES, LABELS.astype("U")),
        ("accuracy", SCORES[:, 0], LABELS),
        ("top_k", LABELS, LABELS),
        ("mse", SCORES, LABELS),
        ("wer", SCORES, SCORES),
    ],
)
def test_labels_that_a_metric_cannot_read_are_refused(metric: str, output: np.ndarray, target: np.ndarray):
    with pytest.raises(InvalidError) as refusal:
        task_metrics.named(metric).seen(output, target)
    assert refusal.value.reason == "LABELS_UNFIT"


def test_an_unknown_metric_is_refused_with_those_there_are():
    with pytest.raises(InvalidError, match="accuracy, f1, top_k"):
        task_metrics.named("bleu")
