"""Runs models on rows of a dataset, or on made-up ones, as the workers would."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from servemesh.optimizer.adapters.datasets.rows import Rows
from servemesh.optimizer.domain import generating
from servemesh.optimizer.domain.feeding import feeder
from servemesh.optimizer.domain.splits import Split
from servemesh.runtime import sessions, values

Array = np.ndarray[Any, Any]
Inputs = dict[str, Array]
BATCH_ROWS = 32
GENERATED_ROWS = 4


class OpenModel:
    """A model that is open in the runtime."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self.inputs = values.specs_of(session.get_inputs())
        self.outputs = values.specs_of(session.get_outputs())
        self._run = values.runner(session, [*self.inputs, *self.outputs])

    @classmethod
    def open(cls, path: Path, threads: int) -> OpenModel:
        """Open the model at `path`; InvalidError if the runtime refuses it."""
        return cls(sessions.open_session(path, sessions.RuntimeOptions(threads=threads)))

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return all outputs by name."""
        names = [spec.name for spec in self.outputs]
        try:
            return dict(zip(names, self._run(names, inputs, ort.RunOptions()), strict=True))
        except Exception as error:
            raise values.failure_of_run(error) from error


def batches(
    rows: Rows,
    inputs: Sequence[values.ValueSpec],
    splits: Sequence[Split],
    rows_max: int,
    size: int = BATCH_ROWS,
) -> Iterator[Inputs]:
    """Yield up to `rows_max` rows of the splits, one after the other, as inputs of a model.

    A model whose first axis is fixed gets batches of that size only.
    """
    feeding = feeder(rows.columns, inputs)
    texts = {spec.name for spec in inputs if spec.datatype == "BYTES"}
    fixed = generating.fixed_rows(inputs)
    left = rows_max
    for split in splits:
        count = min(left, rows.count(split))
        count -= count % (fixed or 1)
        if count <= 0:
            continue
        left -= count
        for batch in rows.batches(split, fixed or size, rows_max=count):
            fed = feeding.inputs(batch.inputs)
            yield {name: values.as_text(name, a) if name in texts else a for name, a in fed.items()}


def row_count(rows: Rows, inputs: Sequence[values.ValueSpec], splits: Sequence[Split], rows_max: int) -> int:
    """Return how many rows `batches` would yield."""
    fixed = generating.fixed_rows(inputs) or 1
    left = rows_max
    for split in splits:
        count = min(left, rows.count(split))
        left -= count - count % fixed
    return rows_max - left


def rows_in(batch: Mapping[str, Array]) -> int:
    """Return how many rows a batch has."""
    return max((len(array) for array in batch.values() if array.ndim), default=1)


def sample(rows: Rows | None, inputs: Sequence[values.ValueSpec], seed: int) -> Inputs:
    """Return one batch: of the first split that has rows enough, else made up."""
    if rows is not None:
        for batch in batches(rows, inputs, (Split.CALIBRATE, Split.TRAIN), BATCH_ROWS):
            return batch
    count = generating.fixed_rows(inputs) or GENERATED_ROWS
    made = generating.generated(inputs, count, seed=seed, ids_ends={})
    texts = {spec.name for spec in inputs if spec.datatype == "BYTES"}
    return {name: values.as_text(name, array) if name in texts else array for name, array in made.items()}
