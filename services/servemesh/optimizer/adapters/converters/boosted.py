"""What boosted trees of both libraries have in common: one matrix in, label and probabilities or values out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from servemesh.optimizer.adapters.converters import naming
from servemesh.optimizer.adapters.converters.converted import Array, Inputs, Reference

INPUT = "input"
CLASSIFIER_OUTPUTS = ("label", "probabilities")
REGRESSOR_OUTPUTS = ("variable",)


def write(model: Any, target: Path) -> tuple[str, ...]:
    """Write the ONNX model and return the names of its outputs, which are given here."""
    names = CLASSIFIER_OUTPUTS if len(model.graph.output) == 2 else REGRESSOR_OUTPUTS
    naming.rename(model, [INPUT], names)
    naming.name_rows(model)
    target.write_bytes(model.SerializeToString())
    return names


def reference(outputs: Callable[[Array], list[Array]], names: Sequence[str]) -> Reference:
    """Return what runs the source's library on batches."""

    def run(batches: Sequence[Inputs]) -> Iterable[dict[str, Array]]:
        for batch in batches:
            yield dict(zip(names, outputs(batch[INPUT]), strict=True))

    return run
