"""The training loop: seeded, stopped early on held-out rows, and left in the best state that it saw."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.training.graph_module import GraphModule
from servemesh.optimizer.adapters.training.objectives import Objective
from servemesh.optimizer.adapters.training.spooling import SpooledRows
from servemesh.optimizer.domain.work import Report

Array = np.ndarray[Any, Any]
_WARM_SHARE = 0.05  # of all steps, in which the learning rate rises
_GRADIENT_NORM_MAX = 5.0
_SPARSE_SHARE = 0.1  # of a weight's numbers that are 0, from which it was pruned


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions:
    """How to train. `fixed_rows` is the batch size of a model that takes no other."""

    epochs: int
    batch_size: int
    learning_rate: float
    optimizer: str
    weight_decay: float
    patience: int
    device: str
    seed: int
    fixed_rows: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What training did: losses on the held-out rows before and at best, and when that was (0: never)."""

    epochs: int
    best_epoch: int
    loss_before: float
    loss_best: float


def fit(
    module: GraphModule,
    rows: SpooledRows,
    labels: Array | None,
    objective: Objective,
    options: FitOptions,
    report: Report,
) -> Fit:
    """Train `module` and leave it in its best state. InvalidError if the loss leaves the numbers."""
    torch.manual_seed(options.seed)
    random = np.random.default_rng((options.seed, 2))
    loader = _Loader(rows, labels, options)
    module.to(options.device)
    sparse = _sparse(module)
    per_epoch = max(1, len(rows.training) // loader.batch_size)
    optimizer, schedule = _optimizer(module, options, per_epoch * options.epochs)
    before = best = _held_out_loss(module, loader, objective)
    best_state, best_epoch, epoch = _state(module), 0, 0
    for epoch in range(1, options.epochs + 1):
        _learn(module, loader.shuffled(random), objective, optimizer, schedule, sparse)
        loss = _held_out_loss(module, loader, objective)
        report.progress(
            epoch / options.epochs, f"epoch {epoch} of {options.epochs}, held-out loss {loss:.4g}"
        )
        if not math.isfinite(loss):
            raise _diverged(epoch, options)
        if loss < best:
            best, best_state, best_epoch = loss, _state(module), epoch
        elif epoch - best_epoch >= options.patience:
            break
    module.load_state_dict(best_state)
    module.eval().cpu()
    return Fit(epochs=epoch, best_epoch=best_epoch, loss_before=before, loss_best=best)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    inputs: Mapping[str, Tensor]
    soft: Mapping[str, Tensor]
    labels: Tensor | None
    row_count: int


class _Loader:
    """Reads rows by number and puts them on the device; those with labels first."""

    def __init__(self, rows: SpooledRows, labels: Array | None, options: FitOptions) -> None:
        self._rows, self._labels, self._device = rows, labels, options.device
        self._fixed = options.fixed_rows is not None
        self.batch_size = options.fixed_rows or min(options.batch_size, len(rows.training))

    def shuffled(self, random: np.random.Generator) -> Iterator[_Batch]:
        """Yield full batches of the training rows; what is left over waits for another epoch."""
        order = random.permutation(self._rows.training)
        for begin in range(0, len(order) - self.batch_size + 1, self.batch_size):
            yield self._batch(np.sort(order[begin : begin + self.batch_size]))

    def testing(self) -> Iterator[_Batch]:
        """Yield the held-out rows."""
        rows, size = self._rows.testing, self.batch_size
        last = len(rows) - len(rows) % size if self._fixed and len(rows) >= size else len(rows)
        for begin in range(0, last, size):
            yield self._batch(
                np.resize(rows, size) if self._fixed and last < size else rows[begin : begin + size]
            )

    def _batch(self, numbers: Array) -> _Batch:
        labelled = numbers[numbers < self._rows.own]
        return _Batch(
            inputs={name: self._tensor(array[numbers]) for name, array in self._rows.inputs.items()},
            soft={name: self._tensor(array[numbers]) for name, array in self._rows.soft.items()},
            labels=None if self._labels is None else self._tensor(self._labels[labelled]),
            row_count=len(numbers),
        )

    def _tensor(self, array: Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)


def _learn(
    module: GraphModule,
    batches: Iterator[_Batch],
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    sparse: list[tuple[Tensor, Tensor]],
) -> None:
    module.train()
    for batch in batches:
        optimizer.zero_grad()
        loss = objective.loss(module(batch.inputs), batch.soft, batch.labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), _GRADIENT_NORM_MAX)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            for weight, kept in sparse:
                weight.mul_(kept)


def _sparse(module: GraphModule) -> list[tuple[Tensor, Tensor]]:
    """Return weights that were pruned, with 1 where training may change them: zeros stay zeros."""
    weights = [value for value in module.parameters() if value.ndim >= 2]
    return [
        (weight, (weight != 0).to(weight.dtype))
        for weight in weights
        if float((weight == 0).float().mean()) >= _SPARSE_SHARE
    ]


def _held_out_loss(module: GraphModule, loader: _Loader, objective: Objective) -> float:
    module.eval()
    total, rows = 0.0, 0
    with torch.no_grad():
        for batch in loader.testing():
            loss = objective.loss(module(batch.inputs), batch.soft, batch.labels)
            total += float(loss) * batch.row_count
            rows += batch.row_count
    return total / rows


def _optimizer(
    module: GraphModule, options: FitOptions, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Return the optimizer; biases and norms do not shrink."""
    weights = [value for value in module.parameters() if value.ndim >= 2]
    others = [value for value in module.parameters() if value.ndim < 2]
    groups = [
        {"params": weights, "weight_decay": options.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    optimizer: torch.optim.Optimizer
    if options.optimizer == "sgd":
        optimizer = torch.optim.SGD(groups, lr=options.learning_rate, momentum=0.9, nesterov=True)
    else:
        optimizer = torch.optim.AdamW(groups, lr=options.learning_rate)
    warm = max(1, int(steps * _WARM_SHARE))

    def factor(step: int) -> float:
        return min((step + 1) / warm, 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, steps)))))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def _state(module: GraphModule) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def _diverged(epoch: int, options: FitOptions) -> InvalidError:
    return InvalidError(
        f"Training left the numbers in epoch {epoch}: the loss is not finite. Try a smaller learning_rate than "
        f"{options.learning_rate}.",
        reason="TRAINING_DIVERGED",
        field="learning_rate",
        expected=f"less than {options.learning_rate}",
        got=options.learning_rate,
    )
