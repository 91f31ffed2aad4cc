"""What training makes small: the distance from a teacher's outputs and from labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from servemesh.errors import InvalidError
from servemesh.optimizer.domain import predictions

Array = np.ndarray[Any, Any]
_LEAST_PROBABILITY = 1e-7
_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One output: whether it scores classes, as probabilities or not, and how far its values spread."""

    name: str
    scores: bool
    probabilities: bool
    teacher_probabilities: bool
    spread: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """The loss of a batch. `labelled` is the output that labels belong to, None without labels."""

    soft: tuple[Target, ...]
    labelled: Target | None
    soft_share: float
    temperature: float

    def loss(
        self, outputs: Mapping[str, Tensor], soft: Mapping[str, Tensor], labels: Tensor | None
    ) -> Tensor:
        """Return the weighted mean of the distances from teacher and labels."""
        parts = []
        if self.soft and self.soft_share > 0:
            distances = [self._soft(target, outputs[target.name], soft[target.name]) for target in self.soft]
            parts.append(self.soft_share * torch.stack(distances).mean())
        if self.labelled is not None and labels is not None and self.soft_share < 1:
            parts.append((1 - self.soft_share) * _hard(self.labelled, outputs[self.labelled.name], labels))
        return torch.stack(parts).sum()

    def _soft(self, target: Target, own: Tensor, teacher: Tensor) -> Tensor:
        teacher = teacher.to(own.dtype)
        if not target.scores:
            return F.mse_loss(own, teacher) / target.spread
        ours = torch.log_softmax(_logits(own, target.probabilities) / self.temperature, -1)
        right = torch.softmax(_logits(teacher, target.teacher_probabilities) / self.temperature, -1)
        divergence = torch.where(right > 0, right * (right.clamp(min=1e-12).log() - ours), 0.0)
        return divergence.sum(-1).mean() * self.temperature**2


def objective(
    first: Mapping[str, Array],
    soft: Mapping[str, Array],
    labels: Array | None,
    *,
    output: str,
    soft_share: float,
    temperature: float,
) -> tuple[Objective, Array | None]:
    """Return what to learn and the labels as it reads them, from the model's outputs for the first rows.

    InvalidError if there is nothing to learn from, or labels that do not belong to the output.
    """
    numbers = {name: values for name, values in first.items() if values.dtype.kind == "f"}
    main = output or next(iter(numbers), "")
    if main not in numbers:
        raise InvalidError(
            f"Output '{main}' of the model cannot be trained; it has {sorted(numbers)} that hold numbers.",
            reason="OUTPUT_MISSING",
            field="output",
            expected=sorted(numbers),
            got=main,
        )
    is_classes = labels is not None and labels.dtype.kind in "iub" and numbers[main].shape[-1] > 1
    soft = _paired(numbers, soft)
    targets = {
        name: _target(name, numbers[name], soft.get(name), is_classes and name == main) for name in numbers
    }
    if labels is None and not soft:
        raise InvalidError(
            "There is nothing to learn from: the Dataset has no label column and there is no teacher with the same "
            "outputs. Name a label column when the Dataset is created, or give a teacher.",
            reason="NOTHING_TO_LEARN",
            field="label",
        )
    share = 1.0 if labels is None else soft_share if soft else 0.0
    made = Objective(
        soft=tuple(targets[name] for name in soft),
        labelled=None if labels is None else targets[main],
        soft_share=share,
        temperature=temperature,
    )
    return made, None if labels is None else _labels(labels, numbers[main], is_classes)


def _paired(own: Mapping[str, Array], soft: Mapping[str, Array]) -> dict[str, Array]:
    """Return the teacher's outputs under the student's names: by name, else by place where they are as many."""
    if not set(own) & set(soft) and len(own) == len(soft):
        soft = dict(zip(own, soft.values(), strict=True))
    fitting = {name: soft[name] for name in own if name in soft}
    for name, values in fitting.items():
        if values.shape[1:] != own[name].shape[1:]:
            raise InvalidError(
                f"Output '{name}' has rows of shape {list(own[name].shape[1:])}, the teacher's have "
                f"{list(values.shape[1:])}; both must be the same.",
                reason="TEACHER_UNFIT",
                field=name,
                expected=list(own[name].shape[1:]),
                got=list(values.shape[1:]),
            )
    return fitting


def _target(name: str, own: Array, teacher: Array | None, is_classes: bool) -> Target:
    sample = teacher[:1024] if teacher is not None else own
    teacher_sums = teacher is not None and _sums_to_one(sample)
    return Target(
        name=name,
        scores=is_classes or teacher_sums,
        probabilities=_sums_to_one(own),
        teacher_probabilities=teacher_sums,
        spread=float(np.var(sample)) or 1.0,
    )


def _sums_to_one(values: Array) -> bool:
    if values.ndim < 2 or values.shape[-1] < 2 or values.min() < 0:
        return False
    return bool(np.abs(values.sum(-1) - 1).max() < _SUM_TOLERANCE)


def _labels(labels: Array, scores: Array, is_classes: bool) -> Array:
    if is_classes:
        places = np.broadcast_to(np.zeros(1, np.float32), (len(labels), *scores.shape[1:]))
        return predictions.classes(labels, scores=places)
    if labels.dtype.kind not in "fiub" or labels[0].size != scores[0].size:
        raise InvalidError(
            f"Labels of shape {list(labels.shape[1:])} do not belong to an output with rows of "
            f"{list(scores.shape[1:])}.",
            reason="LABELS_UNFIT",
            field="label",
            expected=list(scores.shape[1:]),
            got=list(labels.shape[1:]),
        )
    return labels.reshape(len(labels), *scores.shape[1:]).astype(np.float32)


def _logits(values: Tensor, probabilities: bool) -> Tensor:
    return values.clamp(min=_LEAST_PROBABILITY).log() if probabilities else values


def _hard(target: Target, own: Tensor, labels: Tensor) -> Tensor:
    """Return the mean over the rows that have a label; the first rows of a batch do."""
    own = own[: len(labels)]
    if labels.is_floating_point():
        return F.mse_loss(own, labels.to(own.dtype)) / target.spread if len(labels) else own.sum() * 0
    known = labels != predictions.UNLABELLED
    if not bool(known.any()):
        return own.sum() * 0
    return F.cross_entropy(_logits(own, target.probabilities)[known], labels[known])
