"""Students learn from teachers: narrower, shallower, given, or perceptrons of forests and machines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from sklearn.svm import SVC

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.datasets.rows import Rows, Split
from servemesh.optimizer.adapters.passes import distil, prune_structured
from servemesh.optimizer.domain.passes.training import (
    DistilParameters,
    PruneStructuredParameters,
)
from tests.harness.estimators import a_forest, saved
from tests.harness.training import (
    a_context,
    a_dataset,
    a_digits_dataset,
    accuracy,
    answers,
    digits,
    encoder_bytes,
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


def test_a_student_of_half_the_depth_has_every_other_layer(encoder: Path, tmp_path: Path):
    rows = sentences(tmp_path / "data")
    parameters = DistilParameters(student="half_depth", epochs=1)
    notes = distil.apply(encoder, tmp_path / "student.onnx", parameters, a_context(rows))
    assert notes[0] == "Every other block was removed of runs of 4."
    student = onnx.load(tmp_path / "student.onnx").graph
    assert sum(node.op_type == "Softmax" for node in student.node) == 2
    assert signature(tmp_path / "student.onnx") == signature(encoder)


def test_a_narrow_student_learns_from_its_teacher(cnn: Path, rows: Rows, tmp_path: Path):
    parameters = DistilParameters(width_kept=0.5, weights="fresh", epochs=6, mixed_rows=0.25)
    distil.apply(cnn, tmp_path / "student.onnx", parameters, a_context(rows))
    assert accuracy(tmp_path / "student.onnx", rows, "digit") >= 0.85


def test_a_forest_teaches_a_perceptron_that_names_the_same_classes(tmp_path: Path):
    forest, rows = a_forest(tmp_path)
    parameters = DistilParameters(student="mlp", epochs=8, soft_share=1.0, temperature=1.0)
    distil.apply(forest, tmp_path / "student.onnx", parameters, a_context(rows))
    assert signature(tmp_path / "student.onnx") == signature(forest)
    assert (tmp_path / "student.onnx").stat().st_size < 0.2 * forest.stat().st_size
    assert accuracy(tmp_path / "student.onnx", rows, "digit", output=1) >= 0.9
    batch = next(rows.batches(Split.EVALUATE, 64))
    label, chances = answers(tmp_path / "student.onnx", batch.inputs)
    assert (label == chances.argmax(-1)).all()


def test_a_support_vector_machine_with_names_of_classes_teaches_too(tmp_path: Path):
    images, classes = digits()
    flat = images.reshape(len(images), -1)
    names = np.array(["even", "odd"])[classes % 2]
    machine = saved(
        SVC(probability=True, random_state=0).fit(flat[:400], names[:400]),
        flat.shape[1],
        tmp_path / "svm.onnx",
    )
    rows = a_dataset(tmp_path / "flat", {"pixels": flat[:400]})
    parameters = DistilParameters(student="mlp", hidden_sizes=("16",), epochs=10)
    distil.apply(machine, tmp_path / "student.onnx", parameters, a_context(rows))
    said = answers(tmp_path / "student.onnx", {"pixels": flat[400:800]})[0]
    assert (said == names[400:800]).mean() >= 0.75
    assert set(said) == {"even", "odd"}


def test_a_given_student_needs_a_teacher(cnn: Path, rows: Rows, tmp_path: Path):
    with pytest.raises(InvalidError) as caught:
        distil.apply(cnn, tmp_path / "out", DistilParameters(student="given"), a_context(rows))
    assert caught.value.reason == "TEACHER_NEEDED"


def test_a_given_student_learns_from_a_given_teacher(cnn: Path, rows: Rows, tmp_path: Path):
    prune_structured.apply(cnn, tmp_path / "raw", PruneStructuredParameters(epochs=0), a_context())
    parameters = DistilParameters(student="given", epochs=4, mixed_rows=0.0)
    distil.apply(tmp_path / "raw", tmp_path / "taught", parameters, a_context(rows, teacher=cnn))
    assert accuracy(tmp_path / "taught", rows, "digit") > accuracy(tmp_path / "raw", rows, "digit")


def test_a_teacher_of_other_inputs_is_refused(cnn: Path, encoder: Path, rows: Rows, tmp_path: Path):
    with pytest.raises(InvalidError) as caught:
        distil.apply(
            cnn, tmp_path / "out", DistilParameters(student="given"), a_context(rows, teacher=encoder)
        )
    assert caught.value.reason == "TEACHER_UNFIT"
