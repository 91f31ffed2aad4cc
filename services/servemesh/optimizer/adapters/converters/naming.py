"""Names in a converted model: inputs and outputs as in the source, free sizes by what they count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

BATCH = "batch"


def rename(model: Any, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Name inputs and outputs; both are in the model's order."""
    new = {
        value.name: name
        for values, names in ((model.graph.input, inputs), (model.graph.output, outputs))
        for value, name in zip(values, names, strict=True)
    }
    for value in (*model.graph.input, *model.graph.output):
        value.name = new[value.name]
    for node in model.graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new.get(name, name) for name in node.output]


def name_batch(model: Any) -> None:
    """Call the free first axis of the inputs BATCH wherever it occurs, if they have one in common."""
    firsts = {
        value.type.tensor_type.shape.dim[0].dim_param
        for value in model.graph.input
        if len(value.type.tensor_type.shape.dim)
    }
    if len(firsts) == 1 and (old := firsts.pop()):
        name_size(model, old, BATCH)


def name_rows(model: Any) -> None:
    """Call every free first axis of inputs and outputs BATCH, where converters give each a name of its own."""
    for value in (*model.graph.input, *model.graph.output):
        sizes = value.type.tensor_type.shape.dim
        if len(sizes) and not sizes[0].HasField("dim_value"):
            sizes[0].dim_param = BATCH


def name_size(model: Any, old: str, new: str) -> None:
    """Call the free size `old` by another name."""
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param == old:
                dimension.dim_param = new


def forget_origin(model: Any) -> None:
    """Leave out what exporters note of the source's code: it holds paths of machines and changes between runs."""
    for owner in (model.graph, *model.functions, *model.graph.node, *model.graph.value_info):
        del owner.metadata_props[:]
        owner.doc_string = ""
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
        value.doc_string = ""
