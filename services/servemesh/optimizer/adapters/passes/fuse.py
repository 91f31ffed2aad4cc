"""fuse: saves what onnxruntime's optimisers for graphs and for transformers make of a model."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import onnx
import onnxruntime as ort
from onnxruntime.transformers import optimizer

from servemesh.errors import ServemeshError
from servemesh.optimizer.adapters.passes import checking, models
from servemesh.optimizer.adapters.passes.context import PassContext
from servemesh.optimizer.adapters.passes.faults import translating
from servemesh.optimizer.domain.passes.graphs import FuseParameters

PASS = "fuse"
_LEVELS = {
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_ATTENTION = frozenset({"Attention", "MultiHeadAttention", "GroupQueryAttention", "PackedAttention"})


def apply(source: Path, target: Path, parameters: FuseParameters, context: PassContext) -> list[str]:
    """Write the fused model; attention is kept as it was where fusing it would change the answers."""
    model = models.read(source)
    notes = []
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.onnx"
        models.write(model, plain, model)
        start = plain
        if parameters.transformer and any(node.op_type == "Softmax" for node in model.graph.node):
            start, note = _with_attention(plain, parameters, context)
            notes.append(note)
        fused = _saved(start, Path(folder) / "fused.onnx", parameters.level)
    before, after = _operators(model), _operators(fused)
    if before == after and models.weights_bytes(fused) >= models.weights_bytes(model):
        raise models.does_not_apply(PASS, "onnxruntime finds nothing to fuse in it", "leave the pass out")
    models.write(fused, target, model)
    notes += checking.check_same(PASS, source, target, parameters.tolerance, context)
    return [f"{sum(before.values())} nodes became {sum(after.values())}.", *notes]


def _with_attention(plain: Path, parameters: FuseParameters, context: PassContext) -> tuple[Path, str]:
    """Return the model with attention fused, or `plain` where there is none or the answers would change."""
    before = onnx.load(plain)
    names = [node.name for node in before.graph.node]
    with translating(PASS, "onnxruntime.transformers", names):
        made = optimizer.optimize_model(
            str(plain),
            model_type="bert",
            num_heads=parameters.heads,
            hidden_size=parameters.hidden_size,
            opt_level=1,
            use_gpu=False,
        ).model
    count = sum(node.op_type in _ATTENTION for node in made.graph.node)
    if not count:
        return plain, "There is no attention in it that could be fused."
    fused = plain.with_name("attention.onnx")
    models.name_nodes(made)
    models.sort_nodes(made.graph)
    models.write(made, fused, before)
    try:
        checking.check_same(PASS, plain, fused, parameters.tolerance, context)
    except ServemeshError:
        return (
            plain,
            f"{count} attentions could be fused, but the answers would change: they were left as they are.",
        )
    return fused, f"{count} attentions were fused."


def _saved(source: Path, target: Path, level: str) -> onnx.ModelProto:
    settings = ort.SessionOptions()
    settings.graph_optimization_level = _LEVELS[level]
    settings.optimized_model_filepath = str(target)
    settings.log_severity_level = 4
    if models.has_external_weights(source):
        entry = "session.optimized_model_external_initializers_file_name"
        settings.add_session_config_entry(entry, f"{target.name}.data")
    with translating(PASS, "onnxruntime", ()):
        ort.InferenceSession(str(source), settings, providers=["CPUExecutionProvider"])
    model = onnx.load(target)
    models.name_nodes(model)
    return model


def _operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(f"{node.domain}:{node.op_type}" for node in models.nodes(model))
