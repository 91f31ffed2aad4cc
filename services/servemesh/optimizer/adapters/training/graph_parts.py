"""Parts of a graph: what is needed for some of its outputs."""

from __future__ import annotations

import onnx

_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16)


def learnable_part(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy with only those outputs that hold numbers with a fraction, and what is needed for them."""
    part = onnx.ModelProto()
    part.CopyFrom(model)
    kept = [value for value in model.graph.output if value.type.tensor_type.elem_type in _FLOATS]
    del part.graph.output[:]
    part.graph.output.extend(kept)
    drop_unused(part.graph)
    return part


def drop_unused(graph: onnx.GraphProto) -> None:
    """Take out nodes and initializers that no output needs."""
    needed = {value.name for value in graph.output}
    nodes = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed.update(node.input)
            nodes.append(node)
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    kept = onnx.GraphProto()
    kept.node.extend(reversed(nodes))
    kept.initializer.extend(weights)
    del graph.node[:]
    del graph.initializer[:]
    graph.node.extend(kept.node)
    graph.initializer.extend(kept.initializer)
