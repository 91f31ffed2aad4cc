"""Small real models and rows for tests of passes that do not train: fixed seeds, made in a moment, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

from servemesh.optimizer.adapters.datasets import columns_file
from servemesh.optimizer.adapters.datasets.rows import Rows, Split
from servemesh.optimizer.adapters.passes.apply import apply_pass
from servemesh.optimizer.adapters.passes.context import PassContext
from servemesh.optimizer.domain.datasets import Column
from servemesh.optimizer.domain.passes.catalogue import PASSES
from servemesh.optimizer.domain.passes.parameters import parse_parameters
from servemesh.optimizer.domain.splits import Shares, rows_of
from tests.harness.reports import MemoryReport

Array = np.ndarray[Any, Any]
_OIP = {"float32": "FP32", "int64": "INT64", "float64": "FP64"}
_BUNCHES = {"digits": load_digits, "breast_cancer": load_breast_cancer, "diabetes": load_diabetes}


@cache
def table(name: str) -> tuple[Array, Array]:
    """Return features FP32 [rows, features] of about 1, and answers, of one of scikit-learn's data sets."""
    bunch = _BUNCHES[name]()
    data = bunch.data / np.abs(bunch.data).max(axis=0).clip(min=1e-6)
    return data.astype(np.float32), bunch.target


def training_rows(name: str) -> tuple[Array, Array]:
    """Return the rows of a data set that a Dataset of it trains on."""
    data, target = table(name)
    rows = rows_of(Split.TRAIN, len(data), Shares())
    return data[rows], target[rows]


def dataset(folder: Path, columns: Mapping[str, Array], labels: tuple[str, ...] = ()) -> Rows:
    """Write a data folder and open it: 10 % calibrate, 70 % train, 20 % evaluate."""
    folder.mkdir(parents=True, exist_ok=True)
    described, files = [], []
    for place, (name, values) in enumerate(columns.items()):
        files.append(f"{place}.npy")
        np.save(folder / files[-1], values)
        shape, datatype = values.shape[1:], _OIP[str(values.dtype)]
        described.append(Column(name=name, datatype=datatype, row_shape=shape, label=name in labels))
    count = len(next(iter(columns.values())))
    contents = columns_file.Contents(
        columns=tuple(described), files=tuple(files), row_count=count, shares=Shares()
    )
    columns_file.write(folder, contents)
    return Rows.open(folder)


def table_dataset(folder: Path, name: str, shape: tuple[int, ...] = ()) -> Rows:
    """Return a data set as columns `X`, each row in `shape`, and the label `answer`."""
    data, target = table(name)
    return dataset(
        folder, {"X": data.reshape(len(data), *shape or data.shape[1:]), "answer": target}, ("answer",)
    )


def applied(
    pass_id: str, source: Path, rows: Rows | None, folder: Path, **values: Any
) -> tuple[Path, list[str]]:
    """Run a pass with its checks; return where the result is, and the notes."""
    spec = PASSES[pass_id]
    context = PassContext(data=rows, teacher=None, seed=0, threads=1, report=MemoryReport())
    target = folder / f"out.{pass_id}" / "model.onnx"
    notes = apply_pass(spec, source, target, parse_parameters(spec, values), context)
    return target, notes


def run(model: Path, inputs: Mapping[str, Array]) -> list[Array]:
    """Return all outputs, by one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    outputs: list[Array] = session.run(None, dict(inputs))
    return outputs


def accuracy(model: Path, rows: Rows) -> float:
    """Return the share of evaluation rows that are answered right, by class or by best score."""
    right = total = 0
    for batch in rows.batches(Split.EVALUATE, 1024):
        answer = run(model, batch.inputs)[0]
        classes = answer.argmax(axis=-1) if answer.ndim > 1 else answer
        right += int((classes == batch.labels["answer"]).sum())
        total += len(classes)
    return right / total


def size(model: Path) -> int:
    """Return the bytes of a model and of what lies beside it."""
    return sum(file.stat().st_size for file in model.parent.iterdir() if file.suffix != ".npy")


def digits_mlp(path: Path, hidden: int = 256) -> Path:
    """One hidden layer drawn at random, the last fitted by least squares: about 95 % right on digits."""
    random = np.random.default_rng(0)
    first = random.normal(0, 0.3, (64, hidden)).astype(np.float32)
    bias = random.normal(0, 0.3, hidden).astype(np.float32)
    data, classes = training_rows("digits")
    last, offset = _fitted(np.maximum(data @ first + bias, 0), classes)
    nodes = [
        helper.make_node("Gemm", ["X", "first", "bias"], ["hidden"], name="first"),
        helper.make_node("Relu", ["hidden"], ["active"], name="relu"),
        helper.make_node("Gemm", ["active", "last", "offset"], ["scores"], name="last"),
    ]
    weights = {"first": first, "bias": bias, "last": last, "offset": offset}
    return _saved(path, nodes, weights, ["rows", 64], ["rows", 10])


def digits_cnn(path: Path, width: int = 32) -> Path:
    """Two convolutions drawn at random, the last layer fitted: about 96 % right on digits of shape [1, 8, 8]."""
    random = np.random.default_rng(0)
    weights = {
        "w1": random.normal(0, 0.5, (width, 1, 3, 3)).astype(np.float32),
        "b1": random.normal(0, 0.2, width).astype(np.float32),
        "w2": random.normal(0, 0.5 / width**0.5, (2 * width, width, 3, 3)).astype(np.float32),
        "b2": random.normal(0, 0.2, 2 * width).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["X", "w1", "b1"], ["c1"], name="conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu1"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], name="conv2", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c2"], ["r2"], name="relu2"),
        helper.make_node("MaxPool", ["r2"], ["p2"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p2"], ["flat"], name="flatten"),
    ]
    features = 2 * width * 16
    data, classes = training_rows("digits")
    _saved(path, nodes, weights, ["rows", 1, 8, 8], ["rows", features], "flat")
    weights["last"], weights["offset"] = _fitted(run(path, {"X": data.reshape(-1, 1, 8, 8)})[0], classes)
    nodes.append(helper.make_node("Gemm", ["flat", "last", "offset"], ["scores"], name="last"))
    return _saved(path, nodes, weights, ["rows", 1, 8, 8], ["rows", 10])


def from_sklearn(path: Path, estimator: Any, name: str) -> Path:
    """Fit on a data set's training rows and convert; classifiers answer with label and scores."""
    data, answers = training_rows(name)
    estimator.fit(data, answers)
    options = {id(estimator): {"zipmap": False}} if hasattr(estimator, "classes_") else None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_onnx(estimator, data[:1], options=options).SerializeToString())
    return path


