"""How far two models agree, and on which rows that is measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from servemesh.optimizer.adapters.datasets.rows import Rows
from servemesh.optimizer.adapters.passes import models, running
from servemesh.optimizer.adapters.passes.context import PassContext
from servemesh.optimizer.adapters.passes.running import Inputs, OpenModel
from servemesh.optimizer.domain.splits import Split

Array = np.ndarray[Any, Any]
SPLITS = (Split.CALIBRATE, Split.TRAIN)
ROWS_MIN = 16
BATCH_ROWS = 16
_ASIDE = 2  # of so many batches of rows that nobody trains on, one is put aside


def batches(source: Path, context: PassContext, rows_max: int) -> tuple[list[Inputs], list[Inputs]]:
    """Return rows to fit on, and rows put aside to measure on: of the calibrate split, if it has enough."""
    rows: Rows | None = context.data
    assert rows is not None  # apply_pass sees to it
    inputs = OpenModel.open(source, context.threads).inputs
    if running.row_count(rows, inputs, SPLITS, rows_max) < ROWS_MIN:
        rows.check_enough(Split.CALIBRATE, ROWS_MIN)
    apart = list(running.batches(rows, inputs, (Split.CALIBRATE,), rows_max, BATCH_ROWS))
    left = rows_max - sum(map(running.rows_in, apart))
    more = list(running.batches(rows, inputs, (Split.TRAIN,), left, BATCH_ROWS))
    if len(apart) < _ASIDE:
        apart, more = [*apart, *more], []
    aside = apart[_ASIDE - 1 :: _ASIDE] or apart
    fit = [batch for number, batch in enumerate(apart) if number % _ASIDE != _ASIDE - 1]
    return [*fit, *more], aside


def tapped(model: onnx.ModelProto, name: str, folder: Path, threads: int, rows: Sequence[Inputs]) -> Array:
    """Return what a tensor inside the model is on these rows."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if all(value.name != name for value in (*copy.graph.input, *copy.graph.output)):
        copy.graph.output.append(helper.make_empty_tensor_value_info(name))
    path = folder / "tapped.onnx"
    path.write_bytes(copy.SerializeToString())
    if any(value.name == name for value in copy.graph.input):
        return np.concatenate([batch[name] for batch in rows])
    opened = OpenModel.open(path, threads)
    return np.concatenate([opened.run(batch)[name] for batch in rows])


def agreement(before: Path, after: Path, threads: int, rows: Sequence[Inputs]) -> float:
    """Return the share of rows that are answered the same, or of the variance of numbers that is explained, 0 to 1."""
    old, new = OpenModel.open(before, threads), OpenModel.open(after, threads)
    answers = [(old.run(batch), new.run(batch)) for batch in rows]
    first = old.outputs[0].name
    name = next((spec.name for spec in old.outputs if spec.datatype not in models.FLOAT_DATATYPES), first)
    expected = np.concatenate([pair[0][name] for pair in answers])
    got = np.concatenate([pair[1][name] for pair in answers])
    if expected.dtype.kind != "f":
        return float((expected == got).reshape(len(expected), -1).all(axis=1).mean())
    if expected.ndim > 1 and expected.shape[-1] > 1:
        return float((expected.argmax(axis=-1) == got.argmax(axis=-1)).mean())
    spread = float(np.square(expected - expected.mean()).sum())
    return max(0.0, 1.0 - float(np.square(expected - got).sum()) / (spread or 1.0))


def note(agreed: float, aside: Sequence[Inputs]) -> str:
    """Say how far two models agree, and on how many rows."""
    rows = sum(map(running.rows_in, aside))
    return (
        f"On {rows} rows put aside, {100 * agreed:.1f} % of the answers (or of their variance) are as before."
    )
