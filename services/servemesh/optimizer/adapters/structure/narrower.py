"""A graph with fewer channels, hidden units and heads, the same everywhere else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.structure.removal import without
from servemesh.optimizer.adapters.structure.rules import coupled
from servemesh.optimizer.adapters.structure.shapes import shapes_of
from servemesh.optimizer.adapters.structure.units import Group, groups_of, removed_elements
from servemesh.optimizer.domain.narrowing import Layer, Narrowing, dropped_units

Array = np.ndarray[Any, Any]
Scores = Callable[[Group], Array]


def narrower(
    model: onnx.ModelProto, narrowing: Narrowing, scores: Scores, excluded: Sequence[str] = ()
) -> tuple[onnx.ModelProto, list[str]]:
    """Return a readable model without the units that matter least, and what was removed, in words.

    InvalidError if the graph has nothing that can be removed without changing inputs or outputs.
    """
    shapes = shapes_of(model)
    coupling = coupled(model, shapes)
    groups = [group for group in groups_of(model, coupling) if not _is_excluded(group, excluded)]
    if not groups:
        raise InvalidError(
            "The model has no channels, hidden units or heads that can be removed: all are tied to its inputs and "
            "outputs or go through operators that mix them. Try distil with student 'mlp', or int8 passes.",
            reason="PASS_DOES_NOT_APPLY",
        )
    layers = [Layer(scores=scores(group), width=group.width) for group in groups]
    dropped = dropped_units(layers, narrowing)
    if not any(units.size for units in dropped):
        raise InvalidError(
            f"Every layer is too narrow to lose {narrowing.ratio:.0%} in multiples of {narrowing.multiple}. Try a "
            "smaller multiple or a larger ratio.",
            reason="PASS_DOES_NOT_APPLY",
            field="ratio",
        )
    smaller = without(model, shapes, coupling, removed_elements(groups, dropped, coupling))
    return smaller, _notes(groups, dropped, model, smaller)


def weight_count(model: onnx.ModelProto) -> int:
    """Return how many numbers the initializers hold."""
    return sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer)


def _is_excluded(group: Group, excluded: Sequence[str]) -> bool:
    return group.name in excluded or any(name in excluded for name, _ in group.weights)


def _notes(
    groups: list[Group], dropped: list[Array], before: onnx.ModelProto, after: onnx.ModelProto
) -> list[str]:
    lost = sum(len(units) for units in dropped)
    whole = sum(group.unit_count for group in groups)
    return [
        f"Removed {lost} of {whole} units in {len(groups)} layers; weights: {weight_count(before)} before, "
        f"{weight_count(after)} after.",
        *(
            f"{group.name}: {group.unit_count - len(units)} of {group.unit_count} units stay."
            for group, units in zip(groups, dropped, strict=True)
        ),
    ]
