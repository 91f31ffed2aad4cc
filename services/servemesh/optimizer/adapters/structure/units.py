"""Groups of interchangeable units: the channels of a layer, the heads of an attention, with all that hangs on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from servemesh.optimizer.adapters.structure.coupling import Axis, Coupling


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Units that touch the same axes. `members[axis][u]` are the indices of unit `u` on that axis."""

    name: str
    members: Mapping[Axis, np.ndarray]
    weights: tuple[Axis, ...]

    @property
    def unit_count(self) -> int:
        """Units in the group, 2 or more."""
        return len(next(iter(self.members.values())))

    @property
    def width(self) -> int:
        """Most indices that one unit has on an axis of a weight: 1 for channels, more for attention heads."""
        return max(int(self.members[axis].shape[1]) for axis in self.weights)


def groups_of(model: onnx.ModelProto, coupling: Coupling) -> list[Group]:
    """Return the groups of units that can be removed, in the order of the graph."""
    ranks = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
    places = _places(coupling)
    by_axes: dict[tuple[Axis, ...], list[Mapping[Axis, list[int]]]] = {}
    for unit in places.values():
        by_axes.setdefault(tuple(unit), []).append(unit)
    groups = []
    for axes, units in by_axes.items():
        weights = tuple(axis for axis in axes if ranks.get(axis[0], 0) >= 2)
        widths = {tuple(len(unit[axis]) for axis in axes) for unit in units}
        if weights and len(units) >= 2 and len(widths) == 1:
            members = {axis: np.array([unit[axis] for unit in units]) for axis in axes}
            groups.append(Group(name=_name(model, weights), members=members, weights=weights))
    return groups


def removed_elements(groups: list[Group], dropped: list[np.ndarray], coupling: Coupling) -> np.ndarray:
    """Return which elements go when the units `dropped[g]` of each group go."""
    removed = np.zeros(coupling.element_count, bool)
    for group, units in zip(groups, dropped, strict=True):
        for axis, indices in group.members.items():
            removed[coupling.elements(axis)[indices[units].reshape(-1)]] = True
    return removed


def _places(coupling: Coupling) -> dict[int, dict[Axis, list[int]]]:
    """Return for each unit the indices that it has on each axis."""
    unit_of = coupling.unit_of()
    places: dict[int, dict[Axis, list[int]]] = {}
    for axis in coupling.axes():
        for index, unit in enumerate(unit_of[coupling.elements(axis)].tolist()):
            if unit >= 0:
                places.setdefault(unit, {}).setdefault(axis, []).append(index)
    return places


def _name(model: onnx.ModelProto, weights: tuple[Axis, ...]) -> str:
    """Return the name of the node that makes the units: the first that reads one of their weights."""
    names = {name for name, _ in weights}
    return next(
        (node.name or node.output[0] for node in model.graph.node if names & set(node.input)), weights[0][0]
    )
