"""Trained weights, written back into the graph that they came from."""

from __future__ import annotations

import onnx
from onnx import numpy_helper

from servemesh.optimizer.adapters.training.graph_module import GraphModule


def write_back(model: onnx.ModelProto, module: GraphModule) -> int:
    """Put the weights of a module, made from `model` or a part of it, back by name; return how many changed."""
    changed = 0
    known = module.constant_names
    for target in model.graph.initializer:
        if target.name not in known:
            continue
        fresh = numpy_helper.from_array(module.constant(target.name).detach().cpu().numpy(), target.name)
        if numpy_helper.to_array(target).tobytes() != fresh.raw_data:
            target.CopyFrom(fresh)
            changed += 1
    return changed
