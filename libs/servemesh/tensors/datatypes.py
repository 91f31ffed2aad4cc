"""The datatypes of the Open Inference Protocol, and what each is in numpy, in typed contents and in ModelConfig."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from servemesh.errors import InvalidError


@dataclass(frozen=True, slots=True, kw_only=True)
class Datatype:
    """One datatype. BYTES has elements of any length: numpy objects of type bytes, `size_bytes` 0.

    `contents` is the list of InferTensorContents that carries it; empty where it travels only raw.
    """

    name: str
    dtype: np.dtype[Any]
    size_bytes: int
    contents: str
    config_name: str


def _numeric(name: str, scalar: type, contents: str, config_name: str = "") -> Datatype:
    dtype = np.dtype(scalar).newbyteorder("<") if scalar is not ml_dtypes.bfloat16 else np.dtype(scalar)
    return Datatype(
        name=name,
        dtype=dtype,
        size_bytes=dtype.itemsize,
        contents=contents,
        config_name=config_name or f"TYPE_{name}",
    )


BYTES = Datatype(
    name="BYTES",
    dtype=np.dtype(object),
    size_bytes=0,
    contents="bytes_contents",
    config_name="TYPE_STRING",
)

DATATYPES = {
    datatype.name: datatype
    for datatype in (
        _numeric("BOOL", np.bool_, "bool_contents"),
        _numeric("UINT8", np.uint8, "uint_contents"),
        _numeric("UINT16", np.uint16, "uint_contents"),
        _numeric("UINT32", np.uint32, "uint_contents"),
        _numeric("UINT64", np.uint64, "uint64_contents"),
        _numeric("INT8", np.int8, "int_contents"),
        _numeric("INT16", np.int16, "int_contents"),
        _numeric("INT32", np.int32, "int_contents"),
        _numeric("INT64", np.int64, "int64_contents"),
        _numeric("FP16", np.float16, ""),
        _numeric("BF16", ml_dtypes.bfloat16, ""),
        _numeric("FP32", np.float32, "fp32_contents"),
        _numeric("FP64", np.float64, "fp64_contents"),
        BYTES,
    )
}

_BY_DTYPE = {datatype.dtype: datatype for datatype in DATATYPES.values()}


def named(name: str, field: str = "datatype") -> Datatype:
    """Return the datatype of that name; InvalidError if there is none."""
    datatype = DATATYPES.get(name)
    if datatype is None:
        raise InvalidError(
            f"{field} is {name[:64]!r}, expected one of {', '.join(DATATYPES)}",
            reason="DATATYPE_UNKNOWN",
            field=field,
            expected=", ".join(DATATYPES),
            got=name[:64],
        )
    return datatype


def of_array(array: np.ndarray[Any, Any]) -> Datatype:
    """Return the datatype that carries an array; arrays of text and bytes are BYTES.

    InvalidError for what the protocol has no datatype for, such as complex numbers and dates.
    """
    if array.dtype.kind in "SUOT":
        return BYTES
    datatype = _BY_DTYPE.get(array.dtype.newbyteorder("<") if array.dtype.kind in "iuf" else array.dtype)
    if datatype is None:
        raise InvalidError(
            f"arrays of {array.dtype} cannot be sent, expected one of {', '.join(DATATYPES)}",
            reason="DATATYPE_UNKNOWN",
            field="dtype",
            expected=", ".join(DATATYPES),
            got=array.dtype,
        )
    return datatype
