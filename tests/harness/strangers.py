"""Models that nothing here was made for: from other people's wheels, from converters, and of odd kinds."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from skl2onnx import to_onnx
from skl2onnx.common.data_types import StringTensorType
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from examples.demo.models import WheelFile, fetched
from tests.harness import models, zoo

Inputs = Mapping[str, np.ndarray[Any, Any]]
RANDOM = np.random.default_rng(7)

# Pitches in music; tf2onnx has numbered its open sizes, and its names have colons. Apache-2.0.
BASIC_PITCH = WheelFile(
    wheel="basic-pitch==0.4.0",
    path="basic_pitch/saved_models/icassp_2022/nmp.onnx",
    sha256="2c3c1d144bfa61ad236e92e169c13535c880469a12a047d4e73451f2c059a0ec",
)
# Where Khmer words end; the weights lie in a second file. MIT.
KHMER = WheelFile(
    wheel="khmersm==1.4.2",
    path="khmersm/model.onnx",
    sha256="78279d7c50f80aa6283dcc7ed6d9a65db13353e1bd758951ca410b5a88744b27",
)
KHMER_WEIGHTS = WheelFile(
    wheel="khmersm==1.4.2",
    path="khmersm/model.onnx.data",
    sha256="30946c2923bcc23d82b5036c1fc94674c7b12dea8e682333d9fc559a3a62ba39",
)
# What kind of file some bytes are, from INT32. Apache-2.0.
MAGIKA = WheelFile(
    wheel="magika==1.0.3",
    path="magika/models/standard_v3_3/model.onnx",
    sha256="fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranger:
    """A model file, or a folder with one, made in a folder of the test; and inputs that it can take."""

    path: Callable[[Path], Path]
    inputs: Inputs


def in_folder(*files: WheelFile) -> Callable[[Path], Path]:
    """Return what puts files of wheels beside each other."""

    def put(folder: Path) -> Path:
        for file in files:
            shutil.copy(fetched(file), folder)
        return folder

    return put


def built(make: Callable[[], onnx.ModelProto]) -> Callable[[Path], Path]:
    """Return what writes a model that is made here."""
    return lambda folder: models.saved(make(), folder)


def shipped(name: str) -> Path:
    """Return a model that the onnxruntime wheel brings along."""
    return Path(onnxruntime.__file__).parent / "datasets" / name


def forest() -> onnx.ModelProto:
    """Return a random forest whose classes are words."""
    flowers = load_iris()
    trees = RandomForestClassifier(8, random_state=0).fit(flowers.data, flowers.target_names[flowers.target])
    return to_onnx(trees, flowers.data[:1].astype(np.float32), options={"zipmap": False}, target_opset=17)


def reviews() -> onnx.ModelProto:
    """Return a classifier of texts, 1 for praise; it needs the locale en_US.UTF-8."""
    texts, praises = ["good film", "bad film", "great", "awful"], [1, 0, 1, 0]
    classifier = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, praises)
    return to_onnx(
        classifier,
        initial_types=[("text", StringTensorType([None]))],
        options={"zipmap": False},
        target_opset=17,
    )


def with_weights_beside(folder: Path) -> Path:
    """Write a model whose weights lie in a file of their own."""
    place = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    onnx.save(models.mlp(), folder / "net.onnx", **place)
    return folder


STRANGERS = {
    "pitches": Stranger(
        path=lambda _: fetched(BASIC_PITCH),
        inputs={"serving_default_input_2:0": RANDOM.normal(size=(1, 43844, 1)).astype(np.float32)},
    ),
    "khmer": Stranger(
        path=in_folder(KHMER, KHMER_WEIGHTS),
        inputs={"x": np.arange(12).reshape(1, 12), "mask": np.ones((1, 12), bool)},
    ),
    "files": Stranger(path=lambda _: fetched(MAGIKA), inputs={"bytes": np.full((3, 2048), 65, np.int32)}),
    "speech": Stranger(
        path=lambda _: zoo.silero_vad(),
        inputs={
            "input": RANDOM.normal(size=(2, 576)).astype(np.float32),
            "state": np.zeros((2, 2, 128), np.float32),
            "sr": np.array(16_000),
        },
    ),
    "sentences": Stranger(
        path=lambda _: zoo.minilm(),
        inputs={
            name: np.ones((2, 5), np.int64) for name in ("input_ids", "attention_mask", "token_type_ids")
        },
    ),
    "sigmoid": Stranger(
        path=lambda _: shipped("sigmoid.onnx"),
        inputs={"x": np.linspace(-2, 2, 60, dtype=np.float32).reshape(3, 4, 5)},
    ),
    "forest": Stranger(
        path=built(forest), inputs={"X": np.array([[5, 3, 1, 0.2], [6, 3, 6, 2]], np.float32)}
    ),
    "loop": Stranger(path=built(models.counter), inputs={"times": np.array(9)}),
    "halves": Stranger(
        path=built(lambda: models.identity("FP16")), inputs={"x": np.array([[1, 2, 3, 65_504]], np.float16)}
    ),
    "texts": Stranger(
        path=built(lambda: models.identity("BYTES")),
        inputs={"x": np.array([["a", "é", "", "日本"]], dtype=object)},
    ),
    "beside": Stranger(
        path=with_weights_beside, inputs={"x": RANDOM.normal(size=(2, 64)).astype(np.float32)}
    ),
}
