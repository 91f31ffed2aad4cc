"""Passes on small networks: what they cost in accuracy, what they bring in bytes, and what they leave alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.datasets.rows import Rows
from servemesh.optimizer.adapters.passes.checking import interface
from servemesh.optimizer.domain.passes.catalogue import PASSES
from tests.harness.passes import (
    accuracy,
    applied,
    dataset,
    digits_cnn,
    digits_mlp,
    run,
    size,
    table,
    table_dataset,
    with_branches,
    with_idle_nodes,
    words_model,
)

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def mlp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return digits_mlp(tmp_path_factory.mktemp("mlp") / "model.onnx")


@pytest.fixture(scope="module")
def cnn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return digits_cnn(tmp_path_factory.mktemp("cnn") / "model.onnx")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    return table_dataset(tmp_path_factory.mktemp("rows"), "digits")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    return table_dataset(tmp_path_factory.mktemp("images"), "digits", (1, 8, 8))


def operators(model: Path) -> list[str]:
    return [node.op_type for node in onnx.load(model).graph.node]


def matrix(model: Path, name: str) -> Array:
    return next(
        numpy_helper.to_array(tensor) for tensor in onnx.load(model).graph.initializer if tensor.name == name
    )


@pytest.mark.parametrize(
    ("pass_id", "values", "size_ratio_max", "loss_max"),
    [
        ("fp16", {}, 0.55, 0.005),
        ("fp16", {"compute": "float32"}, 0.55, 0.005),
        ("bf16", {}, 0.55, 0.01),
        ("int8_dynamic", {}, 0.33, 0.01),
        ("int8_static", {}, 0.33, 0.01),
        ("int8_static", {"calibration": "entropy"}, 0.33, 0.02),
        ("int8_static", {"calibration": "percentile", "percentile": 99.9}, 0.33, 0.02),
        ("int8_static", {"calibration": "moving_average"}, 0.33, 0.02),
        ("int8_static", {"activation_type": "int8", "symmetric_activations": True}, 0.33, 0.02),
        ("int8_static", {"format": "qoperator", "per_channel": False}, 0.33, 0.02),
        ("weight_only", {"bits": 8}, 0.35, 0.01),
        ("weight_only", {}, 0.25, 0.03),
        ("weight_only", {"symmetric": False, "block_size": 16}, 0.3, 0.03),
        ("prune_magnitude", {"sparsity": 0.1}, 1.01, 0.05),
    ],
)
def test_a_perceptron_gets_smaller_and_stays_accurate(
    mlp: Path,
    rows: Rows,
    tmp_path: Path,
    pass_id: str,
    values: dict[str, Any],
    size_ratio_max: float,
    loss_max: float,
):
    made, notes = applied(pass_id, mlp, rows if PASSES[pass_id].calibrates else None, tmp_path, **values)
    assert size(made) / size(mlp) <= size_ratio_max
    assert accuracy(made, rows) >= accuracy(mlp, rows) - loss_max
    assert interface(made) == interface(mlp)
    assert notes


def test_int8_static_computes_convolutions_in_int8_at_under_a_third_of_the_size(
    cnn: Path, images: Rows, tmp_path: Path
):
    made, _ = applied("int8_static", cnn, images, tmp_path)
    assert "QuantizeLinear" in operators(made)
    assert size(made) / size(cnn) <= 0.30
    assert accuracy(made, images) >= accuracy(cnn, images) - 0.01


def test_what_is_excluded_from_int8_by_name_type_or_sensitivity_keeps_its_weights(
    cnn: Path, images: Rows, tmp_path: Path
):
    whole = {
        tensor.name for tensor in onnx.load(cnn).graph.initializer if tensor.name in ("w1", "w2", "last")
    }
    named, _ = applied("int8_static", cnn, images, tmp_path / "a", nodes_excluded=["conv2"])
    typed, _ = applied("int8_static", cnn, images, tmp_path / "b", op_types_excluded=["Conv"])
    measured, notes = applied("int8_static", cnn, images, tmp_path / "c", sensitive_excluded=1)
    assert whole & {tensor.name for tensor in onnx.load(named).graph.initializer} == {"w2"}
    assert whole & {tensor.name for tensor in onnx.load(typed).graph.initializer} == {"w1", "w2"}
    assert len(whole & {tensor.name for tensor in onnx.load(measured).graph.initializer}) == 1
    assert any("sensitivity" in note for note in notes)


def test_too_few_calibration_rows_are_refused_by_count(cnn: Path, tmp_path: Path):
    few = dataset(tmp_path / "few", {"X": table("digits")[0][:50].reshape(-1, 1, 8, 8)})
    with pytest.raises(InvalidError) as caught:
        applied("int8_static", cnn, few, tmp_path)
    assert caught.value.reason == "DATASET_TOO_SMALL"
    assert caught.value.metadata["got"] == "5"


def test_a_pass_that_looks_at_rows_is_refused_without_a_dataset(cnn: Path, tmp_path: Path):
    with pytest.raises(InvalidError) as caught:
        applied("int8_static", cnn, None, tmp_path)
    assert caught.value.reason == "PASS_NEEDS_ROWS"


def test_exactly_the_share_that_is_asked_for_becomes_zero(mlp: Path, tmp_path: Path):
    made, _ = applied("prune_magnitude", mlp, None, tmp_path, sparsity=0.75)
    weights = [matrix(made, name) for name in ("first", "last")]
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    assert zeros == round(0.75 * sum(weight.size for weight in weights))


def test_of_each_four_weights_that_are_summed_two_stay_and_they_are_the_largest(mlp: Path, tmp_path: Path):
    made, _ = applied("prune_magnitude", mlp, None, tmp_path, pattern_n=2, pattern_m=4)
    before, after = matrix(mlp, "first"), matrix(made, "first")
    groups = np.abs(after.T.reshape(-1, 4))
    assert (np.count_nonzero(groups, axis=1) == 2).all()
    largest = np.sort(np.abs(before.T.reshape(-1, 4)), axis=1)[:, 2:]
    np.testing.assert_array_equal(np.sort(groups, axis=1)[:, 2:], largest)


def test_a_pattern_that_keeps_everything_is_refused(mlp: Path, tmp_path: Path):
    with pytest.raises(InvalidError) as caught:
        applied("prune_magnitude", mlp, None, tmp_path, pattern_n=4, pattern_m=4)
    assert caught.value.metadata["field"] == "pattern_n"


@pytest.mark.parametrize("pass_id", ["simplify", "fuse"])
def test_rewriting_the_graph_keeps_every_answer(tmp_path: Path, pass_id: str):
    wordy = with_idle_nodes(tmp_path / "model.onnx")
    made, _ = applied(pass_id, wordy, None, tmp_path)
    inputs = {"X": table("digits")[0][:64]}
    np.testing.assert_allclose(run(made, inputs)[0], run(wordy, inputs)[0], atol=1e-5)
    assert len(operators(made)) <= len(operators(wordy)) - 4
    assert interface(made) == interface(wordy)


def test_simplify_has_nothing_to_do_twice(tmp_path: Path):
    wordy = with_idle_nodes(tmp_path / "model.onnx")
    once, _ = applied("simplify", wordy, None, tmp_path)
    with pytest.raises(InvalidError) as caught:
        applied("simplify", once, None, tmp_path / "again")
    assert caught.value.reason == "PASS_DOES_NOT_APPLY"


@pytest.mark.parametrize(
    "pass_id", ["fp16", "bf16", "int8_dynamic", "int8_static", "weight_only", "prune_magnitude"]
)
def test_a_branch_that_takes_a_weight_from_outside_still_finds_it(tmp_path: Path, pass_id: str):
    model = with_branches(tmp_path / "model.onnx")
    rows = dataset(tmp_path / "rows", {"X": table("digits")[0]})
    made, _ = applied(pass_id, model, rows, tmp_path)
    inputs = {"X": table("digits")[0][:64]}
    before, after = run(model, inputs)[0], run(made, inputs)[0]
    noise = np.linalg.norm(before - after) / np.linalg.norm(before)
    assert noise < (0.5 if pass_id == "prune_magnitude" else 0.2)


@pytest.mark.parametrize("pass_id", ["int8_static", "int8_dynamic", "fp16", "fuse", "weight_only"])
def test_the_same_pass_makes_the_same_bytes(cnn: Path, images: Rows, tmp_path: Path, pass_id: str):
    first, _ = applied(pass_id, cnn, images, tmp_path / "a")
    second, _ = applied(pass_id, cnn, images, tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()


def test_a_pass_with_nothing_to_do_says_so_and_writes_nothing(mlp: Path, rows: Rows, tmp_path: Path):
    quantised, _ = applied("int8_dynamic", mlp, None, tmp_path)
    with pytest.raises(InvalidError) as caught:
        applied("weight_only", quantised, None, tmp_path)
    assert caught.value.reason == "PASS_DOES_NOT_APPLY"
    assert not (tmp_path / "out.weight_only").exists()


@pytest.mark.parametrize(
    ("pass_id", "values", "size_ratio_max"),
    [
        ("int8_dynamic", {}, 0.4),
        ("weight_only", {"bits": 8, "op_types": ["Gather", "MatMul"]}, 0.4),
        ("weight_only", {"bits": 4, "op_types": ["Gather", "MatMul"]}, 0.3),
        ("weight_only", {"bits": 4, "op_types": ["Gather", "MatMul"], "symmetric": False}, 0.3),
    ],
)
def test_embeddings_get_smaller_and_mean_the_same(
    tmp_path: Path, pass_id: str, values: dict[str, Any], size_ratio_max: float
):
    model = words_model(tmp_path / "in" / "model.onnx")
    made, _ = applied(pass_id, model, None, tmp_path, **values)
    inputs = {"X": np.random.default_rng(0).integers(0, 200, (50, 7))}
    before, after = run(model, inputs)[0], run(made, inputs)[0]
    cosine = (before * after).sum(1) / np.linalg.norm(before, axis=1) / np.linalg.norm(after, axis=1)
    assert cosine.mean() > 0.99
    assert size(made) / size(model) <= size_ratio_max


def test_computing_in_bfloat16_works_or_is_refused_for_this_runtime(mlp: Path, rows: Rows, tmp_path: Path):
    try:
        made, _ = applied("bf16", mlp, None, tmp_path, compute="bfloat16")
    except InvalidError as error:
        reason = error.reason
    else:
        reason = "PASS_DOES_NOT_APPLY" if accuracy(made, rows) >= accuracy(mlp, rows) - 0.02 else ""
    assert reason == "PASS_DOES_NOT_APPLY"


def test_weights_beside_the_file_are_read_and_written_with_it(mlp: Path, rows: Rows, tmp_path: Path):
    model = onnx.load(mlp)
    beside = tmp_path / "in" / "model.onnx"
    beside.parent.mkdir()
    onnx.save(model, beside, save_as_external_data=True, location="weights.bin", size_threshold=0)
    made, _ = applied("int8_dynamic", beside, None, tmp_path)
    assert accuracy(made, rows) >= accuracy(mlp, rows) - 0.01
