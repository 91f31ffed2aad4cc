"""Tensors as typed contents: one list of values per family of datatypes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from servemesh.errors import InvalidError
from servemesh.tensors.datatypes import BYTES, DATATYPES, Datatype
from servemesh.tensors.shapes import elements_of

LISTS = sorted({datatype.contents for datatype in DATATYPES.values() if datatype.contents})


class Contents(Protocol):
    """The message InferTensorContents: one list of values for each name in LISTS."""


def decode(contents: Contents, datatype: Datatype, shape: Sequence[int], field: str) -> np.ndarray[Any, Any]:
    """Return the tensor. InvalidError naming `field` if the values are in another list than the datatype's,

    are too many or too few, or do not fit the datatype.
    """
    elements = elements_of(shape, f"{field}.shape")
    if not datatype.contents:
        raise InvalidError(
            f"{field}.contents cannot carry {datatype.name}: send it in raw_input_contents",
            reason="CONTENTS_INVALID",
            field=f"{field}.contents",
            expected="raw_input_contents",
            got=datatype.name,
        )
    for name in LISTS:
        if name != datatype.contents and len(getattr(contents, name)):
            raise InvalidError(
                f"{field}.contents.{name} has values, expected {datatype.name} in {datatype.contents}",
                reason="CONTENTS_INVALID",
                field=f"{field}.contents.{name}",
                expected=datatype.contents,
                got=name,
            )
    values = getattr(contents, datatype.contents)
    if len(values) != elements:
        raise InvalidError(
            f"{field}.contents.{datatype.contents} has {len(values)} values, expected {elements} for "
            f"shape {list(shape)}",
            reason="CONTENTS_INVALID",
            field=f"{field}.contents.{datatype.contents}",
            expected=elements,
            got=len(values),
        )
    return _array(values, datatype, elements, field).reshape(shape)


def _array(values: Sequence[Any], datatype: Datatype, elements: int, field: str) -> np.ndarray[Any, Any]:
    if datatype is BYTES:
        array = np.empty(elements, dtype=object)
        array[:] = list(values)
        return array
    wide = np.array(values, dtype=_WIDE.get(datatype.contents, datatype.dtype))
    array = wide.astype(datatype.dtype, copy=False)
    if wide.dtype != array.dtype and (array != wide).any():
        limits = np.iinfo(datatype.dtype)
        raise InvalidError(
            f"{field}.contents.{datatype.contents} has values outside {datatype.name}, expected "
            f"{limits.min} to {limits.max}",
            reason="CONTENTS_INVALID",
            field=f"{field}.contents.{datatype.contents}",
            expected=f"{limits.min} to {limits.max}",
        )
    return array


_WIDE = {"int_contents": np.int32, "uint_contents": np.uint32}
