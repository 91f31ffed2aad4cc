"""scikit-learn estimators saved by skops become ONNX models that give label and probabilities."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.cluster import KMeans
from sklearn.datasets import load_diabetes, load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC, LinearSVC

from tests.harness import passes
from tests.harness.conversions import converted, outputs_of, refusal, shapes_of, source_of

DIGITS, DIGIT = load_digits(return_X_y=True)
ROWS, LABELS = DIGITS[:300].astype(np.float32), DIGIT[:300]

CLASSIFIERS = [
    RandomForestClassifier(8, random_state=0),
    GradientBoostingClassifier(n_estimators=2, max_depth=2, random_state=0),
    HistGradientBoostingClassifier(max_iter=2, max_depth=2, random_state=0),
    SVC(random_state=0),
    SVC(kernel="linear", random_state=0),
    make_pipeline(StandardScaler(), MLPClassifier((16,), max_iter=20, random_state=0)),
    make_pipeline(PCA(8, random_state=0), LogisticRegression(max_iter=50)),
    LinearSVC(max_iter=20, random_state=0),
]


def saved(folder: Path, estimator: Any, rows: Any = ROWS, labels: Any = LABELS) -> Any:
    skops.io.dump(estimator.fit(rows, labels), source_of(folder) / "model.skops")
    return estimator


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=lambda each: type(each).__name__)
def test_a_classifier_gives_labels_and_scores_as_tensors(tmp_path, estimator):
    saved(tmp_path, estimator)
    result = converted(tmp_path)
    made = list(outputs_of(tmp_path, input=ROWS).values())
    assert result["format"] == "sklearn"
    assert result["parity"]["generated"]
    assert result["parity"]["max_rel"] <= 1e-4
    assert (made[0] == estimator.predict(ROWS)).all()
    assert made[1].shape == (300, 10)
    assert shapes_of(tmp_path)["input"] == ["batch", 64]


def test_the_input_is_called_as_the_only_column_of_the_dataset(tmp_path):
    saved(tmp_path, LogisticRegression(max_iter=50))
    passes.dataset(tmp_path / "data", {"image": ROWS, "digit": LABELS}, ("digit",))
    result = converted(tmp_path, data="data")
    assert not result["parity"]["generated"]
    assert shapes_of(tmp_path)["image"] == ["batch", 64]


def test_labels_of_text_stay_text(tmp_path):
    estimator = saved(
        tmp_path, RandomForestClassifier(3, random_state=0), labels=[f"digit {d}" for d in LABELS]
    )
    converted(tmp_path)
    assert list(next(iter(outputs_of(tmp_path, input=ROWS).values()))) == list(estimator.predict(ROWS))


@pytest.mark.parametrize(
    "estimator", [KMeans(3, n_init=1, random_state=0), IsolationForest(n_estimators=5, random_state=0)]
)
def test_what_has_no_classes_converts_too(tmp_path, estimator):
    saved(tmp_path, estimator)
    assert converted(tmp_path, tolerance=1e-3)["parity"]["row_count"] > 30


def test_a_regressor_gives_values(tmp_path):
    rows, targets = load_diabetes(return_X_y=True)
    estimator = saved(tmp_path, RandomForestRegressor(4, random_state=0), rows[:100], targets[:100])
    converted(tmp_path)
    (made,) = outputs_of(tmp_path, input=rows[:9].astype(np.float32)).values()
    np.testing.assert_allclose(made[:, 0], estimator.predict(rows[:9].astype(np.float32)), rtol=1e-5)


def test_a_step_with_code_of_its_own_is_refused_by_name(tmp_path):
    saved(tmp_path, make_pipeline(FunctionTransformer(ascii, validate=False), StandardScaler()).steps[0][1])
    assert refusal(tmp_path).reason == "TYPES_NOT_TRUSTED"


def test_a_type_of_another_package_is_refused_before_anything_is_made(tmp_path):
    schema = {"__class__": "Popen", "__module__": "subprocess", "__loader__": "ObjectNode", "content": {}}
    with zipfile.ZipFile(source_of(tmp_path) / "model.skops", "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))
    error = refusal(tmp_path)
    assert error.reason == "TYPES_NOT_TRUSTED"
    assert error.metadata["field"] == "subprocess.Popen"


def test_a_damaged_file_is_unreadable(tmp_path):
    saved(tmp_path, LogisticRegression(max_iter=5), ROWS[:20], LABELS[:20] % 2)
    path = source_of(tmp_path) / "model.skops"
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", members["schema.json"])
    assert refusal(tmp_path).reason == "SOURCE_UNREADABLE"
