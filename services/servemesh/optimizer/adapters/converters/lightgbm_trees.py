"""LightGBM models as text: boosted trees that give label and probabilities, or values."""

from __future__ import annotations

import lightgbm
import numpy as np
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType
from onnxmltools.convert.common.onnx_ex import get_maximum_opset_supported

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.converters import boosted, faults
from servemesh.optimizer.adapters.converters.converted import Array, Converted, Task, versions

ADVICE = "train it with a standard objective (regression, binary, multiclass) and without linear trees"


def convert(task: Task) -> Converted:
    """Satisfies converted.Converter."""
    try:
        booster = lightgbm.Booster(model_str=task.source.read_text(), params={"verbosity": -1})
    except (lightgbm.basic.LightGBMError, ValueError) as error:
        raise InvalidError(
            f"LightGBM {lightgbm.__version__} cannot read the model ({faults.shown(error)}): save it again with "
            "booster.save_model('model.txt')",
            reason="SOURCE_UNREADABLE",
        ) from error
    task.report.progress(0.2, f"converting {booster.num_trees()} trees of LightGBM")
    opset = task.opset or get_maximum_opset_supported()
    try:
        made = convert_lightgbm(
            booster,
            initial_types=[(boosted.matrix_name(task), FloatTensorType([None, booster.num_feature()]))],
            target_opset=min(opset, get_maximum_opset_supported()),
            zipmap=False,
        )
    except Exception as error:  # onnxmltools raises whatever it meets in the trees
        raise faults.unsupported(error, "LightGBM", ADVICE) from error
    names = boosted.write(made, task)

    def outputs(rows: Array) -> list[Array]:
        predicted = np.asarray(booster.predict(rows))
        if len(names) == 1:
            return [predicted.astype(np.float32).reshape(len(rows), -1)]
        scores = predicted if predicted.ndim > 1 else np.stack([1 - predicted, predicted], axis=1)
        return [scores.argmax(axis=1), scores.astype(np.float32)]

    return Converted(
        reference=boosted.reference(task, outputs, names), libraries=versions("lightgbm", "onnxmltools")
    )
