"""Which constants of a graph are weights that training may change."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16)
_MASK_LEAST = 1e4  # an attention mask holds huge negative numbers; no weight does

# Inputs by operator that take weights of any size ...
_WEIGHTS = {
    "BatchNormalization": (1, 2),
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Einsum": (0, 1),
    "Gather": (0,),
    "Gemm": (0, 1, 2),
    "GroupNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "MatMul": (0, 1),
    "PRelu": (1,),
    "RMSNormalization": (1,),
    "Identity": (0,),
    "Reshape": (0,),
    "Squeeze": (0,),
    "Transpose": (0,),
    "Unsqueeze": (0,),
}
# ... and those where a single number is rather a constant of the formula.
_VECTORS = {"Add": (0, 1), "Mul": (0, 1), "Sub": (0, 1)}


def trainable_names(graph: onnx.GraphProto) -> set[str]:
    """Return the initializers that are weights in all their uses."""
    sizes = {
        tensor.name: int(np.prod(tensor.dims)) for tensor in graph.initializer if tensor.data_type in _FLOATS
    }
    weights: set[str] = set()
    others: set[str] = {value.name for value in graph.output}
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name in sizes:
                vector = sizes[name] > 1 and place in _VECTORS.get(node.op_type, ())
                taken = vector or place in _WEIGHTS.get(node.op_type, ())
                (weights if taken else others).add(name)
    return {
        tensor.name
        for tensor in graph.initializer
        if tensor.name in weights - others and not _is_mask(tensor)
    }


def _is_mask(tensor: onnx.TensorProto) -> bool:
    values = numpy_helper.to_array(tensor)
    return bool(values.size == 0 or not np.all(np.abs(values) < _MASK_LEAST))
