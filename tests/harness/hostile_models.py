"""Models that are valid and do harm when they run, each as much as its caller says."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

CRASHING = (np.array([-(2**31)], np.int32), np.array([-1], np.int32))
"""What `dividing` crashes of: the quotient does not fit, which the processor answers with a signal."""


def dividing() -> onnx.ModelProto:
    """Return a model whose `y` is `x` divided by `by`, all INT32 [n]."""
    return _model(
        [helper.make_node("Div", ["x", "by"], ["y"])],
        [helper.make_tensor_value_info(name, TensorProto.INT32, ("n",)) for name in ("x", "by")],
        [helper.make_tensor_value_info("y", TensorProto.INT32, ("n",))],
    )


def unstoppable() -> onnx.ModelProto:
    """Return a model of one kernel whose time grows with the square of `boxes` (INT64): 400,000 take a minute.

    The runtime looks for its stop between kernels only.
    """
    nodes = [
        helper.make_node("Range", ["zero", "boxes", "one"], ["numbers"]),
        helper.make_node("Unsqueeze", ["numbers", "first"], ["row"]),
        helper.make_node("Cast", ["row"], ["scores_row"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["scores_row", "first"], ["scores"]),
        helper.make_node("Unsqueeze", ["scores_row", "last"], ["low"]),
        helper.make_node("Add", ["low", "width"], ["high"]),
        helper.make_node("Concat", ["low", "low", "high", "high"], ["corners"], axis=2),
        helper.make_node("Unsqueeze", ["boxes", "first"], ["most"]),
        helper.make_node("NonMaxSuppression", ["corners", "scores", "most", "overlap"], ["selected"]),
        helper.make_node("Shape", ["selected"], ["shape"]),
    ]
    constants: dict[str, ArrayLike] = {
        "zero": np.int64(0),
        "one": np.int64(1),
        "first": np.array([0], np.int64),
        "last": np.array([2], np.int64),
        "width": np.float32(1),
        "overlap": np.array([1], np.float32),
    }
    return _model(
        nodes,
        [helper.make_tensor_value_info("boxes", TensorProto.INT64, ())],
        [helper.make_tensor_value_info("shape", TensorProto.INT64, (2,))],
        constants,
    )


def greedy() -> onnx.ModelProto:
    """Return a model that fills `size` (INT64 [1]) floats of memory with ones, and gives the largest."""
    one = helper.make_tensor("value", TensorProto.FLOAT, [1], [1.0])
    return _model(
        [
            helper.make_node("ConstantOfShape", ["size"], ["filled"], value=one),
            helper.make_node("ReduceMax", ["filled"], ["y"], keepdims=0),
        ],
        [helper.make_tensor_value_info("size", TensorProto.INT64, (1,))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ())],
    )


def bursting() -> onnx.ModelProto:
    """Return a model that gives `size` (INT64 [1]) floats back."""
    return _model(
        [helper.make_node("ConstantOfShape", ["size"], ["y"])],
        [helper.make_tensor_value_info("size", TensorProto.INT64, (1,))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("n",))],
    )


def _model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    constants: Mapping[str, ArrayLike] | None = None,
) -> onnx.ModelProto:
    values = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    graph = helper.make_graph(nodes, "hostile", inputs, outputs, values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
