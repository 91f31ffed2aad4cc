"""A multi-layer perceptron made for the inputs and outputs of any teacher, untrained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.training.signature import model_inputs

Array = np.ndarray[Any, Any]
_OPSET, _IR = 18, 10
_NAMED_LEAST = 0.9  # share of rows whose name must be that of the best score
_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Some rows and what the teacher answers to them: from these the student learns its widths and its classes."""

    inputs: Mapping[str, Array]
    answers: Mapping[str, Array]


def perceptron(teacher: onnx.ModelProto, sample: Sample, hidden: Sequence[int], seed: int) -> onnx.ModelProto:
    """Return a model with the teacher's inputs and outputs. InvalidError if an output is none that it can have.

    Inputs are flattened, joined and scaled to the sample's mean and spread. One output with a fraction is what is
    learned; it may be probabilities. One more may name the class that is most probable.
    """
    builder = _Builder(seed)
    width = builder.features(teacher, sample.inputs)
    scores = _scores_output(teacher, sample)
    for size in hidden:
        width = builder.layer(width, size, "Relu")
    values = sample.answers[scores.name].reshape(len(sample.answers[scores.name]), -1)
    builder.layer(width, values.shape[1], None)
    is_chances = values.shape[1] > 1 and values.min() >= 0 and np.allclose(values.sum(-1), 1, atol=1e-3)
    builder.scores(scores, is_chances, sample.answers[scores.name].shape[1:])
    for output in teacher.graph.output:
        if output.name != scores.name:
            builder.chosen(output, _class_names(output, sample.answers, values))
    graph = helper.make_graph(
        builder.nodes,
        "perceptron",
        [value for value in teacher.graph.input if value.name in sample.inputs],
        list(teacher.graph.output),
        builder.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    onnx.checker.check_model(model)
    return model


class _Builder:
    """Collects nodes and weights; `self.last` is the tensor to go on from."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.last = ""
        self._classes = ""
        self._random = np.random.default_rng((seed, 4))

    def features(self, teacher: onnx.ModelProto, inputs: Mapping[str, Array]) -> int:
        """Join the inputs into one row of scaled numbers; return how many."""
        parts, flat = [], []
        for place, value in enumerate(model_inputs(teacher)):
            rows = inputs[value.name]
            if rows.dtype.kind not in "fiub":
                raise _unfit(value.name, "an input that holds text")
            self._add("Cast", [value.name], f"cast_{place}", to=TensorProto.FLOAT)
            self._add("Flatten", [f"cast_{place}"], f"flat_{place}", axis=1)
            parts.append(f"flat_{place}")
            flat.append(rows.reshape(len(rows), -1).astype(np.float64))
        self._add("Concat", parts, "features", axis=1)
        joined = np.concatenate(flat, axis=1)
        spread = joined.std(axis=0)
        self._keep("mean", joined.mean(axis=0))
        self._keep("scale", np.where(spread > 1e-6, 1 / np.maximum(spread, 1e-6), 0.0))
        self._add("Sub", ["features", "mean"], "centred")
        self._add("Mul", ["centred", "scale"], "scaled")
        return int(joined.shape[1])

    def layer(self, inside: int, outside: int, activation: str | None) -> int:
        """Add a dense layer; return its width."""
        number = len(self.nodes)
        self._keep(f"weight_{number}", self._random.normal(0, np.sqrt(2 / inside), (inside, outside)))
        self._keep(f"bias_{number}", np.zeros(outside))
        self._add("Gemm", [self.last, f"weight_{number}", f"bias_{number}"], f"dense_{number}")
        if activation:
            self._add(activation, [self.last], f"active_{number}")
        return outside

    def scores(self, output: onnx.ValueInfoProto, is_chances: bool, row_shape: Sequence[int]) -> None:
        """Make the output that is learned."""
        if is_chances:
            self._add("Softmax", [self.last], "chances", axis=-1)
        self._classes = self.last
        if len(row_shape) != 1:
            self.weights.append(numpy_helper.from_array(np.array([-1, *row_shape], np.int64), "row_shape"))
            self._add("Reshape", [self.last, "row_shape"], "shaped")
        self._add("Cast", [self.last], output.name, to=output.type.tensor_type.elem_type)

    def chosen(self, output: onnx.ValueInfoProto, names: Array) -> None:
        """Make the output that names the best class."""
        self.weights.append(numpy_helper.from_array(names, "class_names"))
        self._add("ArgMax", [self._classes], "best", axis=-1, keepdims=0)
        self._add("Gather", ["class_names", "best"], output.name, axis=0)

    def _keep(self, name: str, values: Array) -> None:
        self.weights.append(numpy_helper.from_array(values.astype(np.float32), name))

    def _add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        self.last = output


def _scores_output(teacher: onnx.ModelProto, sample: Sample) -> onnx.ValueInfoProto:
    found: list[onnx.ValueInfoProto] = [
        value for value in teacher.graph.output if value.type.tensor_type.elem_type in _FLOATS
    ]
    if len(found) != 1 or found[0].name not in sample.answers or len(teacher.graph.output) > 2:
        names = [value.name for value in teacher.graph.output]
        raise _unfit(
            ", ".join(names), "other than one output of scores or values, and perhaps one of classes"
        )
    return found[0]


def _class_names(output: onnx.ValueInfoProto, answers: Mapping[str, Array], scores: Array) -> Array:
    """Return what the teacher calls each class; a class that it never chose is called by its number."""
    said, best = answers[output.name].reshape(-1), scores.argmax(-1)
    if len(said) != len(scores) or scores.shape[1] < 2:
        raise _unfit(output.name, "an output that does not name a class for each row")
    names = []
    for place in range(scores.shape[1]):
        values, counts = np.unique(said[best == place], return_counts=True)
        names.append(values[counts.argmax()] if len(values) else place)
    if output.type.tensor_type.elem_type == TensorProto.STRING:
        named = np.array([str(name) for name in names], object)
    else:
        named = np.array(names, helper.tensor_dtype_to_np_dtype(output.type.tensor_type.elem_type))
    if (named[best] == said).mean() < _NAMED_LEAST:
        raise _unfit(output.name, "an output that does not name the class with the best score")
    return named


def _unfit(name: str, got: str) -> InvalidError:
    return InvalidError(
        f"No perceptron can stand in for this model: it has {got} ('{name}').",
        reason="PASS_DOES_NOT_APPLY",
        field=name,
        expected="inputs of numbers; one output of scores or values and perhaps one of classes",
        got=got,
    )
