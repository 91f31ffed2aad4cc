"""Weights stored in 16 bits and computed with in 32: a Cast for each, which the runtime does once when it loads."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from servemesh.optimizer.adapters.passes import models

Array = np.ndarray[Any, Any]
ELEMENTS_MIN = 64  # the Cast of a smaller tensor takes more room than it saves


def store(
    model: onnx.ModelProto, rounded: Callable[[Array], Array], suffix: str, nodes_excluded: Collection[str]
) -> tuple[int, int]:
    """Store every float32 weight as `rounded` gives it; return how many there were and how many were stored."""
    kept = {name for node in models.nodes(model) if node.name in nodes_excluded for name in node.input}
    seen = stored = 0
    for graph in models.graphs(model.graph):
        kept_here = kept | {value.name for value in graph.input}
        casts = []
        for tensor in graph.initializer:
            if tensor.data_type != onnx.TensorProto.FLOAT or int(np.prod(tensor.dims)) < ELEMENTS_MIN:
                continue
            seen += 1
            if tensor.name in kept_here:
                continue
            casts.append(_stored(tensor, rounded, suffix))
        stored += len(casts)
        _prepend(graph, casts)
    return seen, stored


def _stored(tensor: onnx.TensorProto, rounded: Callable[[Array], Array], suffix: str) -> onnx.NodeProto:
    name = tensor.name
    small = numpy_helper.from_array(rounded(numpy_helper.to_array(tensor)), f"{name}.{suffix}")
    tensor.CopyFrom(small)
    return onnx.helper.make_node(
        "Cast", [small.name], [name], name=f"{name}.{suffix}.cast", to=onnx.TensorProto.FLOAT
    )


def _prepend(graph: onnx.GraphProto, casts: list[onnx.NodeProto]) -> None:
    if casts:
        models.set_nodes(graph, [*casts, *graph.node])
