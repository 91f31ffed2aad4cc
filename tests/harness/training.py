"""Networks and rows for tests of what trains: built with torch, exported as users export, on scikit-learn's digits."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from tqdm import tqdm

from servemesh.optimizer.adapters.datasets import columns_file
from servemesh.optimizer.adapters.datasets.rows import Rows, Split
from servemesh.optimizer.adapters.passes.context import PassContext
from servemesh.optimizer.adapters.training.graph_module import GraphModule
from servemesh.optimizer.domain.datasets import Column
from servemesh.optimizer.domain.splits import Shares

Array = np.ndarray[Any, Any]
_OIP = {"float32": "FP32", "int64": "INT64", "int32": "INT32", "float64": "FP64"}


class Told:
    """A Report that keeps what it is told."""

    def __init__(self) -> None:
        self.steps: list[tuple[float, str]] = []
        self.lines: list[str] = []

    def progress(self, share: float, step: str) -> None:
        self.steps.append((share, step))

    def log(self, text: str) -> None:
        self.lines.append(text)


def a_context(rows: Rows | None = None, teacher: Path | None = None, seed: int = 0) -> PassContext:
    """Return what a pass may use: one thread, seed 0."""
    return PassContext(data=rows, teacher=teacher, seed=seed, threads=1, report=Told())


def a_dataset(folder: Path, columns: Mapping[str, Array], labels: tuple[str, ...] = ()) -> Rows:
    """Write a data folder and open it: 10 % calibrate, 70 % train, 20 % evaluate."""
    folder.mkdir(parents=True)
    described = []
    for place, (name, values) in enumerate(columns.items()):
        np.save(folder / f"{place}.npy", values)
        described.append(
            Column(
                name=name, datatype=_OIP[str(values.dtype)], row_shape=values.shape[1:], label=name in labels
            )
        )
    files = tuple(f"{place}.npy" for place in range(len(columns)))
    count = len(next(iter(columns.values())))
    columns_file.write(
        folder,
        columns_file.Contents(columns=tuple(described), files=files, row_count=count, shares=Shares()),
    )
    return Rows.open(folder)


@cache
def digits() -> tuple[Array, Array]:
    """Return 1,797 images FP32 [rows, 1, 8, 8], 0 to 1, and their classes INT64 [rows]."""
    bunch = load_digits()
    return (bunch.images[:, None] / 16).astype(np.float32), bunch.target.astype(np.int64)


def a_digits_dataset(folder: Path) -> Rows:
    """Return the digits as columns `image` and `digit`, which is a label."""
    images, classes = digits()
    return a_dataset(folder, {"image": images, "digit": classes}, ("digit",))


def sentences(folder: Path) -> Rows:
    """Return 120 rows of ids and mask for a TinyEncoder, without labels."""
    ids = np.random.default_rng(0).integers(0, 50, (120, 6))
    return a_dataset(folder, {"ids": ids, "mask": np.ones_like(ids)})


class DigitsCnn(nn.Module):
    """A small residual network with batch norms: FP32 [rows, 1, 8, 8] to scores of ten classes."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.block = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.wider = nn.Sequential(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.ReLU())
        self.last = nn.Sequential(nn.Linear(2 * width * 16, 4 * width), nn.ReLU(), nn.Linear(4 * width, 10))

    def forward(self, image: Tensor) -> Tensor:
        hidden = self.first(image)
        hidden = torch.relu(hidden + self.block(hidden))
        return self.last(self.wider(hidden).flatten(1))


