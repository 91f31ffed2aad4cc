"""Passes on forests, boosted trees and support vector machines: real gains at measured cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.svm import SVC, SVR

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.datasets.rows import Rows
from servemesh.optimizer.adapters.passes import trees, vectors
from servemesh.optimizer.adapters.passes.checking import interface
from tests.harness.passes import (
    accuracy,
    applied,
    from_sklearn,
    run,
    size,
    table,
    table_dataset,
    training_rows,
)

MODELS = {
    "forest": (RandomForestClassifier(n_estimators=40, random_state=0), "digits"),
    "binary_forest": (RandomForestClassifier(n_estimators=20, random_state=0), "breast_cancer"),
    "boosted": (GradientBoostingClassifier(n_estimators=40, random_state=0), "breast_cancer"),
    "regressor": (RandomForestRegressor(n_estimators=20, random_state=0), "diabetes"),
    "svm": (SVC(gamma="scale"), "digits"),
    "binary_svm": (SVC(gamma="scale"), "breast_cancer"),
    "poly_svm": (SVC(kernel="poly", degree=2, coef0=1.0), "digits"),
    "svr": (SVR(C=10.0), "diabetes"),
}


class Zoo:
    """Models and their rows, each made once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: dict[str, Rows] = {}

    def model(self, name: str) -> Path:
        path = self._folder / name / "model.onnx"
        return path if path.exists() else from_sklearn(path, *MODELS[name])

    def rows(self, name: str) -> Rows:
        data = MODELS[name][1]
        if data not in self._rows:
            self._rows[data] = table_dataset(self._folder / data, data)
        return self._rows[data]

    def inputs(self, name: str) -> dict[str, Any]:
        return {"X": table(MODELS[name][1])[0][:200]}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    return Zoo(tmp_path_factory.mktemp("zoo"))


def the_node(model: Path, operators: tuple[str, ...]) -> onnx.NodeProto:
    return next(node for node in onnx.load(model).graph.node if node.op_type in operators)


@pytest.mark.parametrize("name", ["forest", "binary_forest", "boosted", "regressor"])
def test_trees_that_are_read_and_written_answer_as_before(zoo: Zoo, tmp_path: Path, name: str):
    model = onnx.load(zoo.model(name))
    node = next(node for node in model.graph.node if node.op_type in trees.OPERATORS)
    trees.write(node, trees.read(node))
    again = tmp_path / "again.onnx"
    again.write_bytes(model.SerializeToString())
    for before, after in zip(
        run(zoo.model(name), zoo.inputs(name)), run(again, zoo.inputs(name)), strict=True
    ):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    ("name", "size_ratio_max"), [("forest", 0.6), ("binary_forest", 0.9), ("regressor", 0.95)]
)
def test_compact_trees_are_smaller_and_answer_the_same(
    zoo: Zoo, tmp_path: Path, name: str, size_ratio_max: float
):
    made, _ = applied("compact_trees", zoo.model(name), None, tmp_path)
    assert size(made) / size(zoo.model(name)) <= size_ratio_max
    for before, after in zip(
        run(zoo.model(name), zoo.inputs(name)), run(made, zoo.inputs(name)), strict=True
    ):
        np.testing.assert_allclose(before, after, rtol=1e-6)


def test_half_of_the_trees_are_a_third_of_the_size_and_answer_nearly_as_well(zoo: Zoo, tmp_path: Path):
    made, notes = applied("prune_trees", zoo.model("forest"), zoo.rows("forest"), tmp_path, tree_ratio=0.5)
    assert trees.read(the_node(made, trees.OPERATORS)).tree_count == 20
    assert size(made) / size(zoo.model("forest")) <= 0.3
    assert accuracy(made, zoo.rows("forest")) >= accuracy(zoo.model("forest"), zoo.rows("forest")) - 0.015
    assert interface(made) == interface(zoo.model("forest"))
    assert "40 trees" in notes[0]


def test_leaves_are_merged_until_the_share_of_nodes_is_reached(zoo: Zoo, tmp_path: Path):
    model, rows = zoo.model("forest"), zoo.rows("forest")
    made, _ = applied("prune_trees", model, rows, tmp_path, tree_ratio=1.0, node_ratio=0.5)
    before = len(trees.read(the_node(model, trees.OPERATORS)).tree)
    assert len(trees.read(the_node(made, trees.OPERATORS)).tree) <= 0.5 * before
    assert accuracy(made, rows) >= accuracy(model, rows) - 0.02


@pytest.mark.parametrize("name", ["binary_forest", "boosted"])
def test_pruned_trees_of_two_classes_agree(zoo: Zoo, tmp_path: Path, name: str):
    model, rows = zoo.model(name), zoo.rows(name)
    made, _ = applied("prune_trees", model, rows, tmp_path, tree_ratio=0.5)
    assert accuracy(made, rows) >= accuracy(model, rows) - 0.03
    assert interface(made) == interface(model)


