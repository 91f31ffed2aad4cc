"""ONNX graphs as torch modules compute what onnxruntime computes, and give their weights back under their names."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.case import node

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.training.graph_module import GraphModule, readable
from servemesh.optimizer.adapters.training.operators import OPERATORS
from servemesh.optimizer.adapters.training.weights import write_back
from tests.harness.training import answers, computed

Array = np.ndarray[Any, Any]
DTYPES = [np.dtype(name) for name in ("bool", "int32", "int64", "float32", "float64")]
EXAMPLES_LEAST = 300  # of the standard's own, that must be computed rather than refused


def test_every_example_of_the_standard_is_computed_right_or_refused_by_name():
    right, wrong = 0, []
    for case in examples_of_the_standard():
        if not is_for_us(case):
            continue
        try:
            verdict = is_right(case)
        except InvalidError as error:
            if error.reason == "OPERATOR_NOT_TRAINABLE":
                continue
            raise
        except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError) as error:
            wrong.append(f"{case.name}: {type(error).__name__} {error}"[:200])
            continue
        right += verdict
        if not verdict:
            wrong.append(case.name)
    assert "\n".join(wrong) == ""
    assert right >= EXAMPLES_LEAST


def examples_of_the_standard() -> list[Any]:
    """Return the examples that the ONNX package makes for our operators when their modules are imported."""
    ours = {operator.lower() for operator in OPERATORS}
    for module in pkgutil.iter_modules(node.__path__):
        if module.name.replace("_", "") in ours:
            importlib.import_module(f"{node.__name__}.{module.name}")
    return list(node._NodeTestCases)


def is_for_us(case: Any) -> bool:
    """Tell whether an example is of an operator and of datatypes that networks compute with."""
    operators = {each.op_type for each in case.model.graph.node}
    arrays = [array for arrays in case.data_sets[0] for array in arrays]
    return (
        len(case.model.graph.node) == 1
        and operators <= OPERATORS.keys()
        and all(isinstance(array, np.ndarray | np.generic) and array.dtype in DTYPES for array in arrays)
    )


def is_right(case: Any) -> bool:
    inputs, expected = case.data_sets[0]
    names = [value.name for value in case.model.graph.input]
    ours = computed(case.model, dict(zip(names, inputs, strict=True)))
    return all(
        own.shape == right.shape
        and own.dtype == right.dtype
        and np.allclose(own, right, rtol=1e-3, atol=1e-5, equal_nan=True)
        for own, right in zip(ours, expected, strict=True)
    )


def a_graph(only: onnx.NodeProto) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("rows", 4)) for name in ("x", "y")]
    weight = numpy_helper.from_array(np.ones((4, 4), np.float32), "w")
    graph = helper.make_graph([only], "graph", values[:1], values[1:], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.mark.parametrize(
    ("operator", "domain", "shown"),
    [
        ("FusedMatMul", "com.microsoft", "com.microsoft.FusedMatMul"),
        ("StringNormalizer", "", "StringNormalizer"),
    ],
)
def test_an_unknown_operator_is_refused_with_the_name_of_its_node(operator: str, domain: str, shown: str):
    odd = helper.make_node(operator, ["x", "w"], ["y"], name="odd_one", domain=domain)
    with pytest.raises(InvalidError, match="odd_one") as caught:
        GraphModule.from_model(a_graph(odd))
    assert caught.value.reason == "OPERATOR_NOT_TRAINABLE"
    assert caught.value.metadata["field"] == "odd_one"
    assert caught.value.metadata["got"] == shown


def test_trained_weights_go_back_under_their_names():
    model = readable(a_graph(helper.make_node("MatMul", ["x", "w"], ["y"], name="product")))
    module = GraphModule.from_model(model)
    with torch.no_grad():
        module.trained()["w"].mul_(3)
    assert write_back(model, module) == 1
    assert answers(model, {"x": np.ones((1, 4), np.float32)})[0].tolist() == [[12.0] * 4]


def test_numbers_of_a_formula_are_no_weights():
    model = a_graph(helper.make_node("Mul", ["x", "half"], ["y"], name="halved"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), "half"))
    assert GraphModule.from_model(model).trained() == {}
