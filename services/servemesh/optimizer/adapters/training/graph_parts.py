"""Parts of a graph: what is needed for some of its outputs, and what is left beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx
from onnx import helper

_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """What only outputs need that cannot be learned, such as the names of classes; and all outputs."""

    nodes: Sequence[onnx.NodeProto]
    weights: Sequence[onnx.TensorProto]
    outputs: Sequence[onnx.ValueInfoProto]


def set_aside(model: onnx.ModelProto) -> tuple[onnx.ModelProto, Rest]:
    """Return the part of a readable model that can be learned, and the rest. What the rest looks at is an output of
    the part, so that nobody changes its shape."""
    part = learnable_part(model)
    made = {name for node in part.graph.node for name in node.output}
    known = {tensor.name for tensor in part.graph.initializer}
    nodes = [node for node in model.graph.node if not made & set(node.output)]
    weights = [tensor for tensor in model.graph.initializer if tensor.name not in known]
    outputs = {value.name for value in part.graph.output}
    borrowed = sorted({name for node in nodes for name in node.input} & (made | known) - outputs)
    part.graph.output.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, []) for name in borrowed
    )
    return part, Rest(nodes=nodes, weights=weights, outputs=list(model.graph.output))


def joined(part: onnx.ModelProto, rest: Rest) -> onnx.ModelProto:
    """Return a part, as it is now, with what was set aside."""
    whole = onnx.ModelProto()
    whole.CopyFrom(part)
    whole.graph.node.extend(rest.nodes)
    whole.graph.initializer.extend(rest.weights)
    del whole.graph.output[:]
    whole.graph.output.extend(rest.outputs)
    return whole


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
