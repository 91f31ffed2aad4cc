"""Runs the task "convert" in this process, on sources that tests write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import tqdm

from servemesh.errors import ServemeshError
from servemesh.optimizer.adapters.converters import convert

tqdm.tqdm.monitor_interval = 0  # no thread that watches progress bars outlives a test
ENVIRONMENTS = Path.home() / ".cache" / "servemesh" / "environments"  # kept between runs: they take minutes
SOURCE, TARGET = "source", "out/model.onnx"


class Told:
    """A Report that keeps what it is told."""

    def __init__(self) -> None:
        self.steps: list[tuple[float, str]] = []
        self.lines: list[str] = []

    def progress(self, share: float, step: str) -> None:
        self.steps.append((share, step))

    def log(self, text: str) -> None:
        self.lines.append(text)


def converted(folder: Path, **arguments: Any) -> dict[str, Any]:
    """Convert what lies in `folder`/source and return the task's answer."""
    order = {
        "source": SOURCE,
        "format": None,
        "out": TARGET,
        "data": None,
        "tolerance": 0,
        "opset": 0,
        "environments": str(ENVIRONMENTS),
        **arguments,
    }
    return convert.run(order, folder, Told())


def refusal(folder: Path, **arguments: Any) -> ServemeshError:
    """Return the error with which the conversion ends."""
    with pytest.raises(ServemeshError) as caught:
        converted(folder, **arguments)
    return caught.value


def source_of(folder: Path) -> Path:
    """The folder that the source's files go to."""
    source = folder / SOURCE
    source.mkdir(exist_ok=True)
    return source


def outputs_of(folder: Path, **inputs: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """Run the model that was made."""
    session = ort.InferenceSession(str(folder / TARGET), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def shapes_of(folder: Path) -> dict[str, list[Any]]:
    """The shapes of inputs and outputs of the model that was made."""
    session = ort.InferenceSession(str(folder / TARGET), providers=["CPUExecutionProvider"])
    return {value.name: value.shape for value in (*session.get_inputs(), *session.get_outputs())}
