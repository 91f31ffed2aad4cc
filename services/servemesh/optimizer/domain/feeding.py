"""How the columns of a Dataset feed the inputs of a model: checked once by their types, cast row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from servemesh.errors import InvalidError
from servemesh.optimizer.domain.datasets import Column, shown
from servemesh.tensors.datatypes import DATATYPES

Array = np.ndarray[Any, Any]
_FLOATS = ("FP16", "BF16", "FP32", "FP64")


class ModelInput(Protocol):
    """An input of a model: name, OIP datatype, dimensions with -1 for any size."""

    @property
    def name(self) -> str: ...

    @property
    def datatype(self) -> str: ...

    @property
    def shape(self) -> tuple[int, ...]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Feed:
    name: str
    source: str  # the datatype of the column
    target: str
    row_shape: tuple[int, ...]  # of one row of the input


class Feeder:
    """Turns batches of a Dataset's columns into inputs of one model."""

    def __init__(self, feeds: Sequence[_Feed]) -> None:
        self._feeds = tuple(feeds)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is cast on the way, a sentence each."""
        return tuple(
            f"Column {feed.name!r} is {feed.source} and is cast to the {feed.target} of its input."
            for feed in self._feeds
            if feed.source != feed.target
        )

    def inputs(self, columns: Mapping[str, Array]) -> dict[str, Array]:
        """Return the model's inputs; InvalidError naming the column where a value does not survive the cast."""
        return {feed.name: _cast(feed, columns[feed.name]) for feed in self._feeds}


def feeder(columns: Sequence[Column], inputs: Sequence[ModelInput]) -> Feeder:
    """Match columns to inputs by name; labels feed nothing, and columns that no input asks for are left out.

    InvalidError naming column and input where one is missing, or has the wrong datatype or shape. Numbers may be
    cast where every value is checked to survive (see `_cast`), and a number per row may feed an input of one column.
    """
    by_name = {column.name: column for column in columns if not column.label}
    return Feeder([_feed(by_name.get(wanted.name), wanted, tuple(by_name), columns) for wanted in inputs])


def _feed(
    column: Column | None, wanted: ModelInput, names: Sequence[str], columns: Sequence[Column]
) -> _Feed:
    if column is None:
        is_label = any(each.name == wanted.name for each in columns)
        why = "it is a label column" if is_label else f"the data has {shown(names)}"
        raise InvalidError(
            f"input {wanted.name!r} of the model has no column of its name to feed it: {why}",
            reason="INPUT_COLUMN_MISSING",
            field=wanted.name,
            expected=wanted.name,
            got=shown(names),
        )
    _check_datatype(column, wanted)
    row_shape = _row_shape(column, wanted)
    return _Feed(name=wanted.name, source=column.datatype, target=wanted.datatype, row_shape=row_shape)


def _check_datatype(column: Column, wanted: ModelInput) -> None:
    got, expected = column.datatype, wanted.datatype
    texts = "BYTES" in (got, expected)
    if got == expected or (not texts and (expected in _FLOATS or got not in _FLOATS)):
        return
    raise InvalidError(
        f"column {column.name!r} is {got}, and input {wanted.name!r} of the model takes {expected}: store the column "
        f"as {expected}",
        reason="COLUMN_DOES_NOT_FIT",
        field=column.name,
        expected=expected,
        got=got,
    )


def _row_shape(column: Column, wanted: ModelInput) -> tuple[int, ...]:
    if not wanted.shape:
        raise InvalidError(
            f"input {wanted.name!r} of the model is a scalar, which no column of rows can feed",
            reason="COLUMN_DOES_NOT_FIT",
            field=column.name,
            expected="an input whose first axis is the rows",
            got="a scalar",
        )
    asked = wanted.shape[1:]
    if len(asked) == len(column.row_shape) and all(
        size in (-1, got) for size, got in zip(asked, column.row_shape, strict=True)
    ):
        return column.row_shape
    if not column.row_shape and asked in ((1,), (-1,)):
        return (1,)
    raise InvalidError(
        f"a row of column {column.name!r} has shape {list(column.row_shape)}, and input {wanted.name!r} of the model "
        f"takes {list(asked)} per row (-1 is any size)",
        reason="COLUMN_DOES_NOT_FIT",
        field=column.name,
        expected=list(asked),
        got=list(column.row_shape),
    )


def _cast(feed: _Feed, array: Array) -> Array:
    """Cast to the input's datatype. Whole numbers must stay what they are; floats may be rounded, not overflow."""
    array = array.reshape(len(array), *feed.row_shape)
    if feed.source == feed.target:
        return array
    with np.errstate(over="ignore", invalid="ignore"):
        cast: Array = array.astype(DATATYPES[feed.target].dtype)
    if feed.source in _FLOATS:
        fits = bool(np.isfinite(cast).sum() == np.isfinite(array).sum())
    else:
        fits = bool((cast.astype(array.dtype) == array).all()) and bool(((cast < 0) == (array < 0)).all())
    if not fits:
        raise InvalidError(
            f"column {feed.name!r} is {feed.source} and has a value that is no {feed.target}, which the model takes",
            reason="COLUMN_DOES_NOT_FIT",
            field=feed.name,
            expected=feed.target,
            got=feed.source,
        )
    return cast
