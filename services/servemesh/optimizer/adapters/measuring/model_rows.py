"""The rows that a measured model sees: a Dataset's evaluate split, or inputs made up from its signature."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from servemesh.optimizer.adapters.datasets.rows import Rows
from servemesh.optimizer.domain.feeding import Feeder, ModelInput, feeder
from servemesh.optimizer.domain.generating import fixed_rows, generated
from servemesh.optimizer.domain.splits import Split

Array = np.ndarray[Any, Any]

GENERATED_ROWS = 64


class ModelRows(Protocol):
    """Rows as inputs of one model."""

    row_count: int
    notes: tuple[str, ...]

    def some(self, count: int) -> dict[str, Array]:
        """Return `count` rows, repeated if there are fewer."""

    def batches(self, size: int) -> Iterator[dict[str, Array]]:
        """Yield all rows, `size` at a time; the last batch may be smaller."""


class DatasetRows:
    """The evaluate split of a data folder."""

    def __init__(self, rows: Rows, feeding: Feeder) -> None:
        self._rows = rows
        self._feeding = feeding
        self.notes = feeding.notes
        self.row_count = rows.count(Split.EVALUATE)

    def some(self, count: int) -> dict[str, Array]:
        batch = next(self._rows.batches(Split.EVALUATE, count))
        inputs = self._feeding.inputs(batch.inputs)
        return {name: np.resize(array, (count, *array.shape[1:])) for name, array in inputs.items()}

    def batches(self, size: int) -> Iterator[dict[str, Array]]:
        for batch in self._rows.batches(Split.EVALUATE, size):
            yield self._feeding.inputs(batch.inputs)


class GeneratedRows:
    """Made up: the same seed gives every model the same rows."""

    def __init__(self, inputs: Sequence[ModelInput], seed: int, ids_ends: Mapping[str, int]) -> None:
        self._inputs = inputs
        self._seed = seed
        self._ids_ends = ids_ends
        self.notes: tuple[str, ...] = ("The inputs are made up from the signature: there is no Dataset.",)
        self.row_count = GENERATED_ROWS // (fixed_rows(inputs) or 1) * (fixed_rows(inputs) or 1)
        self.row_count = self.row_count or (fixed_rows(inputs) or 1)

    def some(self, count: int) -> dict[str, Array]:
        return generated(self._inputs, count, seed=self._seed, ids_ends=self._ids_ends)

    def batches(self, size: int) -> Iterator[dict[str, Array]]:
        for index, begin in enumerate(range(0, self.row_count, size)):
            count = min(size, self.row_count - begin)
            yield generated(self._inputs, count, seed=self._seed + 1 + index, ids_ends=self._ids_ends)


def rows_for(
    inputs: Sequence[ModelInput], data: Path | None, *, seed: int, ids_ends: Mapping[str, int]
) -> ModelRows:
    """Return the rows for a model; InvalidError naming the column that does not fit."""
    if data is None:
        return GeneratedRows(inputs, seed, ids_ends)
    rows = Rows.open(data)
    rows.check_enough(Split.EVALUATE, 1)
    return DatasetRows(rows, feeder(rows.columns, inputs))
