"""weight_only: weights of matrix products as int4 or int8 in blocks, for MatMulNBits of onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.passes import models
from servemesh.optimizer.adapters.passes.context import PassContext
from servemesh.optimizer.domain.passes.quantizing import WeightOnlyParameters

PASS = "weight_only"
DOMAIN = "com.microsoft"
Array = np.ndarray[Any, Any]


def apply(source: Path, target: Path, parameters: WeightOnlyParameters, context: PassContext) -> list[str]:
    """Write the model with weights in blocks."""
    _check(parameters)
    model, like = models.read(source), models.read(source)
    weights = models.weights(model)
    made: list[onnx.NodeProto] = []
    count = 0
    for node in model.graph.node:
        blocked = node.op_type in parameters.op_types and node.name not in parameters.nodes_excluded
        replaced = _replaced(model.graph, node, weights, parameters) if blocked else None
        count += replaced is not None
        made += replaced or [node]
    if not count:
        raise models.does_not_apply(
            PASS,
            f"it has no product with, or table of, a constant matrix of at least {parameters.block_size} rows",
            "use int8_static for convolutions, or a smaller block_size",
        )
    models.set_nodes(model.graph, made)
    models.import_domain(model, DOMAIN, 1)
    models.forget_unread(model)
    models.write(model, target, like)
    return [f"The weights of {count} nodes are int{parameters.bits} in blocks of {parameters.block_size}."]


def _check(parameters: WeightOnlyParameters) -> None:
    wrong = None
    if parameters.bits not in (4, 8):
        wrong = ("bits", "4 or 8", parameters.bits)
    elif parameters.block_size & (parameters.block_size - 1):
        wrong = ("block_size", "a power of two", parameters.block_size)
    if wrong:
        field, expected, got = wrong
        raise InvalidError(
            f"parameter {field!r} of pass {PASS} must be {expected}; got {got}",
            reason="PASS_PARAMETER_INVALID",
            field=field,
            expected=expected,
            got=got,
            **{"pass": PASS},
        )


def _replaced(
    graph: onnx.GraphProto,
    node: onnx.NodeProto,
    weights: dict[str, onnx.TensorProto],
    parameters: WeightOnlyParameters,
) -> list[onnx.NodeProto] | None:
    """Return the nodes that do with blocks what `node` does; None if it has no matrix that is large enough."""
    if node.op_type == "Gather":
        return _table_in_blocks(graph, node, weights, parameters)
    matrix = _matrix(node, weights)
    if matrix is None or matrix.shape[0] < parameters.block_size:
        return None
    return _in_blocks(graph, node, matrix, parameters)


def _table_in_blocks(
    graph: onnx.GraphProto,
    node: onnx.NodeProto,
    weights: dict[str, onnx.TensorProto],
    parameters: WeightOnlyParameters,
) -> list[onnx.NodeProto] | None:
    """Return the look-up of a table of embeddings whose rows are in blocks."""
    tensor = weights.get(node.input[0])
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
    if tensor is None or len(tensor.dims) != 2 or axis or tensor.dims[1] % parameters.block_size:
        return None
    packed, scales, zeros = blocks(
        numpy_helper.to_array(tensor).T, parameters.bits, parameters.block_size, parameters.symmetric
    )
    parts = {"blocks": packed.reshape(len(packed), -1), "scales": scales}
    if zeros is not None:
        parts["zeros"] = zeros
    names = {part: f"{tensor.name}.{part}" for part in parts}
    have = {each.name for each in graph.initializer}
    graph.initializer.extend(
        numpy_helper.from_array(array, names[part])
        for part, array in parts.items()
        if names[part] not in have
    )
    rest = [names[part] for part in ("scales", "zeros") if part in names]
    return [
        helper.make_node(
            "GatherBlockQuantized",
            [names["blocks"], node.input[1], *rest],
            [node.output[0]],
            name=node.name,
            domain=DOMAIN,
            bits=parameters.bits,
            block_size=parameters.block_size,
            gather_axis=0,
            quantize_axis=1,
        )
    ]


def _matrix(node: onnx.NodeProto, weights: dict[str, onnx.TensorProto]) -> Array | None:
    """Return the constant matrix [inputs, outputs] that a node multiplies by; None if it does something else."""
    tensor = weights.get(node.input[1])
    if tensor is None or len(tensor.dims) != 2 or tensor.data_type != onnx.TensorProto.FLOAT:
        return None
    options = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    if options.get("transA") or options.get("beta", 1.0) != 1.0:
        return None
    matrix = numpy_helper.to_array(tensor)
    matrix = matrix.T if options.get("transB") else matrix
    return matrix * np.float32(options.get("alpha", 1.0))


def _in_blocks(
    graph: onnx.GraphProto, node: onnx.NodeProto, matrix: Array, parameters: WeightOnlyParameters
) -> list[onnx.NodeProto]:
    packed, scales, zeros = blocks(matrix, parameters.bits, parameters.block_size, parameters.symmetric)
    name = node.name
    parts = {f"{name}.blocks": packed, f"{name}.scales": scales}
    if zeros is not None:
        parts[f"{name}.zeros"] = zeros
    graph.initializer.extend(numpy_helper.from_array(array, part) for part, array in parts.items())
    adds = node.op_type == "Gemm" and len(node.input) > 2 and node.input[2]
    output = f"{name}.product" if adds else node.output[0]
    level: dict[str, Any] = {"accuracy_level": parameters.accuracy_level} if parameters.accuracy_level else {}
    product = helper.make_node(
        "MatMulNBits",
        [node.input[0], *parts],
        [output],
        name=name,
        domain=DOMAIN,
        K=matrix.shape[0],
        N=matrix.shape[1],
        bits=parameters.bits,
        block_size=parameters.block_size,
        **level,
    )
    if not adds:
        return [product]
    return [product, helper.make_node("Add", [output, node.input[2]], [node.output[0]], name=f"{name}.add")]


def blocks(matrix: Array, bits: int, block_size: int, symmetric: bool) -> tuple[Array, Array, Array | None]:
    """Return the matrix [inputs, outputs] as MatMulNBits stores it: numbers, scales and zeros per output and block."""
    inputs, outputs = matrix.shape
    count = -(-inputs // block_size)
    padded = np.zeros((outputs, count * block_size), np.float32)
    padded[:, :inputs] = matrix.T
    values = padded.reshape(outputs, count, block_size)
    levels = (1 << bits) - 1
    middle = 1 << (bits - 1)
    low, high = values.min(axis=2).clip(max=0), values.max(axis=2).clip(min=0)
    if symmetric:
        scales = np.where(-low >= high, low, high) / -middle
        zeros = np.full((outputs, count), middle)
    else:
        scales = (high - low) / levels
        zeros = np.round(-low / np.where(scales == 0, 1, scales)).clip(0, levels)
    safe = np.where(scales == 0, 1, scales)[:, :, None]
    numbers = np.round(values / safe + zeros[:, :, None]).clip(0, levels).astype(np.uint8)
    packed = _packed(numbers, bits)
    return packed, scales.astype(np.float32), None if symmetric else _packed(zeros.astype(np.uint8), bits)


def _packed(numbers: Array, bits: int) -> Array:
    """Put two numbers of 4 bits into a byte along the last axis, the first in the lower half."""
    if bits == 8:
        return numbers
    if numbers.shape[-1] % 2:
        numbers = np.concatenate([numbers, np.zeros_like(numbers[..., :1])], axis=-1)
    packed: Array = numbers[..., ::2] | (numbers[..., 1::2] << 4)
    return packed
