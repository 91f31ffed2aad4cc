"""Reads and writes ONNX models for passes: weights beside the file, names for nodes, the interface as it was."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import external_data_helper, inliner, numpy_helper

from servemesh.errors import InvalidError

EXTERNAL_FROM_BYTES = (
    1 << 30
)  # a protobuf message ends at 2 GiB; what libraries add on the way needs room, too
FLOAT_DATATYPES = frozenset({"BF16", "FP16", "FP32", "FP64"})
_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)


def read(path: Path) -> onnx.ModelProto:
    """Return the model with its weights in memory, without functions of its own, and a name for every node."""
    model = onnx.load(path)
    if model.functions and weights_bytes(model) < EXTERNAL_FROM_BYTES:
        model = inliner.inline_local_functions(model)
    name_nodes(model)
    return model


def write(model: onnx.ModelProto, path: Path, like: onnx.ModelProto) -> None:
    """Write `model` with the inputs, outputs and words of `like`; weights beside the file where there are many."""
    keep_interface(model, like)
    _forget_domains(model)
    external = weights_bytes(model) >= EXTERNAL_FROM_BYTES
    if external:
        onnx.save(model, path, save_as_external_data=True, location=f"{path.name}.data", size_threshold=1024)
    else:
        path.write_bytes(model.SerializeToString(deterministic=True))


def keep_interface(model: onnx.ModelProto, like: onnx.ModelProto) -> None:
    """Give `model` the inputs and outputs of `like` in name, datatype, shape and order, and its metadata."""
    weights = {tensor.name for tensor in like.graph.initializer}
    kept = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in like.graph.input if value.name not in weights or value.name in kept]
    outputs = list(like.graph.output)
    for values, wanted in ((model.graph.input, inputs), (model.graph.output, outputs)):
        copies = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in wanted]
        del values[:]
        values.extend(copies)
    have = {entry.key for entry in model.metadata_props}
    model.metadata_props.extend(entry for entry in like.metadata_props if entry.key not in have)


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield `graph` and every graph inside its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from graphs(attribute.g)
            for inner in attribute.graphs:
                yield from graphs(inner)


def nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of the model, of its subgraphs too."""
    for graph in graphs(model.graph):
        yield from graph.node


def name_nodes(model: onnx.ModelProto) -> None:
    """Give a name to each node that has none or shares one: type and number, the same for the same model."""
    taken = Counter(node.name for node in nodes(model))
    for number, node in enumerate(nodes(model)):
        if not node.name or taken[node.name] > 1:
            taken[node.name] -= 1
            name = f"{node.op_type}_{number}"
            while taken[name]:
                name += "_"
            node.name = name
            taken[name] += 1


def weights_bytes(model: onnx.ModelProto) -> int:
    """Return the bytes of all weights, roughly: those in raw form, which large ones always have."""
    return sum(len(tensor.raw_data) for graph in graphs(model.graph) for tensor in graph.initializer)


def weight(model: onnx.ModelProto, name: str) -> onnx.TensorProto | None:
    """Return the initializer of that name at the top of the model, None if there is none."""
    return next((tensor for tensor in model.graph.initializer if tensor.name == name), None)


def weights(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Return the initializers of 32 or 64 bit floats at the top of the model, by name."""
    return {tensor.name: tensor for tensor in model.graph.initializer if tensor.data_type in _FLOATS}


def set_values(tensor: onnx.TensorProto, values: np.ndarray) -> None:
    """Give an initializer new values under its name."""
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), tensor.name))


def has_external_weights(path: Path) -> bool:
    """Tell whether weights lie beside the file."""
    model = onnx.load(path, load_external_data=False)
    tensors = (tensor for graph in graphs(model.graph) for tensor in graph.initializer)
    return any(external_data_helper.uses_external_data(tensor) for tensor in tensors)


def opset(model: onnx.ModelProto) -> int:
    """Return the version of ONNX's own operators that the model uses; 0 if it uses none of them."""
    versions = (entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    return max(versions, default=0)


def import_domain(model: onnx.ModelProto, domain: str, version: int) -> None:
    """Declare that the model uses operators of `domain`."""
    if all(entry.domain != domain for entry in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid(domain, version))


def sort_nodes(graph: onnx.GraphProto) -> None:
    """Put each node after those whose outputs it reads, otherwise in the order that they have."""
    makers = {name: number for number, node in enumerate(graph.node) for name in node.output if name}
    readers: dict[int, set[int]] = {}
    missing = [0] * len(graph.node)
    for number, node in enumerate(graph.node):
        needed = {makers[name] for name in names_read(node) if name in makers}
        missing[number] = len(needed)
        for maker in needed:
            readers.setdefault(maker, set()).add(number)
    ready = [number for number, count in enumerate(missing) if count == 0]
    order = []
    while ready:
        number = heapq.heappop(ready)
        order.append(number)
        for reader in readers.get(number, ()):
            missing[reader] -= 1
            if missing[reader] == 0:
                heapq.heappush(ready, reader)
    set_nodes(graph, [graph.node[number] for number in order])


def set_nodes(graph: onnx.GraphProto, wanted: Sequence[onnx.NodeProto]) -> None:
    """Let these be the nodes of the graph, some of which it may have already."""
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in wanted]
    del graph.node[:]
    graph.node.extend(copies)


def forget_unread(model: onnx.ModelProto) -> None:
    """Remove the weights that nothing reads."""
    read = {name for node in model.graph.node for name in names_read(node)}
    read |= {value.name for value in model.graph.output}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    copies = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
    del model.graph.initializer[:]
    model.graph.initializer.extend(copies)


def names_read(node: onnx.NodeProto) -> set[str]:
    """Return the tensors that a node reads, those that its subgraphs read too."""
    names = {name for name in node.input if name}
    for attribute in node.attribute:
        inner = [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else list(attribute.graphs)
        for graph in inner:
            for each in graph.node:
                names |= names_read(each)
            names |= {value.name for value in graph.output}
    return names


def names_read_inside(model: onnx.ModelProto) -> set[str]:
    """Return the tensors that subgraphs read, wherever they are made."""
    return {name for node in model.graph.node for name in names_read(node) - set(node.input)}


def _forget_domains(model: onnx.ModelProto) -> None:
    """Declare only the operators that are used: runtimes declare all that they know."""
    used = (
        {"", "ai.onnx"} | {node.domain for node in nodes(model)} | {each.domain for each in model.functions}
    )
    used |= {node.domain for function in model.functions for node in function.node}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    if len(kept) < len(model.opset_import):
        copies = [onnx.OperatorSetIdProto.FromString(entry.SerializeToString()) for entry in kept]
        del model.opset_import[:]
        model.opset_import.extend(copies)


def does_not_apply(pass_id: str, why: str, instead: str, **metadata: object) -> InvalidError:
    """Return the error of a pass that can do nothing for a model: why, and what to try."""
    return InvalidError(
        f"pass {pass_id} does nothing for this model: {why}; {instead}",
        reason="PASS_DOES_NOT_APPLY",
        **{"pass": pass_id, **metadata},
    )
