"""How much the outputs suffer when one node alone is quantised: child task "sensitivity".

All candidates are put into one graph with a switch each, so that the model is opened once: a switched node reads its
activations through a QuantizeLinear/DequantizeLinear pair and its weight as int8 would leave it.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

from servemesh.optimizer.adapters.datasets.rows import Rows
from servemesh.optimizer.adapters.passes import models, running
from servemesh.optimizer.domain.splits import Split
from servemesh.optimizer.domain.work import Report

Array = np.ndarray[Any, Any]
OPERATORS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
BATCHES_MAX = 2
SQNR_DB_MAX = 200.0  # what is not disturbed at all
_SWITCHES = "servemesh.switches"
_LEVELS = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSensitivity:
    """Signal over noise at the outputs when only this node is quantised: the lower, the more sensitive."""

    name: str
    op: str
    sqnr_db: float


def run(arguments: dict[str, Any], folder: Path, report: Report) -> dict[str, Any]:
    """Rank the nodes of `model` on the calibration rows of `data`, most sensitive first."""
    path = folder / arguments["model"]
    rows = Rows.open(folder / arguments["data"])
    inputs = running.OpenModel.open(path, arguments["threads"]).inputs
    rows_max = running.BATCH_ROWS * BATCHES_MAX
    batches = list(running.batches(rows, inputs, (Split.CALIBRATE,), rows_max))
    found = ranked(models.read(path), batches, arguments["threads"], report)
    return {"nodes": [asdict(node) for node in found]}


def ranked(
    model: onnx.ModelProto, batches: Sequence[running.Inputs], threads: int, report: Report
) -> list[NodeSensitivity]:
    """Return the nodes that int8 could compute, most sensitive first."""
    nodes = _candidates(model)
    if not nodes or not batches:
        return []
    activations = _activations(model, nodes)
    ranges = _ranges(model, activations, batches, threads)
    probe = _with_switches(model, nodes, ranges)
    with _Opened(probe, threads) as session:
        outputs = [output.name for output in session.get_outputs() if output.type == "tensor(float)"]
        off = np.zeros(len(nodes), bool)
        wanted = [session.run(outputs, {**batch, _SWITCHES: off}) for batch in batches]
        found = []
        for number, node in enumerate(nodes):
            report.progress(0.1 + 0.5 * number / len(nodes), f"sensitivity of {node.name}")
            on = off.copy()
            on[number] = True
            got = [session.run(outputs, {**batch, _SWITCHES: on}) for batch in batches]
            found.append(NodeSensitivity(name=node.name, op=node.op_type, sqnr_db=_sqnr_db(wanted, got)))
    return sorted(found, key=lambda each: (each.sqnr_db, each.name))


class _Opened:
    """A session on a model in a file of its own: what holds weights of over 2 GiB must be one."""

    def __init__(self, model: onnx.ModelProto, threads: int) -> None:
        self._model = model
        self._threads = threads
        self._folder = tempfile.TemporaryDirectory()

    def __enter__(self) -> ort.InferenceSession:
        path = Path(self._folder.name) / "probe.onnx"
        models.write(self._model, path, self._model)
        settings = ort.SessionOptions()
        settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        settings.intra_op_num_threads = self._threads
        settings.log_severity_level = 4
        return ort.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()


def _candidates(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    floats = _float_names(model)
    return [node for node in model.graph.node if node.op_type in OPERATORS and node.input[0] in floats]


def _float_names(model: onnx.ModelProto) -> set[str]:
    """Return the tensors that are known, or may be, float32."""
    inferred = model
    if models.weights_bytes(model) < models.EXTERNAL_FROM_BYTES:
        inferred = onnx.shape_inference.infer_shapes(model)
    graph = inferred.graph
    known = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.input)}
    known |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    names = {name for node in graph.node for name in node.input if name}
    float32 = onnx.TensorProto.FLOAT
    return {name for name in names if known.get(name, float32) == float32}


def _activations(model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto]) -> list[str]:
    weights = models.weights(model)
    return list(dict.fromkeys(name for node in nodes for name in node.input[:2] if name not in weights))


def _ranges(
    model: onnx.ModelProto, names: Sequence[str], batches: Sequence[running.Inputs], threads: int
) -> dict[str, tuple[float, float]]:
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    have = {value.name for value in tapped.graph.output}
    added = [name for name in names if name not in have]
    tapped.graph.output.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in added
    )
    low = dict.fromkeys(names, 0.0)
    high = dict.fromkeys(names, 0.0)
    with _Opened(tapped, threads) as session:
        for batch in batches:
            for name, array in zip(names, session.run(list(names), batch), strict=True):
                low[name] = min(low[name], float(array.min(initial=0)))
                high[name] = max(high[name], float(array.max(initial=0)))
    return {name: (low[name], high[name]) for name in names}


def _with_switches(
    model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], ranges: dict[str, tuple[float, float]]
) -> onnx.ModelProto:
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    weights = models.weights(model)
    graph = probe.graph
    graph.input.append(helper.make_tensor_value_info(_SWITCHES, onnx.TensorProto.BOOL, [len(nodes)]))
    numbers = {node.name: number for number, node in enumerate(nodes)}
    made: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.name in numbers:
            made += _switched(graph, node, numbers[node.name], weights, ranges)
        made.append(node)
    models.set_nodes(graph, made)
    return probe


def _switched(
    graph: onnx.GraphProto,
    node: onnx.NodeProto,
    number: int,
    weights: dict[str, onnx.TensorProto],
    ranges: dict[str, tuple[float, float]],
) -> list[onnx.NodeProto]:
    """Return the nodes that let `node` read quantised values where its switch is on."""
    prefix = f"servemesh.{number}"
    graph.initializer.append(numpy_helper.from_array(np.array(number), f"{prefix}.number"))
    made = [helper.make_node("Gather", [_SWITCHES, f"{prefix}.number"], [f"{prefix}.on"], axis=0)]
    for index, name in enumerate(node.input[:2]):
        rounded = f"{prefix}.{index}"
        if name in weights:
            values = _as_int8(
                numpy_helper.to_array(weights[name]), _channel_axis(node, len(weights[name].dims))
            )
            graph.initializer.append(numpy_helper.from_array(values, rounded))
        else:
            scale, zero = _scale(*ranges[name])
            graph.initializer.append(numpy_helper.from_array(np.array(scale, np.float32), f"{rounded}.scale"))
            graph.initializer.append(numpy_helper.from_array(np.array(zero, np.uint8), f"{rounded}.zero"))
            given = [f"{rounded}.scale", f"{rounded}.zero"]
            made.append(helper.make_node("QuantizeLinear", [name, *given], [f"{rounded}.small"]))
            made.append(helper.make_node("DequantizeLinear", [f"{rounded}.small", *given], [rounded]))
        made.append(helper.make_node("Where", [f"{prefix}.on", rounded, name], [f"{rounded}.read"]))
        node.input[index] = f"{rounded}.read"
    return made


def _channel_axis(node: onnx.NodeProto, rank: int) -> int:
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return 0 if transposed else rank - 1


def _as_int8(values: Array, axis: int) -> Array:
    others = tuple(each for each in range(values.ndim) if each != axis)
    scale = np.abs(values).max(axis=others, keepdims=True) / 127
    scale = np.where(scale == 0, 1, scale)
    return (np.round(values / scale).clip(-127, 127) * scale).astype(np.float32)


def _scale(low: float, high: float) -> tuple[float, int]:
    scale = (high - low) / _LEVELS or 1.0
    return scale, round(min(max(-low / scale, 0), _LEVELS))


def _sqnr_db(wanted: Sequence[Sequence[Array]], got: Sequence[Sequence[Array]]) -> float:
    pairs = [
        pair for ours, theirs in zip(wanted, got, strict=True) for pair in zip(ours, theirs, strict=True)
    ]
    signal = sum(float(np.square(a.astype(np.float64)).sum()) for a, _ in pairs)
    noise = sum(float(np.square(a.astype(np.float64) - b).sum()) for a, b in pairs)
    if noise <= 0:
        return SQNR_DB_MAX
    return round(min(10 * math.log10(max(signal, 1e-30) / noise), SQNR_DB_MAX), 3)
