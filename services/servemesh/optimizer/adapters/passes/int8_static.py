"""int8_static: computes in int8 with ranges found on calibration rows, by onnxruntime."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from servemesh.errors import ServemeshError
from servemesh.optimizer.adapters.passes import models, quantised, running, sensitivity
from servemesh.optimizer.adapters.passes.context import PassContext
from servemesh.optimizer.adapters.passes.faults import translating
from servemesh.optimizer.domain.passes.quantizing import Int8StaticParameters
from servemesh.optimizer.domain.splits import Split

PASS = "int8_static"
_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
    "moving_average": CalibrationMethod.MinMax,
}
_PRODUCTS = ("Gemm", "MatMul")
_TYPES = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}


def apply(source: Path, target: Path, parameters: Int8StaticParameters, context: PassContext) -> list[str]:
    """Write the quantised model."""
    rows = context.data
    assert rows is not None  # apply_pass sees to it
    rows.check_enough(Split.CALIBRATE, parameters.rows_min)
    like = models.read(source)
    quantised.check_any(like, PASS)
    inputs = running.OpenModel.open(source, context.threads).inputs
    batches = list(running.batches(rows, inputs, (Split.CALIBRATE,), parameters.rows_max))
    with quantised.as_file(like) as path:
        context.report.progress(0.1, "preparing the graph for int8")
        prepared = _prepared(path)
        excluded, notes = _excluded(prepared, batches, parameters, context)
        context.report.progress(0.6, f"calibrating on {sum(map(running.rows_in, batches))} rows")
        made = path.with_name("made.onnx")
        notes.append(_quantise(prepared, made, batches, parameters, excluded))
        done = quantised.finished(made, target, like, PASS, "weights in other forms have passes of their own")
    return [done, *notes]


class _Reader(CalibrationDataReader):
    """Gives onnxruntime one batch after the other; it asks for them as ranges of one, so that none must be kept."""

    def __init__(self, batches: list[running.Inputs]) -> None:
        self._batches = batches
        self._left: Iterator[running.Inputs] = iter(batches)

    def get_next(self) -> running.Inputs | None:
        return next(self._left, None)

    def __len__(self) -> int:
        return len(self._batches)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._left = iter(self._batches[start_index:end_index])


def _prepared(path: Path) -> Path:
    """Return the model with shapes inferred and simple nodes folded; less of both where onnxruntime cannot."""
    prepared = path.with_name("prepared.onnx")
    external = models.has_external_weights(path)
    model = models.read(path)
    for skipped in (
        {},
        {"skip_symbolic_shape": True},
        {"skip_symbolic_shape": True, "skip_optimization": True},
    ):
        try:
            quant_pre_process(path, prepared, save_as_external_data=external, **skipped)
            break
        except Exception as error:
            if isinstance(error, MemoryError | ServemeshError):
                raise
            prepared.unlink(missing_ok=True)
    else:
        return path
    made = models.read(prepared)
    _flatten_biases(made)
    models.write(made, prepared, model)
    return prepared


def _flatten_biases(model: onnx.ModelProto) -> None:
    """Give the biases of Gemm nodes one axis; onnxruntime quantises a [1, n] bias by channel only with an error."""
    biases = {node.input[2] for node in model.graph.node if node.op_type == "Gemm" and len(node.input) > 2}
    others = {
        name
        for node in model.graph.node
        for name in (node.input[:2] if node.op_type == "Gemm" else node.input)
    }
    for tensor in model.graph.initializer:
        if tensor.name in biases - others and len(tensor.dims) == 2 and tensor.dims[0] == 1:
            del tensor.dims[0]


def _excluded(
    prepared: Path, batches: list[running.Inputs], parameters: Int8StaticParameters, context: PassContext
) -> tuple[list[str], list[str]]:
    """Return the nodes that stay as they are, and notes on those that were measured."""
    model = models.read(prepared)
    excluded = [*parameters.nodes_excluded, *quantised.untouchable(model)]
    excluded += [node.name for node in model.graph.node if node.op_type in parameters.op_types_excluded]
    if not parameters.sensitive_excluded and not parameters.sqnr_db_min:
        return excluded, []
    ranked = sensitivity.ranked(model, batches[: sensitivity.BATCHES_MAX], context.threads, context.report)
    worst = [node.name for node in ranked[: parameters.sensitive_excluded]]
    worst += [node.name for node in ranked if node.sqnr_db < parameters.sqnr_db_min]
    names = list(dict.fromkeys(worst))
    note = f"Left as they are for their sensitivity: {', '.join(names) or 'none'}."
    return [*excluded, *names], [note]


def _attends(model: onnx.ModelProto) -> bool:
    """Tell whether there is attention: a product with what a Softmax gave."""
    shares = {name for node in model.graph.node if node.op_type == "Softmax" for name in node.output}
    return any(node.op_type == "MatMul" and shares & set(node.input) for node in model.graph.node)


def _quantise(
    prepared: Path,
    made: Path,
    batches: list[running.Inputs],
    parameters: Int8StaticParameters,
    excluded: list[str],
) -> str:
    reduces, note = quantised.reduces_range(parameters.reduce_range)
    model = onnx.load(prepared, load_external_data=False)
    op_types = sorted(parameters.op_types) or None
    options: dict[str, Any] = {
        "ActivationSymmetric": parameters.symmetric_activations,
        "WeightSymmetric": parameters.symmetric_weights,
        "CalibStridedMinMax": 1,
    }
    if parameters.calibration == "moving_average":
        options["CalibMovingAverage"] = True
    if parameters.calibration == "percentile":
        options["CalibPercentile"] = parameters.percentile
    if op_types is None and _attends(model):
        # Masks of minus infinity and norms would leave nothing of a range of 8 bits.
        op_types = list(_PRODUCTS)
        options |= {"MatMulConstBOnly": True, "OpTypesToExcludeOutputQuantization": op_types}
    with translating(PASS, "onnxruntime.quantization", [node.name for node in model.graph.node]):
        quantize_static(
            prepared,
            made,
            _Reader(batches),
            quant_format=QuantFormat.QDQ if parameters.format == "qdq" else QuantFormat.QOperator,
            op_types_to_quantize=op_types,
            per_channel=parameters.per_channel,
            reduce_range=reduces,
            activation_type=_TYPES[parameters.activation_type],
            weight_type=QuantType.QInt8,
            nodes_to_exclude=excluded,
            use_external_data_format=models.has_external_weights(prepared),
            calibrate_method=_METHODS[parameters.calibration],
            extra_options=options,
        )
    return note