def words_model(path: Path) -> Path:
    """Embeddings of 200 words, averaged and multiplied: INT64 [rows, words] to FP32 [rows, 32]."""
    random = np.random.default_rng(0)
    weights = {
        "table": random.normal(0, 1, (200, 64)).astype(np.float32),
        "weight": random.normal(0, 0.2, (64, 32)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["table", "X"], ["embedded"], name="embed"),
        helper.make_node("ReduceMean", ["embedded", "one"], ["mean"], name="mean", keepdims=0),
        helper.make_node("MatMul", ["mean", "weight"], ["scores"], name="product"),
    ]
    weights["one"] = np.array([1])
    return _saved(path, nodes, weights, ["rows", "words"], ["rows", 32], datatype=TensorProto.INT64)


def with_branches(path: Path) -> Path:
    """A model of text-book size whose If takes a weight from outside that the main graph multiplies by, too."""
    random = np.random.default_rng(0)
    weight = numpy_helper.from_array(random.normal(0, 0.3, (64, 64)).astype(np.float32), "weight")
    other = numpy_helper.from_array(random.normal(0, 0.3, (64, 64)).astype(np.float32), "other")
    branches = [
        helper.make_graph(
            [helper.make_node("MatMul", ["hidden", name], [f"out_{name}"], name=f"in_{name}")],
            name,
            [],
            [helper.make_tensor_value_info(f"out_{name}", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(random.normal(0, 0.3, (64, 64)).astype(np.float32), "inner")]
            if name == "inner"
            else [],
        )
        for name in ("weight", "inner")
    ]
    nodes = [
        helper.make_node("MatMul", ["X", "other"], ["first"], name="first"),
        helper.make_node("MatMul", ["first", "weight"], ["hidden"], name="second"),
        helper.make_node("ReduceMean", ["hidden"], ["mean"], name="mean", keepdims=0),
        helper.make_node("Greater", ["mean", "zero"], ["positive"], name="greater"),
        helper.make_node(
            "If", ["positive"], ["scores"], name="if", then_branch=branches[0], else_branch=branches[1]
        ),
    ]
    zero = numpy_helper.from_array(np.float32(0), "zero")
    graph = helper.make_graph(
        nodes,
        "branches",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["rows", 64])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["rows", 64])],
        [weight, other, zero],
    )
    return _written(path, graph)


def with_idle_nodes(path: Path) -> Path:
    """A product among nodes that do nothing, and a shape that is computed though it is known."""
    random = np.random.default_rng(0)
    weights = {
        "weight": random.normal(0, 0.3, (64, 16)).astype(np.float32),
        "first": np.array([0]),
        "sixteen": np.array([16]),
        "four": np.array([4]),
    }
    nodes = [
        helper.make_node("Identity", ["X"], ["same"], name="same"),
        helper.make_node("MatMul", ["same", "weight"], ["product"], name="product"),
        helper.make_node("Identity", ["product"], ["again"], name="again"),
        helper.make_node("Div", ["sixteen", "four"], ["quarter"], name="divide"),
        helper.make_node("Mul", ["quarter", "four"], ["whole"], name="multiply"),
        helper.make_node("Shape", ["again"], ["sizes"], name="sizes"),
        helper.make_node("Gather", ["sizes", "first"], ["rows"], name="rows"),
        helper.make_node("Concat", ["rows", "whole"], ["shape"], name="shape", axis=0),
        helper.make_node("Reshape", ["again", "shape"], ["scores"], name="reshape"),
    ]
    return _saved(path, nodes, weights, ["rows", 64], ["rows", 16])


def _fitted(features: Array, classes: Array) -> tuple[Array, Array]:
    """Return the weights and constants of a last layer, by ridge regression on the classes."""
    columns = np.concatenate([features, np.ones((len(features), 1))], axis=1).astype(np.float64)
    products = columns.T @ columns + 10.0 * np.eye(columns.shape[1])
    solved = np.linalg.solve(products, columns.T @ (2.0 * np.eye(10)[classes] - 1)).astype(np.float32)
    return solved[:-1], solved[-1]


def _saved(
    path: Path,
    nodes: list[onnx.NodeProto],
    weights: dict[str, Array],
    shape: list[Any],
    out: list[Any],
    name: str = "scores",
    datatype: int = TensorProto.FLOAT,
) -> Path:
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("X", datatype, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, out)],
        [numpy_helper.from_array(array, key) for key, array in weights.items()],
    )
    return _written(path, graph)


def _written(path: Path, graph: onnx.GraphProto) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())
    return path
