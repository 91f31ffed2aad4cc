"""Training rows on disk: inputs, labels and what the teacher says to them, computed once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.datasets.rows import Rows, Split
from servemesh.optimizer.adapters.training.signature import model_inputs
from servemesh.optimizer.adapters.training.teacher import Teacher
from servemesh.optimizer.domain.feeding import feeder
from servemesh.optimizer.domain.work import Report

Array = np.ndarray[Any, Any]
_BLOCK_ROWS = 64
ROWS_LEAST = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SpooledRows:
    """Rows in files that are mapped, not read. The first `own` are the Dataset's, the others are mixed from them.

    `held_out` rows before `own` are for telling when to stop; nothing is mixed from them. `labels` end at `own`.
    """

    inputs: Mapping[str, Array]
    labels: Array | None
    soft: Mapping[str, Array]
    own: int
    held_out: int
    total: int

    @property
    def training(self) -> Array:
        """The rows to learn from, by number."""
        return np.concatenate([np.arange(self.own - self.held_out), np.arange(self.own, self.total)])

    @property
    def testing(self) -> Array:
        """The rows that tell when to stop, by number."""
        return np.arange(self.own - self.held_out, self.own)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolPlan:
    """How many rows to spool, which of them to hold out, and which column is the answer (empty: none)."""

    label: str
    rows_max: int
    holdout_percent: int
    mixed_rows: float
    seed: int


def spool(
    model: onnx.ModelProto, rows: Rows, teacher: Teacher | None, plan: SpoolPlan, folder: Path, report: Report
) -> SpooledRows:
    """Write the rows of the training split into `folder` as the inputs of `model`, with the teacher's outputs."""
    rows.check_enough(Split.TRAIN, ROWS_LEAST)
    own = min(rows.count(Split.TRAIN), plan.rows_max)
    held_out = max(1, own * plan.holdout_percent // 100)
    columns = _Columns(folder)
    feed = feeder(rows.columns, model_inputs(model))
    total, place = own, 0
    for batch in rows.batches(Split.TRAIN, _BLOCK_ROWS, rows_max=own):
        inputs = feed.inputs(batch.inputs)
        if place == 0:
            total += _mixed_count(inputs, own, plan)
        for name, values in inputs.items():
            columns.put(f"input_{name}", place, values, total)
        if plan.label:
            columns.put("label", place, _numbers(plan.label, batch.labels[plan.label]), own)
        place += len(next(iter(inputs.values())))
    _mix(columns, own, held_out, total, plan.seed)
    if teacher is not None:
        _ask(teacher, columns, total, report)
    return SpooledRows(
        inputs=columns.starting_with("input_"),
        labels=columns.find("label"),
        soft=columns.starting_with("soft_"),
        own=own,
        held_out=held_out,
        total=total,
    )


def _numbers(name: str, values: Array) -> Array:
    if values.dtype.kind in "fiub":
        return values
    raise InvalidError(
        f"Label column '{name}' holds text; training needs classes as whole numbers, or values.",
        reason="LABELS_UNFIT",
        field=name,
        expected="numbers",
        got="text",
    )


class _Columns:
    """Arrays in files, made when their first rows come."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._arrays: dict[str, Array] = {}

    def put(self, name: str, place: int, values: Array, total: int) -> None:
        if name not in self._arrays:
            path = self._folder / f"{len(self._arrays)}.npy"
            shape = (total, *values.shape[1:])
            self._arrays[name] = np.lib.format.open_memmap(path, "w+", values.dtype, shape)
        kept = self._arrays[name]
        if kept.shape[1:] != values.shape[1:]:
            raise InvalidError(
                f"Rows of '{name}' have shapes {list(kept.shape[1:])} and {list(values.shape[1:])}; training needs "
                "rows of one shape.",
                reason="TEACHER_UNFIT",
                field=name,
                expected=list(kept.shape[1:]),
                got=list(values.shape[1:]),
            )
        kept[place : place + len(values)] = values

    def find(self, name: str) -> Array | None:
        return self._arrays.get(name)

    def starting_with(self, prefix: str) -> dict[str, Array]:
        return {
            name.removeprefix(prefix): array
            for name, array in self._arrays.items()
            if name.startswith(prefix)
        }


def _mixed_count(inputs: Mapping[str, Array], own: int, plan: SpoolPlan) -> int:
    return int(own * plan.mixed_rows) if all(values.dtype.kind == "f" for values in inputs.values()) else 0


def _mix(columns: _Columns, own: int, held_out: int, total: int, seed: int) -> None:
    """Fill the rows after `own` with points between two rows that are not held out."""
    random = np.random.default_rng((seed, 1))
    for begin in range(own, total, _BLOCK_ROWS):
        count = min(_BLOCK_ROWS, total - begin)
        pairs, share = random.integers(0, own - held_out, (2, count)), random.random(count)
        for name, array in columns.starting_with("input_").items():
            weight = share.reshape(count, *[1] * (array.ndim - 1)).astype(array.dtype)
            mixed = weight * array[pairs[0]] + (1 - weight) * array[pairs[1]]
            columns.put(f"input_{name}", begin, mixed, total)


def _ask(teacher: Teacher, columns: _Columns, total: int, report: Report) -> None:
    inputs = columns.starting_with("input_")
    teacher.check_inputs(inputs)
    for begin in range(0, total, _BLOCK_ROWS):
        block = {name: array[begin : begin + _BLOCK_ROWS] for name, array in inputs.items()}
        for name, values in teacher.answers(block).items():
            columns.put(f"soft_{name}", begin, values, total)
        report.progress(begin / total, f"asking the teacher, row {begin} of {total}")
