"""How right a model is: metrics whose rows can be resampled, so that two models are compared on the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from servemesh.errors import InvalidError
from servemesh.optimizer.domain import edits, intervals, predictions
from servemesh.optimizer.domain.parity import has_scores
from servemesh.optimizer.domain.results import Interval

Array = np.ndarray[Any, Any]

NAMES = ("accuracy", "f1", "top_k", "mse", "cosine", "wer", "agreement")
LABELLED = ("accuracy", "f1", "top_k", "wer")  # have no meaning without labels
TOP_K_DEFAULT = 5


class Metric(Protocol):
    """A metric in three steps, so that batches, models and resampled rows all go through the same arithmetic."""

    higher_is_better: bool

    def seen(self, output: Array, target: Array) -> Array:
        """Return what one batch of rows says, one entry of the first axis per row."""

    def contributions(self, seen: Sequence[Array]) -> list[Array]:
        """Return for each model what its rows contribute, [rows, k], so that sums over rows give the metric."""

    def value(self, sums: Array) -> Array:
        """Return the metric of sums [..., k]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A metric on one model's rows; `loss` is how much worse it is than the first model's, on the same rows."""

    metric: Interval
    loss: Interval


def measured(metric: Metric, seen: Sequence[Array], *, seed: int) -> list[Measured]:
    """Return the metric of each model and its loss against the first, from what `metric.seen` gave for all rows."""
    contributions = metric.contributions(seen)
    first = contributions[0]
    return [
        Measured(
            metric=intervals.of_statistic(each, metric.value, seed=seed),
            loss=_loss(metric, first, each, seed),
        )
        for each in contributions
    ]


def _loss(metric: Metric, baseline: Array, variant: Array, seed: int) -> Interval:
    sign = 1 if metric.higher_is_better else -1
    width = baseline.shape[1]

    def loss(sums: Array) -> Array:
        lost: Array = sign * (metric.value(sums[..., :width]) - metric.value(sums[..., width:]))
        return lost

    return intervals.of_statistic(np.concatenate([baseline, variant], axis=1), loss, seed=seed)


def named(name: str, *, top_k: int = 0, output: str = "") -> Metric:
    """Return the metric of that name for the output of that name; InvalidError if there is no such metric."""
    made: dict[str, Metric] = {
        "accuracy": Accuracy(),
        "f1": MacroF1(),
        "top_k": TopK(top_k or TOP_K_DEFAULT),
        "mse": MeanSquaredError(),
        "cosine": Cosine(),
        "wer": WordErrorRate(),
        "agreement": Agreement(output),
    }
    if name not in made:
        raise InvalidError(
            f"there is no metric {name[:64]!r}, expected one of {', '.join(NAMES)}",
            reason="METRIC_UNKNOWN",
            field="measurement.metric",
            expected=", ".join(NAMES),
            got=name[:64],
        )
    return made[name]


class _Mean:
    """A metric that is a sum over rows by another: contributions are [rows, 2]."""

    higher_is_better = True

    def contributions(self, seen: Sequence[Array]) -> list[Array]:
        return list(seen)

    def value(self, sums: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio: Array = np.asarray(sums[..., 0] / sums[..., 1])
        return ratio


class Accuracy(_Mean):
    """Share of right choices; over all places that are labelled where a row has several (-100 is no label)."""

    def seen(self, output: Array, target: Array) -> Array:
        chosen, right = predictions.paired(output, target)
        return _counted(chosen == right, right)


class TopK(_Mean):
    """Share of rows whose right choice is among the k best scores."""

    def __init__(self, k: int) -> None:
        self._k = k

    def seen(self, output: Array, target: Array) -> Array:
        if not has_scores(output):
            raise predictions.unfit("top_k", "an output with a score for each class", output)
        right = predictions.classes(target, scores=output)
        if self._k >= output.shape[-1]:
            return _counted(np.ones(right.shape, bool), right)
        best = np.argpartition(-output.astype(np.float32), self._k - 1, axis=-1)[..., : self._k]
        return _counted((best == right[..., np.newaxis]).any(axis=-1), right)


class MacroF1:
    """F1 of each class that occurs, averaged over classes: right, wrongly chosen and missed counts of each."""

    higher_is_better = True

    def seen(self, output: Array, target: Array) -> Array:
        chosen, right = predictions.paired(output, target)
        return np.stack([_by_row(chosen), _by_row(right)], axis=-1)  # [rows, places, 2]

    def contributions(self, seen: Sequence[Array]) -> list[Array]:
        classes = np.unique(np.concatenate([np.unique(each) for each in seen]))
        classes = classes[predictions.labelled(classes)]
        return [self._counts(each, classes) for each in seen]

    def value(self, sums: Array) -> Array:
        right, chosen, missed = np.split(sums, 3, axis=-1)
        occurring = right + chosen + missed
        with np.errstate(invalid="ignore"):
            scores = np.where(occurring > 0, 2 * right / (2 * right + chosen + missed), 0.0)
            mean: Array = np.asarray(scores.sum(axis=-1) / (occurring > 0).sum(axis=-1))
        return mean

    def _counts(self, seen: Array, classes: Array) -> Array:
        chosen, right = seen[..., 0], seen[..., 1]
        labelled = np.isin(right, classes)[..., np.newaxis]
        of_chosen = (chosen[..., np.newaxis] == classes) & labelled
        of_right = right[..., np.newaxis] == classes
        counts = [of_chosen & of_right, of_chosen & ~of_right, of_right & ~of_chosen]
        return np.concatenate([each.sum(axis=1, dtype=np.float32) for each in counts], axis=-1)


class MeanSquaredError(_Mean):
    """Mean over rows of the mean squared difference."""

    higher_is_better = False

    def seen(self, output: Array, target: Array) -> Array:
        ours, theirs = predictions.numbers("mse", output, target)
        return _valued(((ours - theirs) ** 2).mean(axis=1))


class Cosine(_Mean):
    """Mean over rows of the cosine between output and target; two rows of nothing but zeros are the same."""

    def seen(self, output: Array, target: Array) -> Array:
        return _valued(predictions.cosines(*predictions.numbers("cosine", output, target)))


class WordErrorRate(_Mean):
    """Words to insert, delete or replace ÷ words that are right, over all rows."""

    higher_is_better = False

    def seen(self, output: Array, target: Array) -> Array:
        pairs = zip(predictions.word_lists(output), predictions.word_lists(target), strict=True)
        return np.array([(edits.distance(ours, right), len(right)) for ours, right in pairs], np.float64)


class Agreement(_Mean):
    """How far a model agrees with the original, 0 to 1: the same choice, the cosine, or 1 less the relative error."""

    def __init__(self, output: str) -> None:
        self._output = output
        self._kind = ""  # of the output, by the first rows that are seen

    def seen(self, output: Array, target: Array) -> Array:
        self._kind = self._kind or predictions.kind_of(target, self._output)
        if self._kind == "choices":
            chosen, right = predictions.paired(output, target)
            return _valued(_by_row(chosen == right).mean(axis=1))
        ours, theirs = predictions.numbers("agreement", output, target)
        if self._kind == "vectors":
            return _valued(predictions.cosines(ours, theirs))
        errors = np.abs(ours - theirs).mean(axis=1)
        return np.stack([errors, np.abs(theirs).max(axis=1)], axis=-1)

    def contributions(self, seen: Sequence[Array]) -> list[Array]:
        """Errors of numbers become relative to the largest number of the original over all rows."""
        return [_valued(_agreement(each)) for each in seen] if self._kind == "numbers" else list(seen)


def _agreement(seen: Array) -> Array:
    errors, scale = seen[:, 0], float(seen[:, 1].max(initial=0.0))
    relative = errors / scale if scale else (errors != 0).astype(np.float64)
    return 1.0 - np.minimum(np.nan_to_num(relative, nan=1.0), 1.0)


def _valued(values: Array) -> Array:
    return np.stack([values, np.ones_like(values)], axis=-1)


def _counted(right: Array, targets: Array) -> Array:
    labelled = _by_row(predictions.labelled(targets))
    return np.stack([(_by_row(right) & labelled).sum(axis=1), labelled.sum(axis=1)], axis=-1).astype(
        np.float64
    )


def _by_row(array: Array) -> Array:
    return array.reshape(len(array), -1)
