"""What outputs and labels say: the class that was chosen, numbers, vectors, words."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from servemesh.errors import InvalidError
from servemesh.optimizer.domain.parity import has_scores

Array = np.ndarray[Any, Any]

UNLABELLED = -100  # what training code writes where a place has no label
PROBABILITY = 0.5  # from which a single score says yes
_UNIT_TOLERANCE = 1e-2
_VECTORS = re.compile("embed|hidden|pool|feature", re.IGNORECASE)


def paired(output: Array, target: Array) -> tuple[Array, Array]:
    """Return what was chosen and what is right, alike in shape and kind. InvalidError where they cannot be compared."""
    if has_scores(output):
        right = classes(target, scores=output)
        return output.astype(np.float32).argmax(axis=-1), right
    if is_text(output) or is_text(target):
        chosen, right = _texts(output), _texts(target)
    elif output.dtype.kind in "biu":
        chosen, right = output.astype(np.int64), whole(target)
    else:
        chosen, right = (output.astype(np.float32) > PROBABILITY).astype(np.int64), whole(target)
        if not np.isin(right[right != UNLABELLED], (0, 1)).all():
            raise unfit("accuracy", "labels of 0 and 1 for an output with a single score", target)
    if chosen.size != right.size:
        raise unfit("accuracy", f"labels of shape {list(output.shape)} as the output", target)
    return chosen, right.reshape(chosen.shape)


def classes(target: Array, *, scores: Array) -> Array:
    """Return the right class for each place that has scores; scores themselves stand for their best."""
    if target.shape == scores.shape and not is_text(target):
        best: Array = target.astype(np.float32).argmax(axis=-1)
        return best
    if is_text(target) or target.size != np.prod(scores.shape[:-1]):
        raise unfit("accuracy", f"a class 0 to {scores.shape[-1] - 1} for each row", target)
    right = whole(target).reshape(scores.shape[:-1])
    wrong = right[((right < 0) | (right >= scores.shape[-1])) & (right != UNLABELLED)]
    if wrong.size:
        raise InvalidError(
            f"there is a label {int(wrong.flat[0])}, and the output has scores for classes 0 to {scores.shape[-1] - 1}",
            reason="LABELS_UNFIT",
            field="labels",
            expected=f"0 to {scores.shape[-1] - 1}",
            got=int(wrong.flat[0]),
        )
    return right


def numbers(metric: str, output: Array, target: Array) -> tuple[Array, Array]:
    """Return both as [rows, n] in double precision. InvalidError for text or another number of values per row."""
    if is_text(output) or is_text(target) or output.size != target.size:
        raise unfit(metric, f"numbers of shape {list(output.shape)} as the output", target)
    return _rows(output), _rows(target)


def cosines(ours: Array, theirs: Array) -> Array:
    """Return the cosine of each row; two rows of zeros are the same, one alone is not."""
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (ours * theirs).sum(axis=1) / lengths
    both_zero = ~ours.any(axis=1) & ~theirs.any(axis=1)
    return np.where(both_zero, 1.0, np.nan_to_num(np.clip(found, -1, 1), nan=0.0))


def kind_of(output: Array, name: str) -> str:
    """Return whether an output holds "choices" (classes or their scores), "vectors" or "numbers"."""
    if is_text(output) or output.dtype.kind in "biu":
        return "choices"
    if not has_scores(output):
        return "numbers"
    if output.ndim > 2 or _VECTORS.search(name):
        return "vectors"
    rows = _rows(output)
    normed = np.abs(np.linalg.norm(rows, axis=1) - 1) < _UNIT_TOLERANCE
    return "vectors" if normed.all() and (rows < 0).any() else "choices"


def word_lists(array: Array) -> list[list[Any]]:
    """Return the words of each row: text split at white space, or whole numbers that each are a word."""
    rows = array.reshape(len(array), -1)
    if is_text(rows):
        return [" ".join(row).split() for row in _texts(rows).tolist()]
    if rows.dtype.kind in "iu":
        return [[word for word in row if word != UNLABELLED] for row in rows.tolist()]
    raise unfit("wer", "text, or whole numbers for words", array)


def labelled(targets: Array) -> Array:
    """Return which places have a label."""
    return np.ones(targets.shape, bool) if is_text(targets) else targets != UNLABELLED


def is_text(array: Array) -> bool:
    """Whether the elements are text or bytes."""
    return array.dtype.kind in "OSUT"


def whole(target: Array) -> Array:
    """Return labels as whole numbers. InvalidError for text and fractions."""
    if is_text(target):
        raise unfit("accuracy", "classes as whole numbers", target)
    numbers_ = target.astype(np.int64)
    if target.dtype.kind not in "biu" and not (numbers_ == target.astype(np.float64)).all():
        raise unfit("accuracy", "classes as whole numbers", target)
    return numbers_


def unfit(metric: str, expected: str, got: Array) -> InvalidError:
    """Return the error for outputs or labels that a metric cannot read."""
    what = f"{'text' if is_text(got) else got.dtype} of shape {list(got.shape)} in a run"
    return InvalidError(
        f"the metric {metric} needs {expected}, got {what}: name another metric or output, or other labels",
        reason="LABELS_UNFIT",
        field="measurement.metric",
        expected=expected,
        got=what,
    )


def _rows(array: Array) -> Array:
    return array.reshape(len(array), -1).astype(np.float64)


def _texts(array: Array) -> Array:
    texts = [
        item.decode(errors="replace") if isinstance(item, bytes) else str(item)
        for item in array.ravel().tolist()
    ]
    return np.array(texts, dtype=np.str_).reshape(array.shape)
