"""How right a model is: metrics whose rows can be resampled, so that two models are compared on the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from servemesh.errors import InvalidError
from servemesh.optimizer.domain import edits, predictions
from servemesh.optimizer.domain.parity import has_scores

Array = np.ndarray[Any, Any]

NAMES = ("accuracy", "f1", "top_k", "mse", "cosine", "wer", "agreement")
LABELLED = ("accuracy", "f1", "top_k", "wer")  # have no meaning without labels
TOP_K_DEFAULT = 5


class Metric(Protocol):
    """A metric in four steps, so that batches, models and resampled rows all go through the same arithmetic."""

    higher_is_better: bool

    def seen(self, output: Array, target: Array) -> Array:
        """Return what one batch of rows says, one entry of the first axis per row."""

    def rows(self, seen: Sequence[Array]) -> list[Array]:
        """Return for each model what is to be resampled, [rows, m], once everything of all models has been seen."""

    def contributions(self, rows: Array) -> Array:
        """Return what rows contribute, [rows, k]: the metric is a function of the sums."""

    def value(self, sums: Array) -> Array:
        """Return the metric of sums [..., k]."""


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
    """A metric that is one sum over rows by another: rows are [rows, 2]."""

    higher_is_better = True

    def rows(self, seen: Sequence[Array]) -> list[Array]:
        return list(seen)

    def contributions(self, rows: Array) -> Array:
        return rows

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

    def __init__(self) -> None:
        self._class_count = 0

    def seen(self, output: Array, target: Array) -> Array:
        chosen, right = predictions.paired(output, target)
        return np.stack([_by_row(chosen), _by_row(right)], axis=-1)  # [rows, places, 2]

    def rows(self, seen: Sequence[Array]) -> list[Array]:
        """Return the numbers of the classes: chosen in the first half of a row, right in the second; -1 is none."""
        classes = np.unique(np.concatenate([np.unique(each) for each in seen]))
        classes = classes[predictions.labelled(classes)]
        self._class_count = len(classes)
        return [np.concatenate(_numbered(each, classes), axis=1) for each in seen]

    def contributions(self, rows: Array) -> Array:
        chosen, right = np.split(rows, 2, axis=1)
        shape = (len(rows), self._class_count)
        counts = [np.zeros(shape, np.float32) for _ in range(3)]  # right, wrongly chosen, missed
        numbers = np.broadcast_to(np.arange(len(rows))[:, np.newaxis], chosen.shape)
        for count, of, counted in (
            (counts[0], right, (chosen == right) & (right >= 0)),
            (counts[1], chosen, (chosen != right) & (right >= 0) & (chosen >= 0)),
            (counts[2], right, (chosen != right) & (right >= 0)),
        ):
            np.add.at(count, (numbers[counted], of[counted]), 1)
        return np.concatenate(counts, axis=1)

    def value(self, sums: Array) -> Array:
        right, chosen, missed = np.split(sums, 3, axis=-1)
        occurring = right + chosen + missed
        with np.errstate(invalid="ignore"):
            scores = np.where(occurring > 0, 2 * right / (2 * right + chosen + missed), 0.0)
            mean: Array = np.asarray(scores.sum(axis=-1) / (occurring > 0).sum(axis=-1))
        return mean


def _numbered(seen: Array, classes: Array) -> tuple[Array, Array]:
    places = np.searchsorted(classes, seen)
    numbers = np.where(np.isin(seen, classes), places, -1)
    return numbers[..., 0], numbers[..., 1]


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

    def rows(self, seen: Sequence[Array]) -> list[Array]:
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
