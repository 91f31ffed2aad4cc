"""Tiny ONNX models, built when a test asks for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from servemesh.tensors.datatypes import DATATYPES

ELEMENT_OF = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "BF16": TensorProto.BFLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}
Shape = tuple[int | str, ...]


def identity(datatype: str = "FP32", shape: Shape = ("rows", 4)) -> onnx.ModelProto:
    """Return a model whose output `y` is its input `x`."""
    element = ELEMENT_OF[datatype]
    return _model(
        [helper.make_node("Identity", ["x"], ["y"])],
        [helper.make_tensor_value_info("x", element, shape)],
        [helper.make_tensor_value_info("y", element, shape)],
    )


def mlp(width: int = 64, classes: int = 10, seed: int = 0) -> onnx.ModelProto:
    """Return a perceptron with one hidden layer: `x` FP32 [rows, width] to `y` FP32 [rows, classes]."""
    random = np.random.default_rng(seed)
    weights = {
        "w1": random.normal(size=(width, width), scale=0.1),
        "b1": random.normal(size=width),
        "w2": random.normal(size=(width, classes), scale=0.1),
        "b2": random.normal(size=classes),
    }
    return _model(
        [
            helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
            helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("Gemm", ["r", "w2", "b2"], ["y"]),
        ],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("rows", width))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("rows", classes))],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )


def counter() -> onnx.ModelProto:
    """Return a model that loops `times` (INT64 scalar) times: its runtime is up to its caller."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Add", ["sum", "one"], ["sum_next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, ()),
            helper.make_tensor_value_info("go", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("sum", TensorProto.INT64, ()),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("sum_next", TensorProto.INT64, ()),
        ],
        [numpy_helper.from_array(np.array(1, np.int64), "one")],
    )
    return _model(
        [helper.make_node("Loop", ["times", "yes", "zero"], ["count"], body=body)],
        [helper.make_tensor_value_info("times", TensorProto.INT64, ())],
        [helper.make_tensor_value_info("count", TensorProto.INT64, ())],
        [
            numpy_helper.from_array(np.array(True), "yes"),
            numpy_helper.from_array(np.array(0, np.int64), "zero"),
        ],
    )


def lookup(size: int = 8) -> onnx.ModelProto:
    """Return a model that looks `index` (INT64 [rows]) up in a table of `size` FP32: others are refused."""
    return _model(
        [helper.make_node("Gather", ["table", "index"], ["value"])],
        [helper.make_tensor_value_info("index", TensorProto.INT64, ("rows",))],
        [helper.make_tensor_value_info("value", TensorProto.FLOAT, ("rows",))],
        [numpy_helper.from_array(np.arange(size, dtype=np.float32), "table")],
    )


def doubling(refused: float) -> onnx.ModelProto:
    """Return a model whose `y` is twice `x` FP32 [rows]; it cannot compute with the value `refused`."""
    # A value that is refused looks up a row that is not there.
    return _model(
        [
            helper.make_node("Equal", ["x", "refused"], ["is_refused"]),
            helper.make_node("Cast", ["is_refused"], ["index"], to=TensorProto.INT64),
            helper.make_node("Gather", ["two", "index"], ["factor"]),
            helper.make_node("Mul", ["x", "factor"], ["y"]),
        ],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("rows",))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("rows",))],
        [
            numpy_helper.from_array(np.array([2], np.float32), "two"),
            numpy_helper.from_array(np.array(refused, np.float32), "refused"),
        ],
    )


def sample(datatype: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Return an array of that datatype with some values in it."""
    dtype = DATATYPES[datatype].dtype
    numbers = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    if datatype != "BYTES":
        return (numbers % 2 if datatype == "BOOL" else numbers).astype(dtype)
    texts = np.empty(numbers.size, dtype=object)
    texts[:] = [f"é\x00{number}".encode() for number in numbers.ravel()]
    return texts.reshape(shape)


def scaled() -> onnx.ModelProto:
    """Return a model of two inputs: `y` is `x` FP32 [rows, 4] times the scalar `factor` FP32."""
    return _model(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ("rows", 4)),
            helper.make_tensor_value_info("factor", TensorProto.FLOAT, ()),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("rows", 4))],
    )


def total() -> onnx.ModelProto:
    """Return a model that gives one row whatever it takes: `x` FP32 [rows, 4] to `y` FP32 [1, 4]."""
    return _model(
        [helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=1)],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("rows", 4))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("rows_out", 4))],
        [numpy_helper.from_array(np.array([0], np.int64), "axes")],
    )


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    """Write the model to a file of its own in `folder` and return its path."""
    path = folder / "model.onnx"
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def _model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    constants: list[onnx.TensorProto] | None = None,
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "test", inputs, outputs, constants or [])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