def test_trees_are_given_back_until_the_answers_agree(zoo: Zoo, tmp_path: Path):
    model, rows = zoo.model("forest"), zoo.rows("forest")
    made, _ = applied("prune_trees", model, rows, tmp_path, tree_ratio=0.05, agreement_min=0.97)
    assert 2 < trees.read(the_node(made, trees.OPERATORS)).tree_count < 40


def test_a_pruned_regressor_explains_what_the_whole_one_says(zoo: Zoo, tmp_path: Path):
    model, rows = zoo.model("regressor"), zoo.rows("regressor")
    made, _ = applied("prune_trees", model, rows, tmp_path, tree_ratio=0.5)
    before, after = run(model, zoo.inputs("regressor"))[0], run(made, zoo.inputs("regressor"))[0]
    assert np.square(before - after).sum() < 0.1 * np.square(before - before.mean()).sum()


@pytest.mark.parametrize("name", ["svm", "binary_svm", "poly_svm", "svr"])
def test_machines_that_are_read_decide_as_scikit_learn_does(zoo: Zoo, name: str):
    estimator, data = MODELS[name]
    model = zoo.model(name)
    estimator.fit(*training_rows(data))
    if name != "svr":
        estimator.set_params(decision_function_shape="ovo")
    rows = table(data)[0][:50]
    machine = vectors.read(the_node(model, vectors.OPERATORS))
    assert machine is not None
    wanted = estimator.predict(rows) if name == "svr" else estimator.decision_function(rows)
    got = machine.decisions(rows.astype(np.float64))
    np.testing.assert_allclose(np.abs(got), np.abs(wanted.reshape(got.shape)), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("name", ["svm", "binary_svm", "poly_svm", "svr"])
def test_machines_that_are_read_and_written_answer_as_before(zoo: Zoo, tmp_path: Path, name: str):
    model = onnx.load(zoo.model(name))
    node = next(node for node in model.graph.node if node.op_type in vectors.OPERATORS)
    machine = vectors.read(node)
    assert machine is not None
    vectors.write(node, machine)
    again = tmp_path / "again.onnx"
    again.write_bytes(model.SerializeToString())
    for before, after in zip(
        run(zoo.model(name), zoo.inputs(name)), run(again, zoo.inputs(name)), strict=True
    ):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("method", ["magnitude", "kmeans"])
def test_a_third_of_the_vectors_answers_like_all_of_them(zoo: Zoo, tmp_path: Path, method: str):
    model, rows = zoo.model("svm"), zoo.rows("svm")
    made, notes = applied("reduce_svm", model, rows, tmp_path, vector_ratio=0.33, method=method)
    assert size(made) / size(model) <= 0.4
    assert accuracy(made, rows) >= accuracy(model, rows) - 0.01
    assert interface(made) == interface(model)
    assert "support vectors became" in notes[0]


def test_a_reduced_regressor_explains_what_the_whole_one_says(zoo: Zoo, tmp_path: Path):
    model, rows = zoo.model("svr"), zoo.rows("svr")
    made, _ = applied("reduce_svm", model, rows, tmp_path, vector_ratio=0.25, agreement_min=0.9)
    before, after = run(model, zoo.inputs("svr"))[0], run(made, zoo.inputs("svr"))[0]
    assert np.square(before - after).sum() < 0.1 * np.square(before - before.mean()).sum()


@pytest.mark.parametrize(
    ("name", "pass_id"),
    [
        ("forest", "int8_static"),
        ("forest", "fp16"),
        ("svm", "prune_trees"),
        ("forest", "reduce_svm"),
        ("svm", "weight_only"),
    ],
)
def test_a_pass_for_another_kind_of_model_says_that_it_does_not_apply(
    zoo: Zoo, tmp_path: Path, name: str, pass_id: str
):
    with pytest.raises(InvalidError) as caught:
        applied(pass_id, zoo.model(name), zoo.rows(name), tmp_path)
    assert caught.value.reason == "PASS_DOES_NOT_APPLY"
    assert caught.value.metadata["pass"] == pass_id


@pytest.mark.parametrize("pass_id", ["compact_trees", "prune_trees"])
def test_trees_of_a_newer_kind_are_refused_by_that_name(tmp_path: Path, zoo: Zoo, pass_id: str):
    node = helper.make_node("TreeEnsemble", ["X"], ["scores"], domain="ai.onnx.ml")
    values = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["rows", 64]) for name in ("X", "scores")
    ]
    graph = helper.make_graph([node], "newer", values[:1], values[1:])
    model = tmp_path / "model.onnx"
    model.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("ai.onnx.ml", 5)]).SerializeToString()
    )
    with pytest.raises(InvalidError, match=r"TreeEnsemble of ai\.onnx\.ml 5") as refused:
        applied(pass_id, model, zoo.rows("forest"), tmp_path)
    assert refused.value.reason == "PASS_DOES_NOT_APPLY"
