"""scikit-learn estimators saved by skops: forests, SVMs, networks, linear models, and pipelines of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import skl2onnx
import skops.io
from skl2onnx.common._container import ModelComponentContainer
from skl2onnx.common.data_types import FloatTensorType

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.converters import archives, faults, naming
from servemesh.optimizer.adapters.converters.converted import (
    Array,
    Converted,
    Inputs,
    Reference,
    Task,
    versions,
)

OPSET_MAX = skl2onnx.__max_supported_opset__
TREES_OPSET = 3  # of ai.onnx.ml: the newest for which skl2onnx has all of its converters
ADVICE = "replace the step with one that skl2onnx knows, or do it before the call, outside of the model"
# Beside what skops trusts by itself: types of scikit-learn that hold arrays and numbers, and run nothing when made.
TRUSTED = frozenset(
    {
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.feature_selection._univariate_selection.chi2",
        "sklearn.feature_selection._univariate_selection.f_classif",
        "sklearn.feature_selection._univariate_selection.f_regression",
        "sklearn.utils._bunch.Bunch",
        "sklearn._loss.link.Interval",
        "sklearn._loss.link.LogitLink",
        "sklearn._loss.link.MultinomialLogit",
        "sklearn._loss.loss.HalfBinomialLoss",
        "sklearn._loss.loss.HalfMultinomialLoss",
        "sklearn._loss.loss.HalfSquaredError",
        "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
    }
)
# What skops builds with; none of them imports or calls what the file names, but types, which are checked.
_PACKAGES = ("sklearn", "numpy", "scipy", "builtins", "collections", "_sklearn_")


def convert(task: Task) -> Converted:
    """Satisfies converted.Converter."""
    estimator = _loaded(task.source)
    width = getattr(estimator, "n_features_in_", None)
    if width is None:
        raise InvalidError(
            f"{type(estimator).__name__} does not know how many features it takes: it is not fitted, or takes text. "
            "Fit it on a matrix of numbers and save it again",
            reason="SOURCE_UNSUPPORTED",
            field=type(estimator).__name__,
        )
    task.report.progress(0.2, f"converting {type(estimator).__name__}")
    try:
        model = _onnx(estimator, width, task)
    except Exception as error:  # skl2onnx raises whatever its shape calculators meet
        raise faults.unsupported(error, "scikit-learn", ADVICE) from error
    naming.name_rows(model)
    task.target.write_bytes(model.SerializeToString())
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in model.graph.output}
    return Converted(
        reference=_reference(estimator, task.matrix_name, ranks),
        libraries=versions("scikit-learn", "skl2onnx", "skops"),
    )


def _onnx(estimator: Any, width: int, task: Task) -> Any:
    """The model of skl2onnx, with scores as a tensor instead of a list of maps, which no call could carry."""
    convert_ = partial(
        skl2onnx.to_onnx,
        estimator,
        initial_types=[(task.matrix_name, FloatTensorType([None, width]))],
        target_opset={"": min(task.opset or OPSET_MAX, OPSET_MAX), "ai.onnx.ml": TREES_OPSET},
    )
    with _flags_as_numbers():
        try:
            return convert_(options={id(estimator): {"zipmap": False}})
        except NameError:  # it has no such option, and gives tensors anyway
            return convert_()


@contextmanager
def _flags_as_numbers() -> Iterator[None]:
    """skl2onnx 1.20 writes flags of histogram gradient boosting as booleans, which onnx 1.23 takes no more."""
    add_node = ModelComponentContainer.add_node

    def with_numbers(self: Any, *arguments: Any, **attributes: Any) -> Any:
        whole = {
            name: [int(each) if isinstance(each, (bool, np.bool_)) else each for each in value]
            if isinstance(value, list)
            else value
            for name, value in attributes.items()
        }
        return add_node(self, *arguments, **whole)

    ModelComponentContainer.add_node = with_numbers
    try:
        yield
    finally:
        ModelComponentContainer.add_node = add_node


def _loaded(source: Path) -> Any:
    """Return the estimator; InvalidError naming types that are not trusted. Nothing is made of them before."""
    with archives.opened(source) as archive:
        _check_modules(archives.read(archive, "schema.json"))
    try:
        unknown = sorted(set(skops.io.get_untrusted_types(file=source)) - TRUSTED)
        if unknown:
            raise _untrusted(unknown)
        return skops.io.load(source, trusted=sorted(TRUSTED))
    except InvalidError:
        raise
    except Exception as error:  # a file that skops cannot read may fail anywhere in it
        raise InvalidError(
            f"skops cannot read the estimator ({faults.shown(error)}): save it again with scikit-learn "
            f"{versions('scikit-learn')['scikit-learn']} and skops {versions('skops')['skops']}",
            reason="SOURCE_UNREADABLE",
        ) from error


def _check_modules(schema: bytes) -> None:
    """A fence of our own before skops': every module that the file names is one of scikit-learn's world."""
    unknown = set()
    waiting: list[Any] = [json.loads(schema)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            module = node.get("__module__")
            if isinstance(module, str) and module.partition(".")[0] not in _PACKAGES:
                unknown.add(f"{module}.{node.get('__class__')}")
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)
    if unknown:
        raise _untrusted(sorted(unknown))


def _untrusted(types: Sequence[str]) -> InvalidError:
    shown = ", ".join(name[:100] for name in types[:8])
    return InvalidError(
        f"the estimator has parts that are not scikit-learn's own ({shown}): making them could run code. Replace them "
        "with scikit-learn's, or do their work before the call, outside of the model",
        reason="TYPES_NOT_TRUSTED",
        field=types[0][:100],
        types=shown,
    )


def _reference(estimator: Any, name: str, ranks: Mapping[str, int]) -> Reference:
    """Return what runs the estimator and gives outputs of the same ranks as the ONNX model's, by name."""

    def run(batches: Sequence[Inputs]) -> Iterable[dict[str, Array]]:
        for batch in batches:
            rows = batch[name]
            outputs = zip(ranks.items(), _outputs(estimator, rows, len(ranks)), strict=True)
            yield {
                output: array.reshape((len(rows), -1) if rank > 1 else -1)
                for (output, rank), array in outputs
            }

    return run


def _outputs(estimator: Any, rows: Array, count: int) -> list[Array]:
    """What the ONNX model gives, from scikit-learn: predictions and scores, or what a transformer makes."""
    if not hasattr(estimator, "predict"):
        return [np.asarray(estimator.transform(rows), dtype=np.float32)]
    predicted = np.asarray(estimator.predict(rows))
    if count > 1:
        return [predicted, _scores(estimator, rows)]
    return [predicted if hasattr(estimator, "classes_") else predicted.astype(np.float32)]


def _scores(estimator: Any, rows: Array) -> Array:
    for method in ("predict_proba", "decision_function", "transform"):
        if hasattr(estimator, method):
            return np.asarray(getattr(estimator, method)(rows), dtype=np.float32)
    raise InvalidError(f"{type(estimator).__name__} gives no scores to compare", reason="SOURCE_UNSUPPORTED")
