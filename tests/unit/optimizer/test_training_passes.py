"""Pruning makes networks really smaller and recovers them, fine-tuning improves them, students learn from teachers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.datasets.rows import Rows, Split
from servemesh.optimizer.adapters.passes import finetune, prune_structured
from servemesh.optimizer.adapters.structure.narrower import weight_count
from servemesh.optimizer.domain.passes.training import (
    FinetuneParameters,
    PruneStructuredParameters,
)
from tests.harness.estimators import a_forest, a_perceptron
from tests.harness.training import (
    MobileNet,
    a_context,
    a_dataset,
    a_digits_dataset,
    accuracy,
    answers,
    computed,
    digits,
    encoder_bytes,
    exported,
    sentences,
    signature,
    small_cnn_bytes,
)


@pytest.fixture(scope="module")
def cnn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cnn") / "model.onnx"
    path.write_bytes(small_cnn_bytes())
    return path


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    return a_digits_dataset(tmp_path_factory.mktemp("digits") / "data")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoder") / "model.onnx"
    path.write_bytes(encoder_bytes(4))
    return path


def weights(path: Path) -> dict[str, Any]:
    return {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in onnx.load(path).graph.initializer
        if tensor.dims
    }


def test_a_convolutional_network_is_trained_as_onnxruntime_runs_it(cnn: Path):
    images = digits()[0][:9]
    ours = computed(onnx.load(cnn), {"image": images})
    np.testing.assert_allclose(ours[0], answers(cnn, {"image": images})[0], atol=1e-4)


def test_an_encoder_is_trained_as_onnxruntime_runs_it_at_any_length(encoder: Path):
    random = np.random.default_rng(0)
    for rows, length in ((1, 3), (4, 9)):
        inputs = {
            "ids": random.integers(0, 50, (rows, length)),
            "mask": random.integers(0, 2, (rows, length)),
        }
        inputs["mask"][:, 0] = 1
        np.testing.assert_allclose(
            computed(onnx.load(encoder), inputs)[0], answers(encoder, inputs)[0], atol=1e-5
        )


def test_half_of_the_channels_go_and_recovery_brings_the_accuracy_back(cnn: Path, rows: Rows, tmp_path: Path):
    target = tmp_path / "pruned.onnx"
    context = a_context(rows)
    notes = prune_structured.apply(cnn, target, PruneStructuredParameters(epochs=4), context)
    assert weight_count(onnx.load(target)) < 0.3 * weight_count(onnx.load(cnn))
    assert (
        accuracy(target, rows, "digit") >= accuracy(cnn, rows, "digit") - 0.04
    )  # five seeds and 20 epochs: bench
    assert signature(target) == signature(cnn)
    assert "64 of 128 units in 4 layers" in notes[0]
    shares = [share for share, _ in context.report.steps]
    assert shares == sorted(shares)


@pytest.mark.parametrize("changes", [{"importance": "taylor"}, {"importance": "l1", "scope": "global"}])
def test_pruning_a_little_without_recovery_costs_little(
    cnn: Path, rows: Rows, tmp_path: Path, changes: dict[str, str]
):
    target = tmp_path / "pruned.onnx"
    parameters = PruneStructuredParameters(ratio=0.15, multiple=1, epochs=0, **changes)
    prune_structured.apply(cnn, target, parameters, a_context(rows))
    assert weight_count(onnx.load(target)) < weight_count(onnx.load(cnn))
    assert accuracy(target, rows, "digit") >= accuracy(cnn, rows, "digit") - 0.15


def test_the_same_seed_gives_the_same_bytes(cnn: Path, rows: Rows, tmp_path: Path):
    parameters = PruneStructuredParameters(epochs=1)
    for name in ("one", "two"):
        prune_structured.apply(cnn, tmp_path / name, parameters, a_context(rows, seed=5))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_heads_and_feed_forward_units_of_an_encoder_go_and_its_width_stays(encoder: Path, tmp_path: Path):
    target = tmp_path / "pruned.onnx"
    notes = prune_structured.apply(encoder, target, PruneStructuredParameters(epochs=0), a_context())
    shapes = sorted({array.shape for array in weights(target).values() if array.ndim == 2})
    assert {(32, 16), (16, 32), (32, 64), (64, 32), (50, 32)} <= set(shapes)
    assert len(notes) == 1 + 2 * 4  # heads and feed-forward units of four layers
    for length in (3, 8):
        ids = np.ones((2, length), np.int64)
        assert answers(target, {"ids": ids, "mask": ids})[0].shape == (2, length, 32)


def test_depthwise_channels_excitations_and_joined_parts_go_together(tmp_path: Path):
    images, _ = digits()
    torch.manual_seed(0)
    source = exported(MobileNet(), {"image": torch.from_numpy(images[:3])}, tmp_path / "mobile.onnx")
    prune_structured.apply(source, tmp_path / "pruned.onnx", PruneStructuredParameters(epochs=0), a_context())
    shapes = {array.shape for array in weights(tmp_path / "pruned.onnx").values() if array.ndim == 4}
    assert {(16, 1, 1, 1), (16, 1, 3, 3), (8, 16, 1, 1), (16, 8, 1, 1)} <= shapes
    assert answers(tmp_path / "pruned.onnx", {"image": images[:5]})[0].shape == (5, 10)


def test_channels_that_are_zero_can_go_without_a_difference(cnn: Path, tmp_path: Path):
    model, images = onnx.load(cnn), digits()[0][:20]
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor).copy()
        if array.shape[:1] in ((16,), (32,), (64,)) and array.dtype == np.float32:
            array[: len(array) // 2] = 0  # filters, and with them biases and norms
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    onnx.save(model, tmp_path / "hollow.onnx")
    parameters = PruneStructuredParameters(epochs=0)
    prune_structured.apply(tmp_path / "hollow.onnx", tmp_path / "pruned.onnx", parameters, a_context())
    before, after = (
        answers(tmp_path / name, {"image": images})[0] for name in ("hollow.onnx", "pruned.onnx")
    )
    assert weight_count(onnx.load(tmp_path / "pruned.onnx")) < 0.5 * weight_count(model)
    np.testing.assert_allclose(after, before, atol=1e-4)


def test_what_is_excluded_stays_as_it_is(cnn: Path, tmp_path: Path):
    before = prune_structured.apply(cnn, tmp_path / "all", PruneStructuredParameters(epochs=0), a_context())
    spared = before[1].split(":")[0]
    parameters = PruneStructuredParameters(epochs=0, excluded=(spared,))
    after = prune_structured.apply(cnn, tmp_path / "less", parameters, a_context())
    assert [note for note in after if note.startswith(f"{spared}:")] == []
    assert len(after) == len(before) - 1


def test_a_perceptron_of_scikit_learn_is_pruned_and_still_names_the_class(tmp_path: Path):
    perceptron, rows = a_perceptron(tmp_path)
    target = tmp_path / "pruned.onnx"
    prune_structured.apply(perceptron, target, PruneStructuredParameters(epochs=2), a_context(rows))
    assert weight_count(onnx.load(target)) < 0.6 * weight_count(onnx.load(perceptron))
    assert signature(target) == signature(perceptron)
    label, chances = answers(target, next(rows.batches(Split.EVALUATE, 64)).inputs)
    assert (label == chances.argmax(-1)).all()


def test_pruning_a_forest_is_refused_with_what_to_try(tmp_path: Path):
    forest, _ = a_forest(tmp_path)
    with pytest.raises(InvalidError, match="quantise"):
        prune_structured.apply(forest, tmp_path / "out", PruneStructuredParameters(epochs=0), a_context())


def test_fine_tuning_learns_from_labels_and_leaves_pruned_weights_at_zero(
    cnn: Path, rows: Rows, tmp_path: Path
):
    model = onnx.load(cnn)
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor).copy()
        if array.dtype == np.float32 and array.ndim >= 2:
            array[np.abs(array) < np.quantile(np.abs(array), 0.7)] = 0
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    onnx.save(model, tmp_path / "sparse.onnx")
    finetune.apply(
        tmp_path / "sparse.onnx", tmp_path / "tuned.onnx", FinetuneParameters(epochs=2), a_context(rows)
    )
    assert accuracy(tmp_path / "tuned.onnx", rows, "digit") > accuracy(
        tmp_path / "sparse.onnx", rows, "digit"
    )
    tuned = weights(tmp_path / "tuned.onnx")
    for name, array in weights(tmp_path / "sparse.onnx").items():
        if array.dtype == np.float32 and array.ndim >= 2:
            assert not tuned[name][array == 0].any()


def test_fine_tuning_with_nothing_to_learn_from_is_refused(encoder: Path, tmp_path: Path):
    rows = sentences(tmp_path / "data")
    with pytest.raises(InvalidError) as caught:
        finetune.apply(encoder, tmp_path / "out", FinetuneParameters(), a_context(rows))
    assert caught.value.reason == "NOTHING_TO_LEARN"


def test_an_encoder_without_labels_recovers_against_itself(encoder: Path, tmp_path: Path):
    rows = sentences(tmp_path / "data")
    for name, epochs in (("raw", 0), ("recovered", 3)):
        parameters = PruneStructuredParameters(ratio=0.25, epochs=epochs, multiple=1)
        prune_structured.apply(encoder, tmp_path / name, parameters, a_context(rows))
    batch = next(rows.batches(Split.EVALUATE, 24)).inputs
    right = answers(encoder, batch)[0]
    loss_raw, loss = (
        np.square(answers(tmp_path / name, batch)[0] - right).mean() for name in ("raw", "recovered")
    )
    assert loss < 0.9 * loss_raw


def test_labels_that_are_no_class_of_the_output_are_refused_by_column(cnn: Path, tmp_path: Path):
    images, classes = digits()
    rows = a_dataset(tmp_path / "data", {"image": images, "digit": classes + 5}, ("digit",))
    with pytest.raises(InvalidError) as caught:
        finetune.apply(cnn, tmp_path / "out", FinetuneParameters(epochs=1), a_context(rows))
    assert caught.value.reason == "LABELS_UNFIT"
