"""XGBoost models in JSON or UBJSON: boosted trees that give label and probabilities, or values."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xgboost
from onnxmltools import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType
from onnxmltools.convert.common.onnx_ex import get_maximum_opset_supported

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.converters import boosted, faults
from servemesh.optimizer.adapters.converters.converted import Array, Converted, Task, versions

ADVICE = "train it with the booster gbtree or dart, numeric features and a standard objective"
_CLASSIFYING = ("binary:", "multi:")


def convert(task: Task) -> Converted:
    """Satisfies converted.Converter."""
    booster, learner = _loaded(task)
    objective, width = learner["objective"]["name"], int(learner["learner_model_param"]["num_feature"])
    if learner["gradient_booster"]["name"] != "gbtree":
        raise InvalidError(
            f"the booster is {learner['gradient_booster']['name']}, which does not convert: {ADVICE}",
            reason="OPERATOR_UNSUPPORTED",
            field=learner["gradient_booster"]["name"],
            framework="xgboost",
        )
    if "c" in (booster.feature_types or ()):
        raise InvalidError(
            f"the model has categorical features, which do not convert: {ADVICE}",
            reason="OPERATOR_UNSUPPORTED",
            field="c",
            framework="xgboost",
        )
    booster.feature_names = None  # the converter wants them numbered
    classifies = objective.startswith(_CLASSIFYING)
    model: Any = xgboost.XGBClassifier() if classifies else xgboost.XGBRegressor()
    model.load_model(bytearray(booster.save_raw("ubj")))
    task.report.progress(0.2, f"converting {booster.num_boosted_rounds()} rounds of XGBoost")
    opset = task.opset or get_maximum_opset_supported()
    try:
        made = convert_xgboost(
            model,
            initial_types=[(boosted.matrix_name(task), FloatTensorType([None, width]))],
            target_opset=min(opset, get_maximum_opset_supported()),
        )
    except Exception as error:  # onnxmltools raises whatever it meets in the trees
        raise faults.unsupported(error, "XGBoost", ADVICE) from error
    names = boosted.write(made, task)

    def outputs(rows: Array) -> list[Array]:
        if classifies:
            return [np.asarray(model.predict(rows)), np.asarray(model.predict_proba(rows))]
        return [np.asarray(model.predict(rows)).reshape(len(rows), -1)]

    return Converted(
        reference=boosted.reference(task, outputs, names), libraries=versions("xgboost-cpu", "onnxmltools")
    )


def _loaded(task: Task) -> tuple[Any, dict[str, Any]]:
    booster = xgboost.Booster()
    try:
        booster.load_model(bytearray(task.source.read_bytes()))
        learner: dict[str, Any] = json.loads(booster.save_config())["learner"]
    except (xgboost.core.XGBoostError, KeyError, ValueError) as error:
        raise InvalidError(
            f"XGBoost {xgboost.__version__} cannot read the model: save it again with booster.save_model('model.json')",
            reason="SOURCE_UNREADABLE",
        ) from error
    return booster, learner
