"""A graph taught from a Dataset and a teacher: what pruning, fine-tuning and distilling have in common."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.datasets.rows import Rows
from servemesh.optimizer.adapters.passes.context import PassContext
from servemesh.optimizer.adapters.training.fitting import Fit, FitOptions, fit
from servemesh.optimizer.adapters.training.graph_module import GraphModule
from servemesh.optimizer.adapters.training.graph_parts import learnable_part
from servemesh.optimizer.adapters.training.objectives import objective
from servemesh.optimizer.adapters.training.signature import fixed_rows
from servemesh.optimizer.adapters.training.spooling import SpooledRows, SpoolPlan, spool
from servemesh.optimizer.adapters.training.teacher import Teacher
from servemesh.optimizer.adapters.training.weights import write_back
from servemesh.optimizer.domain.passes.training import TrainingParameters
from servemesh.optimizer.domain.work import Report

Array = np.ndarray[Any, Any]
_FIRST_ROWS = 32
_ASKED = 0.2  # share of the work that is done when the teacher has answered


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What there is to learn from: rows, perhaps a teacher, and rows mixed from rows (as a multiple of them)."""

    rows: Rows
    teacher: Path | None
    mixed_rows: float = 0.0


class Stage:
    """A Report for a part of the work, which lies between two shares of the whole."""

    def __init__(self, whole: Report, begin: float, end: float) -> None:
        self._whole, self._begin, self._end = whole, begin, end

    def progress(self, share: float, step: str) -> None:
        """So much of the part is done."""
        self._whole.progress(self._begin + share * (self._end - self._begin), step)

    def log(self, text: str) -> None:
        """Something for the user to read."""
        self._whole.log(text)


def teach(
    model: onnx.ModelProto, lesson: Lesson, parameters: TrainingParameters, context: PassContext
) -> list[str]:
    """Train the weights of a readable model in place; return what happened, in words."""
    torch.set_num_threads(context.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    module = GraphModule.from_model(learnable_part(model))
    if not module.trained():
        raise InvalidError(
            "The model has no weights that can be trained. Distil it into a student 'mlp', or choose other passes.",
            reason="PASS_DOES_NOT_APPLY",
        )
    path = lesson.teacher if parameters.soft_share > 0 else None
    teacher = Teacher.open(path, context.threads) if path is not None else None
    begin, end = Stage(context.report, 0.0, _ASKED), Stage(context.report, _ASKED, 1.0)
    with tempfile.TemporaryDirectory(prefix="rows-") as folder:
        rows = spool(model, lesson.rows, teacher, _plan(lesson, parameters, context), Path(folder), begin)
        made, labels = objective(
            _first_outputs(module, rows, fixed_rows(model)),
            rows.soft,
            rows.labels,
            output=parameters.output,
            soft_share=parameters.soft_share,
            temperature=parameters.temperature,
        )
        done = fit(module, rows, labels, made, _options(model, parameters, context), end)
    write_back(model, module)
    return _notes(done, rows)


def _plan(lesson: Lesson, parameters: TrainingParameters, context: PassContext) -> SpoolPlan:
    return SpoolPlan(
        label=_label(lesson.rows, parameters.label),
        rows_max=parameters.rows_max,
        holdout_percent=parameters.holdout_percent,
        mixed_rows=lesson.mixed_rows if lesson.teacher and parameters.soft_share > 0 else 0.0,
        seed=context.seed,
    )


def _label(rows: Rows, wanted: str) -> str:
    """Return the column to learn: the one that is wanted, else the only one, else none."""
    names = [column.name for column in rows.labels]
    if wanted and wanted not in names:
        raise InvalidError(
            f"There is no label column '{wanted}'; the Dataset has {names or 'none'}.",
            reason="LABEL_COLUMN_MISSING",
            field="label",
            expected=names,
            got=wanted,
        )
    if len(names) > 1 and not wanted:
        raise InvalidError(
            f"The Dataset has several label columns, {names}. Say which one to learn with the parameter 'label'.",
            reason="LABEL_COLUMN_MISSING",
            field="label",
            expected=names,
            got="",
        )
    return wanted or next(iter(names), "")


def _first_outputs(module: GraphModule, rows: SpooledRows, fixed: int | None) -> dict[str, Array]:
    """Return what the untrained module answers to some rows."""
    numbers = np.resize(np.arange(min(_FIRST_ROWS, rows.own)), fixed or min(_FIRST_ROWS, rows.own))
    with torch.no_grad():
        outputs = module.eval()(
            {name: torch.from_numpy(array[numbers]) for name, array in rows.inputs.items()}
        )
    return {name: value.numpy() for name, value in outputs.items()}


def _options(model: onnx.ModelProto, parameters: TrainingParameters, context: PassContext) -> FitOptions:
    device = parameters.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise InvalidError(
            "There is no CUDA device here. Use device 'cpu' or 'auto'.", field="device", got="cuda"
        )
    return FitOptions(
        epochs=parameters.epochs,
        batch_size=parameters.batch_size,
        learning_rate=parameters.learning_rate,
        optimizer=parameters.optimizer,
        weight_decay=parameters.weight_decay,
        patience=parameters.patience,
        device=device,
        seed=context.seed,
        fixed_rows=fixed_rows(model),
    )


def _notes(done: Fit, rows: SpooledRows) -> list[str]:
    trained = len(rows.training)
    mixed = f", {rows.total - rows.own} of them mixed" if rows.total > rows.own else ""
    if done.best_epoch == 0:
        return [
            f"Trained {done.epochs} epochs on {trained} rows{mixed}; no epoch was better on the held-out rows, so the "
            "weights stay as they were."
        ]
    return [
        f"Trained {done.epochs} epochs on {trained} rows{mixed}; kept epoch {done.best_epoch}, whose loss on "
        f"{rows.held_out} held-out rows is {done.loss_best:.4g} (before: {done.loss_before:.4g})."
    ]
