"""Takes elements of axes out of a graph: weights get smaller, and nodes that know sizes are told the new ones."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from servemesh.optimizer.adapters.structure import reshaping
from servemesh.optimizer.adapters.structure.coupling import Coupling
from servemesh.optimizer.adapters.structure.nodes import integer_of, without_attributes
from servemesh.optimizer.adapters.structure.shapes import Shapes
from servemesh.optimizer.adapters.training.graph_parts import drop_unused


def without(
    model: onnx.ModelProto, shapes: Shapes, coupling: Coupling, removed: np.ndarray
) -> onnx.ModelProto:
    """Return a copy of a readable model without the elements of `removed`, checked."""
    smaller = onnx.ModelProto()
    smaller.CopyFrom(model)
    sizes = {
        name: tuple(
            size - int(removed[coupling.elements((name, axis))].sum()) for axis, size in enumerate(shape)
        )
        for name, shape in shapes.sizes.items()
    }
    for tensor in smaller.graph.initializer:
        if sizes[tensor.name] != tuple(tensor.dims):
            _shrink(tensor, coupling, removed)
    for node in list(smaller.graph.node):
        if any(sizes[name] != shapes.of(name) for name in (*node.input, *node.output) if name in sizes):
            _resize(node, smaller.graph, shapes, sizes)
    drop_unused(smaller.graph)
    del smaller.graph.value_info[:]
    onnx.checker.check_model(smaller)
    return smaller


def _shrink(tensor: onnx.TensorProto, coupling: Coupling, removed: np.ndarray) -> None:
    array = numpy_helper.to_array(tensor)
    for axis in range(array.ndim):
        kept = np.flatnonzero(~removed[coupling.elements((tensor.name, axis))])
        array = np.take(array, kept, axis)
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))


def _resize(
    node: onnx.NodeProto, graph: onnx.GraphProto, shapes: Shapes, sizes: dict[str, tuple[int, ...]]
) -> None:
    """Tell a node the new sizes, if it knows the old ones."""
    if node.op_type == "Conv" and integer_of(node, "group", 1) > 1:
        without_attributes(node, "group")
        node.attribute.append(helper.make_attribute("group", sizes[node.input[0]][1]))
    elif node.op_type == "Reshape":
        without_attributes(node, "allowzero")
        _set_integers(node, 1, reshaping.target_of(node, shapes, sizes) or [], graph)
    elif node.op_type == "Split":
        axis = integer_of(node, "axis", 0)
        without_attributes(node, "num_outputs", "split")
        _set_integers(node, 1, [sizes[name][axis] for name in node.output], graph)


def _set_integers(node: onnx.NodeProto, place: int, values: list[int], graph: onnx.GraphProto) -> None:
    """Give a node a constant input of its own."""
    name = f"{node.output[0]}_sizes"
    graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
    while len(node.input) <= place:
        node.input.append("")
    node.input[place] = name
