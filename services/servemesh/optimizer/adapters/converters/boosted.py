"""What boosted trees of both libraries have in common: one matrix in, label and probabilities or values out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from servemesh.optimizer.adapters.converters import naming
from servemesh.optimizer.adapters.converters.converted import MATRIX, Array, Inputs, Reference, Task

CLASSIFIER_OUTPUTS = ("label", "probabilities")
REGRESSOR_OUTPUTS = ("variable",)


def matrix_name(task: Task) -> str:
    """Return what the input is called, which no output may be."""
    return MATRIX if task.matrix_name in (*CLASSIFIER_OUTPUTS, *REGRESSOR_OUTPUTS) else task.matrix_name


def write(model: Any, task: Task) -> tuple[str, ...]:
    """Write the ONNX model and return the names of its outputs, which are given here."""
    names = CLASSIFIER_OUTPUTS if len(model.graph.output) == 2 else REGRESSOR_OUTPUTS
    naming.rename(model, [matrix_name(task)], names)
    naming.name_rows(model)
    task.target.write_bytes(model.SerializeToString())
    return names


def reference(task: Task, outputs: Callable[[Array], list[Array]], names: Sequence[str]) -> Reference:
    """Return what runs the source's library on batches."""

    def run(batches: Sequence[Inputs]) -> Iterable[dict[str, Array]]:
        for batch in batches:
            yield dict(zip(names, outputs(batch[matrix_name(task)]), strict=True))

    return run
