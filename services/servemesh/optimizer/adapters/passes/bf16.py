"""bf16: weights, and computation if wanted, in bfloat16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.passes import models, storing
from servemesh.optimizer.adapters.passes.context import PassContext
from servemesh.optimizer.adapters.passes.running import OpenModel, sample
from servemesh.optimizer.domain.passes.graphs import Bf16Parameters

PASS = "bf16"
Array = np.ndarray[Any, Any]
OPSET_MIN = 13  # the first in which Cast knows bfloat16
_COMPUTED = frozenset({"Conv", "Gemm", "MatMul"})


def apply(source: Path, target: Path, parameters: Bf16Parameters, context: PassContext) -> list[str]:
    """Write the model with weights of 16 bits."""
    model, like = models.read(source), models.read(source)
    if models.opset(model) < OPSET_MIN:
        raise models.does_not_apply(
            PASS,
            f"it uses operator set {models.opset(model)}, and bfloat16 came with {OPSET_MIN}",
            "export it with a newer opset, or use fp16",
        )
    if parameters.compute == "float32":
        seen, stored = storing.store(model, _rounded, "bf16", parameters.nodes_excluded)
        if not stored:
            why = "all of its float32 weights are excluded or small" if seen else "it has no float32 weights"
            raise models.does_not_apply(
                PASS, why, "forests and support vector machines have passes of their own"
            )
        models.write(model, target, like)
        return [f"{stored} of {seen} weights are stored as bfloat16; computation stays in float32."]
    count = _computed(model, parameters)
    models.write(model, target, like)
    _check_runs(source, target, context)
    return [f"{count} nodes compute in bfloat16."]


def _rounded(values: Array) -> Array:
    return values.astype(ml_dtypes.bfloat16)


def _computed(model: onnx.ModelProto, parameters: Bf16Parameters) -> int:
    """Put casts around the nodes that take most of the time; weights on their way become bfloat16."""
    weights = models.weights(model)
    inside = models.names_read_inside(model)
    nodes: list[onnx.NodeProto] = []
    done: dict[str, str] = {}
    count = 0
    for node in model.graph.node:
        if node.op_type not in _COMPUTED or node.name in parameters.nodes_excluded:
            nodes.append(node)
            continue
        count += 1
        for index, name in enumerate(node.input):
            if name and name not in done:
                done[name] = f"{name}.bf16"
                if name in weights and name not in inside:
                    values = onnx.numpy_helper.to_array(weights[name])
                    model.graph.initializer.append(onnx.numpy_helper.from_array(_rounded(values), done[name]))
                else:
                    nodes.append(_cast(name, done[name], onnx.TensorProto.BFLOAT16))
            node.input[index] = done.get(name, name)
        output = node.output[0]
        node.output[0] = f"{output}.computed"
        nodes += [node, _cast(node.output[0], output, onnx.TensorProto.FLOAT)]
    models.set_nodes(model.graph, nodes)
    models.forget_unread(model)
    return count


def _cast(name: str, output: str, to: int) -> onnx.NodeProto:
    return onnx.helper.make_node("Cast", [name], [output], name=f"{output}.cast", to=to)


def _check_runs(source: Path, target: Path, context: PassContext) -> None:
    try:
        inputs = sample(context.data, OpenModel.open(source, context.threads).inputs, context.seed)
        OpenModel.open(target, context.threads).run(inputs)
    except InvalidError as error:
        raise models.does_not_apply(
            PASS,
            f"this runtime cannot compute it in bfloat16 ({error.message})",
            "use compute=float32, which only stores the weights so",
        ) from error
