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
        matrix = None if node.name in parameters.nodes_excluded else _matrix(node, weights)
        if matrix is None or matrix.shape[0] < parameters.block_size:
            made.append(node)
            continue
        count += 1
        made += _in_blocks(model.graph, node, matrix, parameters)
    if not count:
        raise models.does_not_apply(
            PASS,
            f"it has no product with a constant matrix of at least {parameters.block_size} rows",
            "use int8_static for convolutions, or a smaller block_size",
        )
    models.set_nodes(model.graph, made)
    models.import_domain(model, DOMAIN, 1)
    models.forget_unread(model)
    models.write(model, target, like)
    return [f"The weights of {count} products are int{parameters.bits} in blocks of {parameters.block_size}."]


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


def _matrix(node: onnx.NodeProto, weights: dict[str, onnx.TensorProto]) -> Array | None:
    """Return the constant matrix [inputs, outputs] that a node multiplies by; None if it does something else."""
    if node.op_type not in ("Gemm", "MatMul") or node.domain not in ("", "ai.onnx"):
        return None
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
