"""Tensors as JSON arrays, flat or nested by their shape, and back as flat ones."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from servemesh.errors import InvalidError
from servemesh.tensors import raw
from servemesh.tensors.datatypes import BYTES, Datatype
from servemesh.tensors.shapes import elements_of

BINARY_ONLY = ("FP16", "BF16")
_NUMBERS = frozenset({int, float})
_TYPES_OF = {"BOOL": frozenset({bool}), "FP32": _NUMBERS, "FP64": _NUMBERS, "BYTES": frozenset({str})}
_WHOLE = frozenset({int})
_WORD_OF = {bool: "true or false", int: "whole number", float: "fraction", str: "text", type(None): "null"}
_EXPECTED = {"BOOL": "true and false", "FP32": "numbers", "FP64": "numbers", "BYTES": "texts"}


def encoded(data: list[Any], datatype: Datatype, shape: Sequence[int], field: str) -> bytes:
    """Return the raw bytes of a tensor. InvalidError naming `field` if the values are not such a tensor."""
    if datatype.name in BINARY_ONLY:
        raise _invalid(
            f"{field} cannot carry {datatype.name}: send it as binary tensor data",
            field,
            expected="binary tensor data",
            got=datatype.name,
        )
    elements = elements_of(shape, field.replace(".data", ".shape"))
    values = _flattened(data, shape, field)
    if len(values) != elements:
        raise _invalid(
            f"{field} has {len(values)} values, expected {elements} for shape {list(shape)}",
            field,
            expected=elements,
            got=len(values),
        )
    _check_types(values, datatype, field)
    if datatype is BYTES:
        return raw.encode(np.array([value.encode() for value in values], dtype=object))
    return _array(values, datatype, field).tobytes()


def decoded(
    data: bytes, datatype: Datatype, shape: Sequence[int], name: str
) -> np.ndarray[Any, Any] | list[str]:
    """Return the elements in row-major order as JSON can say them.

    InvalidError for what it cannot: FP16 and BF16, NaN and infinities, BYTES that are no UTF-8 text.
    """
    if datatype.name in BINARY_ONLY:
        raise _needs_binary(name, f"is {datatype.name}, which is sent as binary tensor data only")
    array = raw.decode(data, datatype, shape, f"outputs.{name}").reshape(-1)
    if datatype is BYTES:
        try:
            return [element.decode() for element in array]
        except UnicodeDecodeError:
            raise _needs_binary(name, "has bytes that are no UTF-8 text") from None
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise _needs_binary(name, "has NaN or infinities, for which JSON has no word")
    return array


def _flattened(values: list[Any], shape: Sequence[int], field: str) -> list[Any]:
    """Return the leaves, row-major. Nested arrays must nest as `shape` says."""
    lengths = [len(values)]
    while values and type(values[0]) is list:
        lists = set(map(type, values)) == {list}
        inner = set(map(len, values)) if lists else set()
        if len(inner) != 1:
            raise _misnested(field, shape)
        lengths += inner
        values = list(chain.from_iterable(values))
    is_whole = len(lengths) == len(shape) or not values
    if len(lengths) > 1 and not (is_whole and lengths == list(shape)[: len(lengths)]):
        raise _misnested(field, shape)
    return values


def _check_types(values: list[Any], datatype: Datatype, field: str) -> None:
    allowed = _TYPES_OF.get(datatype.name, _WHOLE)
    strange = set(map(type, values)) - allowed
    if strange:
        index = next(index for index, value in enumerate(values) if type(value) not in allowed)
        word = _WORD_OF.get(type(values[index]), "array or object")
        expected = _EXPECTED.get(datatype.name, "whole numbers")
        raise _invalid(
            f"{field} has a {word} at index {index}, expected {expected} for {datatype.name}",
            field,
            expected=expected,
            got=word,
        )


def _array(values: list[Any], datatype: Datatype, field: str) -> np.ndarray[Any, Any]:
    try:
        with np.errstate(over="ignore"):
            array = np.array(values, dtype=datatype.dtype)
    except OverflowError:
        array = None
    if array is None or (datatype.dtype.kind == "f" and not np.isfinite(array).all()):
        limits = np.finfo(datatype.dtype) if datatype.dtype.kind == "f" else np.iinfo(datatype.dtype)
        raise _invalid(
            f"{field} has values outside {datatype.name}, expected {limits.min} to {limits.max}",
            field,
            expected=f"{limits.min} to {limits.max}",
        ) from None
    return array


def _needs_binary(name: str, why: str) -> InvalidError:
    return InvalidError(
        f"output {name!r} {why}: ask for it with the output parameter binary_data, or for all with the "
        "request parameter binary_data_output",
        reason="OUTPUT_NEEDS_BINARY",
        field=f"outputs.{name}",
        expected="binary_data",
    )


def _misnested(field: str, shape: Sequence[int]) -> InvalidError:
    expected = f"a flat array, or one nested as shape {list(shape)}"
    return _invalid(f"{field} is nested otherwise, expected {expected}", field, expected=expected)


def _invalid(message: str, field: str, **metadata: object) -> InvalidError:
    return InvalidError(message, reason="CONTENTS_INVALID", field=field, **metadata)
