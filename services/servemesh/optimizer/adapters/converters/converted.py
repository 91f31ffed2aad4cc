"""What every converter is given and gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from servemesh.optimizer.domain.work import Report

MATRIX = "input"
Array = np.ndarray[Any, Any]
Inputs = Mapping[str, Array]
# Runs the source in its own framework: outputs by the names of the ONNX model's, for each batch of its inputs.
Reference = Callable[[Sequence[Inputs]], Iterable[dict[str, Array]]]
# Draws inputs of so many rows that the source can take.
Generator = Callable[[np.random.Generator, int], dict[str, Array]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What to convert. `source` is a file, or a folder for formats that are one; `folder` is for scratch files."""

    source: Path
    target: Path
    folder: Path
    report: Report
    opset: int = 0  # 0: the converter's own
    environments: Path  # where environments of other frameworks are kept between jobs
    matrix_name: str = MATRIX  # what the input is called where a source has no name for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """What came of it, beside the model in the target and the files that are kept with it.

    `generated` is None where any inputs will do.
    """

    reference: Reference
    generated: Generator | None = None
    batches_max: int = 1_000_000  # where each batch of the reference is dear
    batch_rows_max: int = 1_000_000  # the most that the source takes at a time
    warnings: tuple[str, ...] = ()
    libraries: Mapping[str, str] = field(default_factory=dict)


class Converter(Protocol):
    """One framework: the `convert` function of its module."""

    def __call__(self, task: Task) -> Converted:
        """Write the ONNX model to `task.target`; InvalidError that names what does not convert."""


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of installed packages."""
    return {package: metadata.version(package) for package in packages}
