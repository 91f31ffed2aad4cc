"""An ONNX model without its weights: what is left is small, and checking it touches no other file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx

WEIGHT_BYTES_MIN = 4_096  # smaller tensors stay: shapes are computed from them


def nodes(model: Any) -> Iterator[Any]:
    """Iterate every node of every graph, subgraph and function, without recursion."""
    for block in _blocks(model):
        yield from block.node


def tensors(model: Any) -> Iterator[Any]:
    """Iterate every tensor that the model holds: initializers, attributes, sparse ones, in every graph."""
    for block in _blocks(model):
        yield from getattr(block, "initializer", ())
        for sparse in getattr(block, "sparse_initializer", ()):
            yield from (sparse.values, sparse.indices)
        for attribute in _attributes(block):
            yield from (attribute.t, *attribute.tensors) if attribute.HasField("t") else attribute.tensors
            if attribute.HasField("sparse_tensor"):
                yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
            for sparse in attribute.sparse_tensors:
                yield from (sparse.values, sparse.indices)


def without_weights(model: Any) -> Any:
    """Return `model` with its large and its external initializers turned into inputs. `model` is spent."""
    for block in _blocks(model):
        initializers: Any = getattr(block, "initializer", ())
        for index in reversed(range(len(initializers))):
            tensor = initializers[index]
            if _is_heavy(tensor):
                if block is model.graph and tensor.name not in {value.name for value in block.input}:
                    block.input.append(
                        onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
                    )
                _empty(tensor) if block is not model.graph else initializers.pop(index)
    for tensor in tensors(model):
        if _is_heavy(tensor):
            _empty(tensor)
    # Before IR 4 an initializer had to be an input too; no runtime insists on it, so neither does the checker.
    model.ir_version = max(model.ir_version, 4)
    return model


def fault_of(skeleton: Any) -> str:
    """Return what ONNX's own checker finds wrong, "" if nothing. `skeleton` is spent."""
    for value in (*skeleton.graph.input, *skeleton.graph.output):
        if value.type.WhichOneof("value") == "tensor_type":
            value.type.tensor_type.shape.SetInParent()  # the checker insists on a shape, the runtime does not
    try:
        onnx.checker.check_model(skeleton)
    except onnx.checker.ValidationError as error:
        return str(error).strip().partition("\n")[0].rstrip(".")
    except (ValueError, TypeError, RuntimeError):
        return "the checker cannot read it"
    return ""


def outputs_with_shapes(skeleton: Any) -> list[Any]:
    """Return the outputs, with types and shapes inferred where the model does not state them."""
    declared = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in skeleton.graph.output]
    if all(_is_stated(value) for value in declared):
        return declared
    try:
        inferred = onnx.shape_inference.infer_shapes(skeleton)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        return declared
    known = {value.name: value for value in inferred.graph.output}
    return [value if _is_stated(value) else known.get(value.name, value) for value in declared]


def _is_stated(value: Any) -> bool:
    kind = value.type.WhichOneof("value")
    return kind is not None and (kind != "tensor_type" or value.type.tensor_type.HasField("shape"))


def _is_heavy(tensor: Any) -> bool:
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.ByteSize() > WEIGHT_BYTES_MIN)


def _empty(tensor: Any) -> None:
    """Leave a tensor of the same type without elements."""
    name, data_type = tensor.name, tensor.data_type
    tensor.Clear()
    tensor.name, tensor.data_type = name, data_type
    tensor.dims.append(0)


def _blocks(model: Any) -> Iterator[Any]:
    """Iterate graphs and functions: whatever has nodes."""
    waiting = [model.graph, *model.functions]
    for training in model.training_info:
        waiting += [training.initialization, training.algorithm]
    while waiting:
        block = waiting.pop()
        yield block
        for attribute in _attributes(block):
            if attribute.HasField("g"):
                waiting.append(attribute.g)
            waiting.extend(attribute.graphs)


def _attributes(block: Any) -> Iterator[Any]:
    for node in block.node:
        yield from node.attribute
