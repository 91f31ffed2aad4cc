"""What a bad day needs: callers, and a version that fails."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from examples.demo.mesh import DemoMesh
from servemesh.client import Client
from servemesh.errors import ServemeshError

CALLS_PER_S = 20.0
_AXES = (("columns", [1]), ("everything", [0]))


class Callers:
    """Calls of the real model, at a steady rate, for the length of the block."""

    def __init__(self, client: Client, image: NDArray[np.float32]) -> None:
        self._client = client
        self._image = image
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._call)
        self.answered = 0
        self.failed = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _call(self) -> None:
        while not self._over.wait(1 / CALLS_PER_S):
            try:
                self._client.infer("digits", {"image": self._image}, timeout_s=5.0)
                self.answered += 1
            except ServemeshError:
                self.failed += 1


def bad_version(folder: Path) -> Path:
    """Return a model that answers zeros, as its warm-up has, and fails on whatever a real caller sends."""
    columns, everything = (
        helper.make_tensor(name, TensorProto.INT64, [len(axes)], axes) for name, axes in _AXES
    )
    nodes = [
        helper.make_node("ReduceSum", ["image", "columns"], ["sums"], keepdims=0),
        helper.make_node("Cast", ["sums"], ["labels"], to=TensorProto.INT64),
        helper.make_node("Shape", ["labels"], ["rows"]),
        helper.make_node("ReduceSum", ["labels", "everything"], ["more"], keepdims=1),
        helper.make_node("Add", ["rows", "more"], ["wrong"]),  # as many rows as there are, if all is zero
        helper.make_node("Reshape", ["labels", "wrong"], ["label"]),
    ]
    graph = helper.make_graph(
        nodes,
        "bad",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["rows", 64])],
        [helper.make_tensor_value_info("label", TensorProto.INT64, ["rows"])],
        [columns, everything],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    path = folder / "bad.onnx"
    onnx.save(model, path)
    return path


def metrics_address(mesh: DemoMesh) -> str:
    """Where the metrics service takes OTLP."""
    return str(mesh.process("metrics")["address"])
