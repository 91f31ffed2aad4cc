"""How each operator ties the axes of its inputs, outputs and weights. What has no rule stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx
from onnx import helper, numpy_helper

from servemesh.optimizer.adapters.structure import reshaping
from servemesh.optimizer.adapters.structure.coupling import Coupling
from servemesh.optimizer.adapters.structure.nodes import integer_of, integers_of
from servemesh.optimizer.adapters.structure.shapes import Shapes
from servemesh.optimizer.adapters.training.operators import elementwise, reducing

Rule = Callable[[onnx.NodeProto, Coupling], None]

_INTEGERS = (onnx.TensorProto.INT32, onnx.TensorProto.INT64)
_LIST_MAX = 16


def coupled(model: onnx.ModelProto, shapes: Shapes) -> Coupling:
    """Return the coupling of a readable model. Inputs and outputs of the model stay as they are."""
    coupling = Coupling(shapes.sizes, _integers(model))
    for value in (*model.graph.input, *model.graph.output):
        coupling.freeze_all(value.name)
    for node in model.graph.node:
        if node.op_type == "Reshape" and reshaping.target_of(node, shapes, shapes.sizes) is None:
            _frozen(node, coupling)
        else:
            RULES.get(node.op_type, _frozen)(node, coupling)
    return coupling


def _integers(model: onnx.ModelProto) -> dict[str, list[int]]:
    return {
        tensor.name: [int(value) for value in numpy_helper.to_array(tensor).reshape(-1)]
        for tensor in model.graph.initializer
        if tensor.data_type in _INTEGERS and len(tensor.dims) <= 1 and sum(tensor.dims) <= _LIST_MAX
    }


def _frozen(node: onnx.NodeProto, coupling: Coupling) -> None:
    for name in (*node.input, *node.output):
        coupling.freeze_all(name)


def _ignored(node: onnx.NodeProto, coupling: Coupling) -> None:
    """Shapes are computed when the model runs; they follow what is removed."""
    coupling.freeze_all(node.output[0])


def _broadcast(node: onnx.NodeProto, coupling: Coupling) -> None:
    for name in filter(None, node.input):
        _tie_broadcast(name, node.output[0], coupling)


def _tie_broadcast(name: str, output: str, coupling: Coupling) -> None:
    shape, whole = coupling.sizes[name], coupling.sizes[output]
    for axis, size in enumerate(shape):
        target = axis + len(whole) - len(shape)
        if size == whole[target]:
            coupling.tie((name, axis), (output, target))
        else:
            coupling.freeze((name, axis))


def _same_axes(node: onnx.NodeProto, coupling: Coupling) -> None:
    """Axes that keep their size go through; the others stay as they are."""
    source, target = node.input[0], node.output[0]
    for axis, size in enumerate(coupling.sizes[source]):
        if axis < len(coupling.sizes[target]) and coupling.sizes[target][axis] == size:
            coupling.tie((source, axis), (target, axis))
        else:
            coupling.freeze((source, axis))
            if axis < len(coupling.sizes[target]):
                coupling.freeze((target, axis))


def _pool(node: onnx.NodeProto, coupling: Coupling) -> None:
    source, target = node.input[0], node.output[0]
    for axis in range(len(coupling.sizes[source])):
        if axis < 2:
            coupling.tie((source, axis), (target, axis))
        else:
            coupling.freeze((source, axis))
            coupling.freeze((target, axis))


def _slice(node: onnx.NodeProto, coupling: Coupling) -> None:
    steps = integers_of(node, 4, "steps", coupling.integers)
    unknown = steps is None and len(node.input) > 4
    if unknown or any(step < 1 for step in steps or ()):  # a negative step would turn the axis round
        _frozen(node, coupling)
    else:
        _same_axes(node, coupling)


def _batch_normalisation(node: onnx.NodeProto, coupling: Coupling) -> None:
    _same_axes(node, coupling)
    for name in node.input[1:]:
        coupling.tie((name, 0), (node.input[0], 1))


def _normalised_from(default: int) -> Rule:
    def rule(node: onnx.NodeProto, coupling: Coupling) -> None:
        _same_axes(node, coupling)
        rank = len(coupling.sizes[node.input[0]])
        for axis in range(integer_of(node, "axis", default) % rank, rank):
            coupling.freeze((node.input[0], axis))
        for name in filter(None, node.input[1:]):
            coupling.freeze_all(name)

    return rule


def _conv(node: onnx.NodeProto, coupling: Coupling) -> None:
    source, weight, target = node.input[0], node.input[1], node.output[0]
    groups, channels = integer_of(node, "group", 1), coupling.sizes[source][1]
    filters = coupling.sizes[weight][0]
    _pool_like(source, target, coupling)
    for axis in range(2, len(coupling.sizes[weight])):
        coupling.freeze((weight, axis))
    coupling.tie((weight, 0), (target, 1))
    for name in filter(None, node.input[2:]):
        coupling.tie((name, 0), (target, 1))
    if groups == 1:
        coupling.tie((weight, 1), (source, 1))
    elif groups == channels and filters % channels == 0:
        coupling.tie_blocks((target, 1), (source, 1))
        coupling.freeze((weight, 1))
    else:
        coupling.freeze((source, 1))
        coupling.freeze_all(weight)


def _conv_transpose(node: onnx.NodeProto, coupling: Coupling) -> None:
    if integer_of(node, "group", 1) != 1:
        _frozen(node, coupling)
        return
    source, weight, target = node.input[0], node.input[1], node.output[0]
    _pool_like(source, target, coupling)
    for axis in range(2, len(coupling.sizes[weight])):
        coupling.freeze((weight, axis))
    coupling.tie((weight, 0), (source, 1))
    coupling.tie((weight, 1), (target, 1))
    for name in filter(None, node.input[2:]):
        coupling.tie((name, 0), (target, 1))


def _pool_like(source: str, target: str, coupling: Coupling) -> None:
    coupling.tie((source, 0), (target, 0))
    for axis in range(2, len(coupling.sizes[source])):
        coupling.freeze((source, axis))
        coupling.freeze((target, axis))


def _gemm(node: onnx.NodeProto, coupling: Coupling) -> None:
    left, right, target = node.input[0], node.input[1], node.output[0]
    turned_left, turned_right = integer_of(node, "transA", 0), integer_of(node, "transB", 0)
    coupling.tie((left, 1 if turned_left else 0), (target, 0))
    coupling.tie((left, 0 if turned_left else 1), (right, 1 if turned_right else 0))
    coupling.tie((right, 0 if turned_right else 1), (target, 1))
    for name in filter(None, node.input[2:]):
        _tie_broadcast(name, target, coupling)


def _mat_mul(node: onnx.NodeProto, coupling: Coupling) -> None:
    left, right, target = node.input[0], node.input[1], node.output[0]
    left_rank, right_rank = len(coupling.sizes[left]), len(coupling.sizes[right])
    if min(left_rank, right_rank) < 2:
        _frozen(node, coupling)
        return
    rank = len(coupling.sizes[target])
    coupling.tie((left, left_rank - 1), (right, right_rank - 2))
    coupling.tie((left, left_rank - 2), (target, rank - 2))
    coupling.tie((right, right_rank - 1), (target, rank - 1))
    for name, own in ((left, left_rank), (right, right_rank)):
        for axis in range(own - 2):
            place = axis + rank - own
            if coupling.sizes[name][axis] == coupling.sizes[target][place]:
                coupling.tie((name, axis), (target, place))
            else:
                coupling.freeze((name, axis))


def _transpose(node: onnx.NodeProto, coupling: Coupling) -> None:
    rank = len(coupling.sizes[node.input[0]])
    order = next(
        (list(helper.get_attribute_value(item)) for item in node.attribute if item.name == "perm"),
        list(range(rank))[::-1],
    )
    for place, axis in enumerate(order):
        coupling.tie((node.input[0], axis), (node.output[0], place))


def _gather(node: onnx.NodeProto, coupling: Coupling) -> None:
    source, index, target = node.input[0], node.input[1], node.output[0]
    rank, picked = len(coupling.sizes[source]), len(coupling.sizes[index])
    gathered = integer_of(node, "axis", 0) % rank
    coupling.freeze((source, gathered))
    coupling.freeze_all(index)
    for axis in range(rank):
        if axis != gathered:
            coupling.tie((source, axis), (target, axis if axis < gathered else axis + picked - 1))
    for axis in range(picked):
        coupling.freeze((target, gathered + axis))


def _reduce(node: onnx.NodeProto, coupling: Coupling) -> None:
    axes = integers_of(node, 1, "axes", coupling.integers)
    if integer_of(node, "keepdims", 1):
        _same_axes(node, coupling)
    elif axes is None:
        _frozen(node, coupling)
    else:
        source, target = node.input[0], node.output[0]
        rank = len(coupling.sizes[source])
        gone = {axis % rank for axis in axes}
        for axis in gone:
            coupling.freeze((source, axis))
        for place, axis in enumerate(axis for axis in range(rank) if axis not in gone):
            coupling.tie((source, axis), (target, place))


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(elementwise.TABLE, _broadcast),
    **dict.fromkeys(reducing.TABLE, _reduce),
    **dict.fromkeys(("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"), _pool),
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), reshaping.tie_reshaped),
    **dict.fromkeys(("ConstantOfShape", "Range", "Shape", "Size"), _ignored),
    **dict.fromkeys(("Dropout", "Pad"), _same_axes),
    "BatchNormalization": _batch_normalisation,
    "Concat": reshaping.tie_concat,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gather": _gather,
    "Gemm": _gemm,
    "InstanceNormalization": _batch_normalisation,
    "LayerNormalization": _normalised_from(-1),
    "LogSoftmax": _normalised_from(-1),
    "MatMul": _mat_mul,
    "RMSNormalization": _normalised_from(-1),
    "Slice": _slice,
    "Softmax": _normalised_from(-1),
    "Split": reshaping.tie_split,
    "Transpose": _transpose,
}
