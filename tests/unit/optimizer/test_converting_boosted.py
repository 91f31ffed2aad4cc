"""XGBoost and LightGBM models become ONNX models that give label and probabilities, or values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

from tests.harness.conversions import converted, outputs_of, refusal, shapes_of, source_of

QUIET = {"verbosity": -1, "num_threads": 1, "seed": 0}


def a_task(kind: str) -> tuple[Any, Any]:
    """Rows and answers of "two" classes, "ten" classes, or "values"."""
    load = {"two": load_breast_cancer, "ten": load_digits, "values": load_diabetes}[kind]
    rows, answers = load(return_X_y=True)
    return rows.astype(np.float32)[:400], answers[:400]


def xgboosted(kind: str, **changes: Any) -> tuple[Any, Any]:
    rows, answers = a_task(kind)
    objective = {"two": "binary:logistic", "ten": "multi:softprob", "values": "reg:squarederror"}[kind]
    parameters = {"objective": objective, "max_depth": 3, "nthread": 1, "seed": 0, **changes}
    if kind == "ten":
        parameters["num_class"] = 10
    return xgboost.train(parameters, xgboost.DMatrix(rows, answers), 5), rows


@pytest.mark.parametrize("ending", ["json", "ubj"])
@pytest.mark.parametrize("kind", ["two", "ten", "values"])
def test_an_xgboost_model_converts(tmp_path: Path, kind: str, ending: str):
    booster, rows = xgboosted(kind)
    booster.save_model(source_of(tmp_path) / f"model.{ending}")
    result = converted(tmp_path)
    assert result["format"] == "xgboost"
    check_outputs(tmp_path, rows, booster.predict(xgboost.DMatrix(rows)))


@pytest.mark.parametrize("kind", ["two", "ten", "values"])
def test_a_lightgbm_model_converts(tmp_path: Path, kind: str):
    rows, answers = a_task(kind)
    objective = {"two": "binary", "ten": "multiclass", "values": "regression"}[kind]
    parameters = {**QUIET, "objective": objective, "num_leaves": 7}
    if kind == "ten":
        parameters["num_class"] = 10
    booster = lightgbm.train(parameters, lightgbm.Dataset(rows, answers), 5)
    booster.save_model(source_of(tmp_path) / "model.txt")
    result = converted(tmp_path)
    assert result["format"] == "lightgbm"
    check_outputs(tmp_path, rows, booster.predict(rows))


def check_outputs(folder: Path, rows: Any, predicted: Any) -> None:
    made = outputs_of(folder, input=rows)
    assert shapes_of(folder)["input"] == ["batch", rows.shape[1]]
    if "label" not in made:
        np.testing.assert_allclose(made["variable"][:, 0], predicted, rtol=1e-4)
        return
    scores = predicted if predicted.ndim > 1 else np.stack([1 - predicted, predicted], axis=1)
    np.testing.assert_allclose(made["probabilities"], scores, atol=1e-5)
    assert (made["label"] == scores.argmax(axis=1)).all()


def test_a_linear_booster_is_named(tmp_path: Path):
    booster, _ = xgboosted("values", booster="gblinear")
    booster.save_model(source_of(tmp_path) / "model.json")
    error = refusal(tmp_path)
    assert (error.reason, error.metadata["field"]) == ("OPERATOR_UNSUPPORTED", "gblinear")


@pytest.mark.parametrize(
    "text", ['{"learner": {}}', '{"learner": ', "tree\nversion=v4\nnonsense\n", "tree\nversion=v4\n"]
)
def test_a_damaged_model_is_unreadable(tmp_path: Path, text: str):
    (source_of(tmp_path) / "model").write_text(text)
    assert refusal(tmp_path).reason == "SOURCE_UNREADABLE"
