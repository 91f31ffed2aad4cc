"""The inputs of an ONNX graph, as the columns of a Dataset are matched to them."""

from __future__ import annotations

import onnx

from servemesh.runtime.values import ANY_SIZE, ValueSpec
from servemesh.tensors.datatypes import DATATYPES

_BYTES = "BYTES"


def model_inputs(model: onnx.ModelProto) -> tuple[ValueSpec, ...]:
    """Return what a caller must feed, in order."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return tuple(_input(value) for value in model.graph.input if value.name not in constants)


def fixed_rows(model: onnx.ModelProto) -> int | None:
    """Return the rows that the model takes at once, if it takes no other number."""
    first = model_inputs(model)[0]
    return first.shape[0] if first.shape and first.shape[0] > 0 else None


def _input(value: onnx.ValueInfoProto) -> ValueSpec:
    kind = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    datatype = next((name for name, known in DATATYPES.items() if known.dtype == dtype), _BYTES)
    shape = tuple(size.dim_value if size.dim_value > 0 else ANY_SIZE for size in kind.shape.dim)
    return ValueSpec(name=value.name, datatype=datatype, shape=shape)
