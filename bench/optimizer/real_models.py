"""Real models with rows to run them on, for proofs of passes; made or fetched once and kept."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.optimizer import sources
from servemesh.optimizer.adapters.converters import convert
from tests.harness import passes
from tests.harness.reports import MemoryReport

KEPT = Path(".cache/optimizer/models").absolute()
SENTENCES, IMAGES, LENGTH = 512, 256, 32
Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RealModel:
    """A model file and a data folder."""

    path: Path
    data: Path


def minilm() -> RealModel:
    """all-MiniLM-L6-v2 in float32 on sentences out of Python's own documentation."""
    folder = KEPT / "minilm"
    path = _converted(folder, sources.minilm)
    if not (folder / "data").exists():
        passes.dataset(folder / "data", _tokens(folder / "source" / "tokenizer.json"))
    return RealModel(path=path, data=folder / "data")


def efficientnet() -> RealModel:
    """EfficientNet-lite0 in float32 on pieces of two photographs."""
    folder = KEPT / "efficientnet"
    path = _converted(folder, sources.efficientnet)
    if not (folder / "data").exists():
        passes.dataset(folder / "data", {_input_name(path): _crops()})
    return RealModel(path=path, data=folder / "data")


def mlp() -> RealModel:
    """A perceptron of two hidden layers on digits, out of scikit-learn."""
    from sklearn.neural_network import MLPClassifier

    return _fitted("mlp", MLPClassifier((256, 128), max_iter=60, random_state=0))


def cnn() -> RealModel:
    """A small residual network on digits, out of torch."""
    from tests.harness import training

    folder = KEPT / "cnn"
    path = folder / "out" / "model.onnx"
    if not path.exists():
        shutil.rmtree(folder, ignore_errors=True)
        path.parent.mkdir(parents=True)
        training.a_digits_dataset(folder / "data")
        training.trained_cnn(path, width=48, epochs=15)
    return RealModel(path=path, data=folder / "data")


def forest() -> RealModel:
    """A random forest of 200 trees on digits."""
    from sklearn.ensemble import RandomForestClassifier

    return _fitted("forest", RandomForestClassifier(200, random_state=0))


def svm() -> RealModel:
    """An SVM with a radial kernel on digits."""
    from sklearn.svm import SVC

    return _fitted("svm", SVC(gamma="scale"))


MODELS: Mapping[str, Callable[[], RealModel]] = {
    "mlp": mlp,
    "cnn": cnn,
    "forest": forest,
    "svm": svm,
    "efficientnet": efficientnet,
    "minilm": minilm,
}


def _converted(folder: Path, write: Callable[[Path], None]) -> Path:
    path = folder / "out" / "model.onnx"
    if not path.exists():
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "source").mkdir(parents=True)
        write(folder / "source")
        environments = str((KEPT / "environments").absolute())
        arguments = {"source": "source", "out": "out/model.onnx", "environments": environments}
        convert.run(arguments, folder.absolute(), MemoryReport())
    return path


def _fitted(name: str, estimator: Any) -> RealModel:
    folder = KEPT / name
    path = folder / "out" / "model.onnx"
    if not path.exists():
        passes.from_sklearn(path, estimator, "digits")
        passes.table_dataset(folder / "data", "digits")
    return RealModel(path=path, data=folder / "data")


def _tokens(tokenizer_file: Path) -> dict[str, Array]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.enable_padding(length=LENGTH)
    tokenizer.enable_truncation(LENGTH)
    encoded = tokenizer.encode_batch(_sentences())
    return {
        "input_ids": np.array([each.ids for each in encoded]),
        "attention_mask": np.array([each.attention_mask for each in encoded]),
        "token_type_ids": np.array([each.type_ids for each in encoded]),
    }


def _sentences() -> list[str]:
    """The first sentences that modules of the standard library say of themselves and of what is in them."""
    found: dict[str, None] = {}
    for module in (
        "argparse",
        "asyncio",
        "collections",
        "csv",
        "datetime",
        "email",
        "json",
        "logging",
        "pathlib",
        "zipfile",
    ):
        for each in (__import__(module), *map(partial(getattr, __import__(module)), dir(__import__(module)))):
            for text in (
                inspect.getdoc(each),
                *(inspect.getdoc(getattr(each, name, None)) for name in dir(each)),
            ):
                sentence = " ".join((text or "").split("\n\n")[0].split())
                if 30 < len(sentence) < 300:
                    found.setdefault(sentence)
    return sorted(found)[:: max(1, len(found) // SENTENCES)][:SENTENCES]


def _crops() -> Array:
    from sklearn.datasets import load_sample_images

    random = np.random.default_rng(0)
    photographs = [(image.astype(np.float32) - 127) / 128 for image in load_sample_images().images]
    crops = []
    for number in range(IMAGES):
        photograph = photographs[number % len(photographs)]
        top, left = (int(random.integers(0, size - 224)) for size in photograph.shape[:2])
        crop = photograph[top : top + 224, left : left + 224]
        crops.append((crop[:, ::-1] if random.random() < 0.5 else crop).transpose(2, 0, 1))
    return np.stack(crops)


def _input_name(path: Path) -> str:
    import onnx

    return str(onnx.load(path, load_external_data=False).graph.input[0].name)
