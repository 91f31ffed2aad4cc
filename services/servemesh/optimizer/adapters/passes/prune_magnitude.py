"""prune_magnitude: the smallest weights become zero, over the whole model or N of each M."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.passes import models
from servemesh.optimizer.adapters.passes.context import PassContext
from servemesh.optimizer.domain.passes.graphs import PruneMagnitudeParameters

PASS = "prune_magnitude"
Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weight:
    tensor: onnx.TensorProto
    axis: int  # along which a product sums


def apply(
    source: Path, target: Path, parameters: PruneMagnitudeParameters, context: PassContext
) -> list[str]:
    """Write the model with the sparsity that is asked for."""
    model = models.read(source)
    found = _prunable(model, parameters)
    if not found:
        raise models.does_not_apply(
            PASS, "it has no constant weights of these operators", "set op_types, or exclude fewer nodes"
        )
    arrays = [numpy_helper.to_array(weight.tensor) for weight in found]
    if parameters.pattern_n:
        pruned, whole = _patterned(found, arrays, parameters)
    else:
        pruned, whole = _smallest_zero(arrays, parameters.sparsity), len(arrays)
    for weight, array in zip(found, pruned, strict=True):
        models.set_values(weight.tensor, array)
    models.write(model, target, models.read(source))
    total = sum(array.size for array in pruned)
    zeros = total - sum(int(np.count_nonzero(array)) for array in pruned)
    return [
        f"{zeros} of {total} weights in {whole} of {len(found)} tensors are zero ({100 * zeros / total:.1f} %).",
        "Neither file nor runtime gain from zeros by themselves: the file compresses better, and hardware for sparse "
        "matrices can use the pattern.",
    ]


def _prunable(model: onnx.ModelProto, parameters: PruneMagnitudeParameters) -> list[_Weight]:
    weights = models.weights(model)
    found: dict[str, _Weight] = {}
    for node in model.graph.node:
        if node.op_type not in parameters.op_types or node.name in parameters.nodes_excluded:
            continue
        tensor = weights.get(node.input[1])
        if tensor is not None and len(tensor.dims) >= 2 and tensor.name not in found:
            found[tensor.name] = _Weight(tensor=tensor, axis=_reduction_axis(node, len(tensor.dims)))
    return list(found.values())


def _reduction_axis(node: onnx.NodeProto, rank: int) -> int:
    if node.op_type == "Conv":
        return 1
    if node.op_type == "ConvTranspose":
        return 0
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return 1 if node.op_type == "Gemm" and transposed else rank - 2


def _smallest_zero(arrays: list[Array], sparsity: float) -> list[Array]:
    """Set exactly that share of all weights to zero; of equal ones, the first."""
    sizes = np.concatenate([np.abs(array).ravel() for array in arrays])
    count = round(sparsity * sizes.size)
    if count == 0:
        return [array.copy() for array in arrays]
    threshold = np.partition(sizes, count - 1)[count - 1]
    gone = sizes < threshold
    equal = np.flatnonzero(sizes == threshold)
    gone[equal[: count - int(gone.sum())]] = True
    ends = np.cumsum([array.size for array in arrays])[:-1]
    masks = np.split(gone, ends)
    return [
        np.where(mask.reshape(array.shape), array.dtype.type(0), array)
        for array, mask in zip(arrays, masks, strict=True)
    ]


def _patterned(
    found: list[_Weight], arrays: list[Array], parameters: PruneMagnitudeParameters
) -> tuple[list[Array], int]:
    kept, group = parameters.pattern_n, parameters.pattern_m
    if kept >= group:
        raise InvalidError(
            f"pattern_n of pass {PASS} must be less than pattern_m, {group}; got {kept}",
            reason="PASS_PARAMETER_INVALID",
            field="pattern_n",
            expected=f"less than {group}",
            got=kept,
            **{"pass": PASS},
        )
    pruned, whole = [], 0
    for weight, array in zip(found, arrays, strict=True):
        if array.shape[weight.axis] < group:
            pruned.append(array)
        else:
            whole += 1
            pruned.append(_keep_of_each(array, weight.axis, kept, group))
    if not whole:
        raise models.does_not_apply(
            PASS, f"no weight is {group} long where products sum", "set a smaller pattern_m"
        )
    return pruned, whole


def _keep_of_each(array: Array, axis: int, kept: int, group: int) -> Array:
    """Keep the `kept` largest of each `group` along `axis`; what is left over at the end stays."""
    moved = np.moveaxis(array, axis, -1).copy()
    whole = moved.shape[-1] // group * group
    blocks = moved[..., :whole].reshape(*moved.shape[:-1], -1, group)
    order = np.argsort(-np.abs(blocks), axis=-1, kind="stable")
    np.put_along_axis(blocks, order[..., kept:], 0, axis=-1)
    moved[..., :whole] = blocks.reshape(*moved.shape[:-1], whole)
    result: Array = np.moveaxis(moved, -1, axis)
    return result
