"""Fresh random weights for a graph that will be trained from the start."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from servemesh.optimizer.adapters.structure.nodes import integer_of
from servemesh.optimizer.adapters.training.trainable import trainable_names

Array = np.ndarray[Any, Any]
_SCALES = {"BatchNormalization", "GroupNormalization", "InstanceNormalization", "LayerNormalization"}
_EMBEDDING_SPREAD = 0.02


def refresh(model: onnx.ModelProto, seed: int) -> None:
    """Draw every weight anew: normal by fan-in (He et al. 2015), scales of norms 1, biases 0."""
    random = np.random.default_rng((seed, 3))
    users = {
        name: (node, place) for node in reversed(model.graph.node) for place, name in enumerate(node.input)
    }
    trained = trainable_names(model.graph)
    for tensor in model.graph.initializer:
        node, place = users.get(tensor.name, (None, 0))
        if node is None or (tensor.name not in trained and node.op_type != "BatchNormalization"):
            continue
        old = numpy_helper.to_array(tensor)
        fresh = _drawn(node, place, old.shape, random).astype(old.dtype)
        tensor.CopyFrom(numpy_helper.from_array(fresh, tensor.name))


def _drawn(node: onnx.NodeProto, place: int, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    if node.op_type in _SCALES:
        return np.ones(shape) if place in (1, 4) else np.zeros(shape)  # 4: the variance of a batch norm
    if node.op_type == "Mul":
        return np.ones(shape)
    if len(shape) < 2 or node.op_type in ("Add", "Sub"):
        return np.zeros(shape)
    if node.op_type == "Gather":
        return random.normal(0, _EMBEDDING_SPREAD, shape)
    return random.normal(0, np.sqrt(2 / _fan_in(node, shape)), shape)


def _fan_in(node: onnx.NodeProto, shape: tuple[int, ...]) -> int:
    if node.op_type == "Conv":
        return max(1, int(np.prod(shape[1:])))
    if node.op_type == "Gemm" and integer_of(node, "transB", 0):
        return shape[1]
    return shape[-2]
