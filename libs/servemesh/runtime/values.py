"""What goes into a session and comes out of it: names, datatypes, text and bfloat16."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as failures

from servemesh.errors import InvalidError, OverloadedError, ServemeshError
from servemesh.runtime.reasons import reason_of
from servemesh.runtime.sessions import NO_MEMORY

Array = np.ndarray[Any, Any]
# Outputs by name, inputs by name and the options of the run, in the order of onnxruntime.
Run = Callable[[Sequence[str], Mapping[str, Array], Any], list[Array]]

ANY_SIZE = -1
DATATYPE_OF = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(bfloat16)": "BF16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}
BFLOAT16 = 16  # TensorProto.DataType of bfloat16, which numpy has no type for


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueSpec:
    """Name, OIP datatype and dimensions of an input or output; ANY_SIZE where the model takes any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]


def specs_of(values: Sequence[Any]) -> tuple[ValueSpec, ...]:
    """Return what `get_inputs` or `get_outputs` of a session say; InvalidError for what OIP cannot carry."""
    return tuple(map(_spec, values))


def runner(session: ort.InferenceSession, specs: Sequence[ValueSpec]) -> Run:
    """Return what runs `session` on arrays; `specs` are all of its inputs and outputs."""
    if all(spec.datatype != "BF16" for spec in specs):
        run: Run = session.run
        return run

    def run_values(outputs: Sequence[str], inputs: Mapping[str, Array], options: Any) -> list[Array]:
        values = {name: _value(array) for name, array in inputs.items()}
        return [_array(value) for value in session.run_with_ort_values(outputs, values, options)]

    return run_values


def as_text(name: str, array: Array) -> Array:
    """Return the elements of BYTES as the text that onnxruntime takes; InvalidError where one is not UTF-8."""
    try:
        texts = [element.decode() if isinstance(element, bytes) else element for element in array.ravel()]
    except UnicodeDecodeError as error:
        raise InvalidError(
            f"inputs.{name} has an element that is not UTF-8, which is all that text in a model can be",
            reason="CONTENTS_INVALID",
            field=f"inputs.{name}",
            expected="UTF-8",
        ) from error
    decoded = np.empty(len(texts), dtype=object)
    decoded[:] = texts
    return decoded.reshape(array.shape)


def failure_of_run(error: Exception) -> ServemeshError:
    """Return what a caller is told of an error that a run raised."""
    if isinstance(error, ServemeshError):
        return error
    cause = reason_of(error) or type(error).__name__
    if isinstance(error, failures.InvalidArgument):
        return InvalidError(
            f"the model refuses the values of its inputs: {cause}",
            reason="VALUES_REFUSED",
            field="inputs",
            cause=cause,
        )
    if isinstance(error, MemoryError) or NO_MEMORY.search(str(error)):
        return OverloadedError("the model ran out of memory on these inputs", reason="MODEL_OUT_OF_MEMORY")
    return ServemeshError(
        f"the model failed on these inputs: {cause}", reason="MODEL_RUN_FAILED", cause=cause
    )


def _spec(value: Any) -> ValueSpec:
    datatype = DATATYPE_OF.get(value.type)
    if datatype is None:
        raise InvalidError(
            f"{value.name} is a {value.type}, which the protocol cannot carry",
            reason="MODEL_UNSUPPORTED",
            field=value.name,
            expected="a tensor",
            got=value.type,
        )
    shape = tuple(size if isinstance(size, int) and size >= 0 else ANY_SIZE for size in value.shape)
    return ValueSpec(name=value.name, datatype=datatype, shape=shape)


def _value(array: Array) -> Any:
    if array.dtype == ml_dtypes.bfloat16:
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array.view(np.uint16), BFLOAT16)
    return ort.OrtValue.ortvalue_from_numpy(array)


def _array(value: Any) -> Array:
    if value.data_type() != "tensor(bfloat16)":
        array: Array = value.numpy()
        return array
    raw = value._ortvalue
    data = ctypes.string_at(raw.data_ptr(), raw.tensor_size_in_bytes()) if 0 not in value.shape() else b""
    return np.frombuffer(data, ml_dtypes.bfloat16).reshape(value.shape())
