"""int8_dynamic: weights as int8, activations quantised while the model runs, by onnxruntime."""

from __future__ import annotations

from pathlib import Path

from onnxruntime.quantization import QuantType, quantize_dynamic

from servemesh.optimizer.adapters.passes import models, quantised
from servemesh.optimizer.adapters.passes.context import PassContext
from servemesh.optimizer.adapters.passes.faults import translating
from servemesh.optimizer.domain.passes.quantizing import Int8DynamicParameters

PASS = "int8_dynamic"


def apply(source: Path, target: Path, parameters: Int8DynamicParameters, context: PassContext) -> list[str]:
    """Write the quantised model."""
    model = models.read(source)
    quantised.check_any(model, PASS)
    excluded = [*parameters.nodes_excluded, *quantised.untouchable(model)]
    reduces, note = quantised.reduces_range(parameters.reduce_range)
    with quantised.as_file(model) as path:
        made = path.with_name("made.onnx")
        with translating(PASS, "onnxruntime.quantization", [node.name for node in model.graph.node]):
            quantize_dynamic(
                path,
                made,
                op_types_to_quantize=sorted(parameters.op_types),
                per_channel=parameters.per_channel,
                reduce_range=reduces,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=excluded,
                use_external_data_format=models.has_external_weights(path),
                extra_options={"WeightSymmetric": parameters.symmetric_weights, "MatMulConstBOnly": True},
            )
        done = quantised.finished(made, target, model, PASS, "convolutions do better with int8_static")
    return [done, note]
