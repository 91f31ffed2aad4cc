"""Rows of a data folder, split by split and batch by batch, never whole in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from servemesh.optimizer.adapters.datasets import columns_file
from servemesh.optimizer.adapters.datasets.column_files import StoredColumn
from servemesh.optimizer.domain import splits
from servemesh.optimizer.domain.datasets import Column
from servemesh.optimizer.domain.splits import Split

Array = np.ndarray[Any, Any]

__all__ = ["Batch", "Rows", "Split"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Some rows: columns that feed inputs, and labels, by name."""

    inputs: Mapping[str, Array]
    labels: Mapping[str, Array]


class Rows:
    """A data folder that `examine` wrote, opened for reading."""

    def __init__(self, contents: columns_file.Contents, stored: tuple[StoredColumn, ...]) -> None:
        self._contents = contents
        self._stored = stored
        self._drawn: dict[Split, Array] = {}

    @classmethod
    def open(cls, folder: Path) -> Rows:
        """Map the files of `folder`."""
        contents = columns_file.read(folder)
        pairs = zip(contents.files, contents.columns, strict=True)
        return cls(contents, tuple(StoredColumn(folder / file, column) for file, column in pairs))

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns, labels included."""
        return self._contents.columns

    @cached_property
    def labels(self) -> tuple[Column, ...]:
        """The columns that are answers."""
        return tuple(column for column in self.columns if column.label)

    def count(self, split: Split) -> int:
        """Return how many rows there are in a split."""
        return splits.row_count(split, self._contents.row_count, self._contents.shares)

    def check_enough(self, split: Split, least: int) -> None:
        """InvalidError that says what to change unless `split` has so many rows."""
        splits.check_enough(split, self._contents.row_count, self._contents.shares, least)

    def batches(self, split: Split, size: int, *, rows_max: int | None = None) -> Iterator[Batch]:
        """Yield the rows of a split in the order of the draw, `size` at a time; the last batch may be smaller.

        InvalidError if the split has no rows.
        """
        self.check_enough(split, 1)
        rows = self._rows_of(split)[:rows_max]
        for begin in range(0, len(rows), size):
            yield self._batch(rows[begin : begin + size])

    def column(self, name: str, split: Split, size: int) -> Iterator[Array]:
        """Yield one column of the rows that `batches` yields; no other is read."""
        self.check_enough(split, 1)
        stored = next(each for each in self._stored if each.column.name == name)
        rows = self._rows_of(split)
        for begin in range(0, len(rows), size):
            yield stored.take(rows[begin : begin + size])

    def _batch(self, rows: Array) -> Batch:
        taken = {stored.column.name: stored.take(rows) for stored in self._stored if not stored.column.label}
        labels = {stored.column.name: stored.take(rows) for stored in self._stored if stored.column.label}
        return Batch(inputs=taken, labels=labels)

    def _rows_of(self, split: Split) -> Array:
        if split not in self._drawn:
            self._drawn[split] = splits.rows_of(split, self._contents.row_count, self._contents.shares)
        return self._drawn[split]
