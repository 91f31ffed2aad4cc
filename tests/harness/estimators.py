"""Forests, support vector machines and perceptrons as ONNX, trained on scikit-learn's digits."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import onnx
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import RandomForestClassifier
from sklearn.neural_network import MLPClassifier

from servemesh.optimizer.adapters.datasets.rows import Rows, Split
from tests.harness.training import a_dataset, digits


def a_forest(folder: Path) -> tuple[Path, Rows]:
    """Return a forest of 50 trees from `pixels` to label and chances, and the rows that it learned from."""
    images, classes = digits()
    flat = images.reshape(len(images), -1)
    rows = a_dataset(folder / "flat", {"pixels": flat, "digit": classes}, ("digit",))
    batch = next(rows.batches(Split.TRAIN, 2000))
    forest = RandomForestClassifier(50, random_state=0).fit(batch.inputs["pixels"], batch.labels["digit"])
    return saved(forest, flat.shape[1], folder / "forest.onnx"), rows


def a_perceptron(folder: Path) -> tuple[Path, Rows]:
    """Return a perceptron of one hidden layer from `pixels` to label and chances, and the rows that it learned from."""
    images, classes = digits()
    flat = images.reshape(len(images), -1)
    rows = a_dataset(folder / "flat", {"pixels": flat, "digit": classes}, ("digit",))
    perceptron = MLPClassifier((64,), max_iter=8, random_state=0)
    with warnings.catch_warnings(action="ignore"):  # it has not converged, and needs not
        perceptron.fit(flat[:600], classes[:600])
    return saved(perceptron, flat.shape[1], folder / "perceptron.onnx"), rows


def saved(estimator: Any, width: int, path: Path) -> Path:
    """Write a fitted estimator of `width` numbers as ONNX and return the path."""
    model = to_onnx(
        estimator,
        initial_types=[("pixels", FloatTensorType([None, width]))],
        options={"zipmap": False},
        target_opset=18,
    )
    onnx.save(model, path)
    return path
