"""fp16: weights, and computation if wanted, in float16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.transformers import float16

from servemesh.optimizer.adapters.passes import models, storing
from servemesh.optimizer.adapters.passes.context import PassContext
from servemesh.optimizer.adapters.passes.faults import translating
from servemesh.optimizer.domain.passes.graphs import Fp16Parameters

PASS = "fp16"
Array = np.ndarray[Any, Any]
LARGEST = float(np.finfo(np.float16).max)


def apply(source: Path, target: Path, parameters: Fp16Parameters, context: PassContext) -> list[str]:
    """Write the model with weights of 16 bits."""
    model = models.read(source)
    clipped = _beyond(model)
    notes = [f"{clipped} weights were beyond {LARGEST:g} and were clipped."] if clipped else []
    if parameters.compute == "float32":
        seen, stored = storing.store(model, _rounded, "fp16", parameters.nodes_excluded)
        if not stored:
            raise _nothing(seen)
        models.write(model, target, models.read(source))
        return [f"{stored} of {seen} weights are stored as float16; computation stays in float32.", *notes]
    if not models.weights(model):
        raise _nothing(0)
    before = _halves(model)
    excluded = [*float16.DEFAULT_OP_BLOCK_LIST, *parameters.op_types_excluded]
    like = models.read(source)
    with translating(PASS, "onnxruntime.transformers.float16", [node.name for node in models.nodes(model)]):
        made = float16.convert_float_to_float16(
            model,
            keep_io_types=True,
            op_block_list=excluded,
            node_block_list=list(parameters.nodes_excluded),
            disable_shape_infer=models.weights_bytes(model) >= models.EXTERNAL_FROM_BYTES,
        )
    count = _halves(made) - before
    if not count:
        raise _nothing(len(models.weights(like)))
    models.name_nodes(made)
    for graph in models.graphs(made.graph):
        models.sort_nodes(graph)
    models.write(made, target, like)
    return [
        f"{count} weights are float16, and so is what is computed with them.",
        "Where the processor has no float16 arithmetic, onnxruntime computes in float32 and converts at each step.",
        *notes,
    ]


def _rounded(values: Array) -> Array:
    return np.clip(values, -LARGEST, LARGEST).astype(np.float16)


def _halves(model: onnx.ModelProto) -> int:
    tensors = (tensor for graph in models.graphs(model.graph) for tensor in graph.initializer)
    return sum(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in tensors)


def _beyond(model: onnx.ModelProto) -> int:
    arrays = map(onnx.numpy_helper.to_array, models.weights(model).values())
    return sum(int((np.isfinite(array) & (np.abs(array) > LARGEST)).sum()) for array in arrays)


def _nothing(seen: int) -> Exception:
    why = "all of its float32 weights are excluded or small" if seen else "it has no float32 weights"
    return models.does_not_apply(PASS, why, "forests and support vector machines have passes of their own")