class MobileNet(nn.Module):
    """A block with a depthwise convolution, squeeze and excitation, and a concatenation, as in efficient networks."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Sequential(nn.Conv2d(1, 32, 1), nn.Hardswish())
        self.depth = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1, groups=32), nn.BatchNorm2d(32), nn.ReLU6())
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(32, 16, 1), nn.SiLU(), nn.Conv2d(16, 32, 1), nn.Sigmoid()
        )
        self.narrow = nn.Conv2d(32, 16, 1)
        self.beside = nn.Sequential(nn.Conv2d(1, 24, 3, padding=1), nn.MaxPool2d(3, 1, 1))
        self.last = nn.Linear(40, 10)

    def forward(self, image: Tensor) -> Tensor:
        hidden = self.depth(self.wide(image))
        hidden = self.narrow(hidden * self.squeeze(hidden))
        joined = torch.cat([hidden, self.beside(image)], 1)
        return self.last(joined.mean((2, 3)))


class TinyEncoder(nn.Module):
    """Two layers of a BERT-like encoder: INT64 ids and mask [rows, length] to FP32 [rows, length, 32]."""

    def __init__(self, width: int = 32, heads: int = 4, depth: int = 2) -> None:
        super().__init__()
        self.words = nn.Embedding(50, width)
        self.places = nn.Embedding(16, width)
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(TinyLayer(width, heads) for _ in range(depth))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        places = torch.arange(ids.shape[1], device=ids.device)
        hidden = self.norm(self.words(ids) + self.places(places))
        hole = (1.0 - mask[:, None, None, :].to(hidden.dtype)) * -10_000.0
        for layer in self.layers:
            hidden = layer(hidden, hole)
        return hidden


class TinyLayer(nn.Module):
    """Attention and a feed-forward layer, each with a residual and a norm behind it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.joined = nn.Linear(width, width)
        self.norm_first = nn.LayerNorm(width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm_last = nn.LayerNorm(width)

    def forward(self, hidden: Tensor, hole: Tensor) -> Tensor:
        rows, length, width = hidden.shape
        shape = (rows, length, self.heads, width // self.heads)
        query, key, value = (
            layer(hidden).view(shape).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(-1, -2) / (width // self.heads) ** 0.5 + hole
        mixed = (torch.softmax(scores, -1) @ value).transpose(1, 2).reshape(rows, length, width)
        hidden = self.norm_first(hidden + self.joined(mixed))
        wide = nn.functional.gelu(self.wide(hidden))
        return self.norm_last(hidden + self.narrow(wide))


def exported(module: nn.Module, examples: Mapping[str, Tensor], path: Path, open_axes: int = 1) -> Path:
    """Export as users do, with the first `open_axes` axes of every input open, and return the path."""
    tqdm.monitor_interval = 0  # the exporter's progress bar leaves a thread behind
    dimensions = [torch.export.Dim(name) for name in ("rows", "length")[:open_axes]]
    shapes = {name: dict(enumerate(dimensions)) for name in examples}
    program = torch.onnx.export(
        module.eval(),
        kwargs=dict(examples),
        dynamo=True,
        dynamic_shapes=shapes,
        input_names=list(examples),
        output_names=["answer"],
        verbose=False,
    )
    onnx.save(program.model_proto, path)
    return path


@cache
def encoder_bytes(depth: int) -> bytes:
    """Return an untrained TinyEncoder as ONNX, with rows and length open; exporting takes seconds, so it is kept."""
    torch.manual_seed(0)
    ids = torch.ones(2, 5, dtype=torch.int64)
    with tempfile.TemporaryDirectory() as folder:
        path = exported(
            TinyEncoder(depth=depth), {"ids": ids, "mask": ids.clone()}, Path(folder) / "m", open_axes=2
        )
        return path.read_bytes()


def trained_cnn(path: Path, width: int = 32, epochs: int = 6) -> Path:
    """Train a DigitsCnn on the rows that datasets of digits train on, and export it."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    module = DigitsCnn(width)
    images, classes = digits()
    rows = np.random.default_rng(0).permutation(len(images))[180:1438]  # calibrate is before, evaluate behind
    optimizer = torch.optim.AdamW(module.parameters(), lr=2e-3)
    for epoch in range(epochs):
        for part in np.array_split(np.random.default_rng(epoch).permutation(rows), len(rows) // 32):
            optimizer.zero_grad()
            scores = module(torch.from_numpy(images[part]))
            nn.functional.cross_entropy(scores, torch.from_numpy(classes[part])).backward()
            optimizer.step()
    return exported(module, {"image": torch.from_numpy(images[:3])}, path)


@cache
def small_cnn_bytes() -> bytes:
    """Return a DigitsCnn of width 16, trained a little, as ONNX."""
    with tempfile.TemporaryDirectory() as folder:
        return trained_cnn(Path(folder) / "m", width=16, epochs=4).read_bytes()


def signature(path: Path) -> list[str]:
    """Return names and types of inputs and outputs."""
    graph = onnx.load(path).graph
    return [str(value.type) + value.name for value in (*graph.input, *graph.output)]


def answers(model: Path | onnx.ModelProto, inputs: Mapping[str, Array]) -> list[Array]:
    """Return what onnxruntime answers."""
    source = model if isinstance(model, Path) else model.SerializeToString()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"]).run(None, dict(inputs))


def computed(model: onnx.ModelProto, inputs: Mapping[str, Array]) -> list[Array]:
    """Return what the trainable form of the model computes."""
    module = GraphModule.from_model(model).eval()
    with torch.no_grad():
        outputs = module({name: torch.from_numpy(np.array(array)) for name, array in inputs.items()})
    return [value.numpy() for value in outputs.values()]


def accuracy(model: Path, rows: Rows, label: str, output: int = 0) -> float:
    """Return the share of evaluation rows whose best class is the label."""
    right = total = 0
    for batch in rows.batches(Split.EVALUATE, 512):
        scores = answers(model, batch.inputs)[output]
        right += int((scores.argmax(-1) == batch.labels[label]).sum())
        total += len(scores)
    return right / total
