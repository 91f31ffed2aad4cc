"""What a model's file says: how large it is, how sparse, and which ids it takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from servemesh.optimizer.adapters.measuring import model_facts
from servemesh.optimizer.domain.generating import OPEN_SIZE, fixed_rows, generated
from servemesh.runtime.values import ValueSpec
from tests.harness import models


def a_lookup() -> onnx.ModelProto:
    """A table of 30 rows behind `ids`, whose weights are zero in the first half; and a scale that is no weight."""
    table = np.ones((30, 4), np.float32)
    table[:15] = 0
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["ids"], ["cast"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "cast"], ["found"]),
            helper.make_node("Mul", ["found", "scale"], ["y"]),
        ],
        "lookup",
        [helper.make_tensor_value_info("ids", TensorProto.INT32, ("rows", "length"))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("rows", "length", 4))],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.zeros(4, np.float32), "scale")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def test_sparsity_is_the_share_of_weights_that_are_zero(tmp_path: Path):
    assert model_facts.sparsity(models.saved(a_lookup(), tmp_path)) == 0.5


def test_a_quantised_weight_is_zero_where_it_is_its_zero_point(tmp_path: Path):
    weights = np.array([[128, 0], [128, 5]], np.uint8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w", "", "z"], ["y"])],
        "quantised",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ("rows", 2))],
        [helper.make_tensor_value_info("y", TensorProto.INT32, ("rows", 2))],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.array(128, np.uint8), "z")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    assert model_facts.sparsity(models.saved(model, tmp_path)) == 0.5


def test_the_size_counts_the_weights_that_lie_beside(tmp_path: Path):
    path = tmp_path / "model.onnx"
    onnx.save(a_lookup(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "other.bin").write_bytes(b"x" * 1000)
    assert model_facts.size_bytes(path) == path.stat().st_size + (tmp_path / "weights.bin").stat().st_size
    assert model_facts.sparsity(path) == 0.5


def test_ids_are_made_up_within_the_table_that_they_look_up(tmp_path: Path):
    ends = model_facts.ids_ends(models.saved(a_lookup(), tmp_path))
    assert ends == {"ids": 30}
    ids = ValueSpec(name="ids", datatype="INT32", shape=(-1, -1))
    made = generated([ids], 50, seed=1, ids_ends=ends)["ids"]
    assert made.shape == (50, OPEN_SIZE)
    assert (made.dtype, made.min(), made.max()) == (np.int32, 0, 29)
    assert np.array_equal(made, generated([ids], 50, seed=1, ids_ends=ends)["ids"])


@pytest.mark.parametrize("datatype", models.ELEMENT_OF)
def test_every_datatype_can_be_made_up(datatype: str):
    spec = ValueSpec(name="x", datatype=datatype, shape=(-1, 3))
    assert generated([spec], 2, seed=0, ids_ends={})["x"].shape == (2, 3)


@pytest.mark.parametrize(
    ("shapes", "rows"), [([(-1, 2), (-1,)], None), ([(4, 2), (4,)], 4), ([(-1, 2), ()], 1), ([], 1)]
)
def test_a_fixed_first_axis_says_how_many_rows_a_run_takes(shapes: list[tuple[int, ...]], rows: int | None):
    assert fixed_rows([ValueSpec(name="x", datatype="FP32", shape=shape) for shape in shapes]) == rows
