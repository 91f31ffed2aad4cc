"""simplify: folds what is constant and removes what does nothing, by onnxslim."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx
import onnxslim

from servemesh.optimizer.adapters.passes import checking, models
from servemesh.optimizer.adapters.passes.context import PassContext
from servemesh.optimizer.adapters.passes.faults import translating
from servemesh.optimizer.domain.passes.graphs import SimplifyParameters

PASS = "simplify"


def apply(source: Path, target: Path, parameters: SimplifyParameters, context: PassContext) -> list[str]:
    """Write the model with fewer nodes and the same outputs."""
    model = models.read(source)
    before = _operators(model)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    with translating(PASS, "onnxslim", before):
        slim = onnxslim.slim(copy)
    models.name_nodes(slim)
    after = _operators(slim)
    if after == before and models.weights_bytes(slim) >= models.weights_bytes(model):
        raise models.does_not_apply(PASS, "nothing in its graph is constant or idle", "leave the pass out")
    models.write(slim, target, model)
    notes = checking.check_same(PASS, source, target, parameters.tolerance, context)
    return [f"{sum(before.values())} nodes became {sum(after.values())}.", *notes]


def _operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in models.nodes(model))
