"""What a model's file says without being run: its size, how many weights are zero, which ids it can look up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

# Operators whose weight has a zero point: where the weight and the zero point stand among the inputs. A weight that
# is its zero point is zero.
_ZERO_POINTS = {
    "DequantizeLinear": ((0, 2),),
    "MatMulInteger": ((0, 2), (1, 3)),
    "ConvInteger": ((1, 3),),
    "QLinearMatMul": ((3, 5),),
    "QLinearConv": ((3, 5),),
    "MatMulIntegerToFloat": ((1, 5),),
    "DynamicQuantizeMatMul": ((1, 3),),
}
# Where the table and the ids that look things up in it stand among the inputs.
_TABLES = {"Gather": ((0, 1),), "EmbedLayerNormalization": ((2, 0), (4, 1))}
_LEAVES_VALUES = ("Cast", "Identity", "Reshape", "Unsqueeze", "Squeeze", "Flatten", "DequantizeLinear")
_INDEX_TYPES = (onnx.TensorProto.INT64, onnx.TensorProto.BOOL, onnx.TensorProto.STRING)


def size_bytes(path: Path) -> int:
    """Return the bytes of the model's file and of the files that hold its weights."""
    model = onnx.load(path, load_external_data=False)
    beside = {
        ExternalDataInfo(tensor).location
        for tensor in _initializers(model.graph)
        if uses_external_data(tensor)
    }
    return path.stat().st_size + sum((path.parent / location).stat().st_size for location in beside)


def sparsity(path: Path) -> float:
    """Return the share of weights that are zero: of initializers with two axes or more that are no indices.

    Weights of trees and SVMs are attributes, and count as none.
    """
    model = onnx.load(path, load_external_data=False)
    zero_points = _zero_points(model.graph, path.parent)
    zeros = total = 0
    for tensor in _initializers(model.graph):
        if len(tensor.dims) < 2 or tensor.data_type in _INDEX_TYPES:
            continue
        array = numpy_helper.to_array(tensor, str(path.parent))
        zeros += int((array == _alongside(zero_points.get(tensor.name), array)).sum())
        total += array.size
    return zeros / total if total else 0.0


def ids_ends(path: Path) -> dict[str, int]:
    """Return for each input that looks up rows of a table how many rows there are: its values must be below."""
    graph = onnx.load(path, load_external_data=False).graph
    tables = {tensor.name: int(tensor.dims[0]) for tensor in graph.initializer if len(tensor.dims) >= 1}
    sources = {
        node.output[0]: node.input[0] for node in graph.node if node.op_type in _LEAVES_VALUES and node.input
    }
    inputs = {value.name for value in graph.input} - tables.keys()
    ends: dict[str, int] = {}
    for node in graph.node:
        for table_at, ids_at in _TABLES.get(node.op_type, ()):
            if len(node.input) <= max(table_at, ids_at) or _axis(node) != 0:
                continue
            rows = tables.get(_traced(node.input[table_at], sources))
            name = _traced(node.input[ids_at], sources)
            if rows is not None and name in inputs:
                ends[name] = min(rows, ends.get(name, rows))
    return ends


def _initializers(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _initializers(attribute.g)


def _zero_points(graph: onnx.GraphProto, folder: Path) -> Mapping[str, np.ndarray]:
    by_name = {tensor.name: tensor for tensor in graph.initializer}
    found = {}
    for node in graph.node:
        for weight_at, zero_at in _ZERO_POINTS.get(node.op_type, ()):
            if (
                len(node.input) > zero_at
                and node.input[weight_at] in by_name
                and node.input[zero_at] in by_name
            ):
                found[node.input[weight_at]] = numpy_helper.to_array(
                    by_name[node.input[zero_at]], str(folder)
                )
    return found


def _alongside(zero_point: np.ndarray | None, array: np.ndarray) -> np.ndarray | int:
    """Return the zero point so that it can be held against the weights: one for all, or one per channel."""
    if zero_point is None:
        return 0
    if zero_point.size == 1:
        return zero_point.reshape(())
    axis = next((axis for axis, size in enumerate(array.shape) if size == zero_point.size), None)
    if axis is None:
        return 0
    return zero_point.reshape([-1 if each == axis else 1 for each in range(array.ndim)])


def _axis(node: onnx.NodeProto) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)


def _traced(name: str, sources: Mapping[str, str]) -> str:
    while name in sources:
        name = sources[name]
    return name
