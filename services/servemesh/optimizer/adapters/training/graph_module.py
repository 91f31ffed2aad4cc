"""An ONNX graph as a torch module whose weights can be trained and written back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import onnx
import torch
from onnx import helper, inliner, numpy_helper
from torch import Tensor

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.training.operators import OPERATORS
from servemesh.optimizer.adapters.training.operators.call import Call, Operator
from servemesh.optimizer.adapters.training.trainable import trainable_names

_STANDARD = ("", "ai.onnx")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One node, ready to run; `spent` are the tensors that nobody needs after it."""

    node: str
    operator: str
    function: Operator
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    spent: tuple[str, ...]


class GraphModule(torch.nn.Module):
    """Computes what the graph computes. Weights that training may change are parameters, other constants buffers."""

    def __init__(
        self, steps: tuple[Step, ...], inputs: tuple[str, ...], outputs: tuple[str, ...], opset: int
    ) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        self._steps, self._opset = steps, opset
        self._key_of: dict[str, str] = {}  # torch allows no dots in a parameter's name

    @classmethod
    def from_model(cls, model: onnx.ModelProto) -> Self:
        """Return the module of `model`. InvalidError that names the node if an operator is not known."""
        model = readable(model)
        graph = model.graph
        constants = {tensor.name for tensor in graph.initializer}
        module = cls(
            tuple(_steps(graph)),
            tuple(value.name for value in graph.input if value.name not in constants),
            tuple(value.name for value in graph.output),
            opset_of(model),
        )
        trained = trainable_names(graph)
        for tensor in graph.initializer:
            module._keep(tensor.name, tensor_from(tensor), tensor.name in trained)
        return module

    def _keep(self, name: str, value: Tensor, trained: bool) -> None:
        key = f"tensor_{len(self._key_of)}"
        self._key_of[name] = key
        if trained:
            self.register_parameter(key, torch.nn.Parameter(value))
        else:
            self.register_buffer(key, value)

    @property
    def constant_names(self) -> set[str]:
        """The weights and constants of the graph."""
        return set(self._key_of)

    def constant(self, name: str) -> Tensor:
        """Return the weight or constant of that name in the graph."""
        return getattr(self, self._key_of[name])

    def trained(self) -> dict[str, Tensor]:
        """Return the parameters under their names in the graph."""
        return {name: self.constant(name) for name, key in self._key_of.items() if key in self._parameters}

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the outputs by name."""
        return self.watched(inputs, None)

    def watched(
        self, inputs: Mapping[str, Tensor], seen: Callable[[str, Tensor], None] | None
    ) -> dict[str, Tensor]:
        """Return the outputs by name; `seen` is shown every tensor on the way."""
        values: dict[str, Tensor] = {name: self.constant(name) for name in self._key_of}
        values.update((name, inputs[name]) for name in self.inputs)
        for step in self._steps:
            for name, value in zip(step.outputs, self._run(step, values), strict=False):
                if name:
                    values[name] = value
                    if seen is not None:
                        seen(name, value)
            for name in step.spent:
                values.pop(name, None)
        return {name: values[name] for name in self.outputs}

    def _run(self, step: Step, values: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        call = Call(
            node=step.node,
            operator=step.operator,
            inputs=[values[name] if name else None for name in step.inputs],
            attributes=step.attributes,
            output_count=len(step.outputs),
            opset=self._opset,
            training=self.training,
        )
        result = step.function(call)
        results = (result,) if isinstance(result, Tensor) else result
        if any(step.outputs[len(results) :]):
            raise call.refused(f"has {len(step.outputs)} outputs")
        return results


def readable(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with its local functions inlined and its Constant nodes as initializers."""
    model = inliner.inline_local_functions(model) if model.functions else _copy(model)
    graph = model.graph
    for node in [node for node in graph.node if node.op_type == "Constant" and node.domain in _STANDARD]:
        graph.initializer.append(_constant(node))
        graph.node.remove(node)
    return model


def tensor_from(tensor: onnx.TensorProto) -> Tensor:
    """Return an initializer as a torch tensor of its own."""
    if tensor.data_type == onnx.TensorProto.STRING:
        raise _untrainable(tensor)
    array = np.array(numpy_helper.to_array(tensor), copy=True)
    if array.dtype.kind not in "fiub":
        raise _untrainable(tensor)
    return torch.from_numpy(array)


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of the standard operator set that the model was written for."""
    return next((entry.version for entry in model.opset_import if entry.domain in _STANDARD), 1)


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    return copied


def _constant(node: onnx.NodeProto) -> onnx.TensorProto:
    """Return what a Constant node holds, under the name of its output."""
    kind = node.attribute[0].name
    value = helper.get_attribute_value(node.attribute[0])
    if kind == "value":
        tensor = onnx.TensorProto()
        tensor.CopyFrom(value)
        tensor.name = node.output[0]
        return tensor
    dtype = {
        "value_int": np.int64,
        "value_ints": np.int64,
        "value_float": np.float32,
        "value_floats": np.float32,
    }
    if kind not in dtype:
        raise _unknown(node)
    return numpy_helper.from_array(np.asarray(value, dtype[kind]), node.output[0])


def _steps(graph: onnx.GraphProto) -> Iterator[Step]:
    """Yield the nodes in order, each with the tensors whose last use it is."""
    kept = {value.name for value in graph.output} | {tensor.name for tensor in graph.initializer}
    last_use: dict[str, int] = {}
    for place, node in enumerate(graph.node):
        last_use.update((name, place) for name in (*node.input, *node.output) if name not in kept)
    spent: dict[int, list[str]] = {}
    for name, place in last_use.items():
        spent.setdefault(place, []).append(name)
    for place, node in enumerate(graph.node):
        function = OPERATORS.get(node.op_type) if node.domain in _STANDARD else None
        if function is None:
            raise _unknown(node)
        yield Step(
            node=node.name or node.output[0],
            operator=node.op_type,
            function=function,
            inputs=tuple(node.input),
            outputs=tuple(node.output),
            attributes={attribute.name: _attribute(attribute) for attribute in node.attribute},
            spent=tuple(spent.get(place, ())),
        )


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, onnx.TensorProto):
        return tensor_from(value)
    return list(value) if attribute.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS) else value


def _untrainable(tensor: onnx.TensorProto) -> InvalidError:
    datatype = onnx.TensorProto.DataType.Name(tensor.data_type)
    return InvalidError(
        f"Tensor '{tensor.name}' is of type {datatype}, which cannot be trained. Train in FP32 and quantise after.",
        reason="OPERATOR_NOT_TRAINABLE",
        field=tensor.name,
        expected="floats, integers and booleans of NumPy",
        got=datatype,
    )


def _unknown(node: onnx.NodeProto) -> InvalidError:
    operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    name = node.name or node.output[0]
    return InvalidError(
        f"Node '{name}' is a {operator}, which cannot be trained. Train before passes that fuse or quantise, "
        "distil into a student 'mlp', or choose passes that do not train.",
        reason="OPERATOR_NOT_TRAINABLE",
        field=name,
        expected="standard ONNX operators of dense, convolutional and attention networks",
        got=operator,
    )
