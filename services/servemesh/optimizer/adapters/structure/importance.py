"""How much each unit of a group matters: the size of its weights, or what the loss would do without it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from onnx import numpy_helper
from torch import Tensor

from servemesh.optimizer.adapters.structure.units import Group
from servemesh.optimizer.adapters.training.graph_module import GraphModule

Array = np.ndarray[Any, Any]
_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16)


def magnitudes(model: onnx.ModelProto, power: int) -> dict[str, Array]:
    """Return each weight's values to a power, without sign: what a unit's size is summed from."""
    return {
        tensor.name: np.abs(numpy_helper.to_array(tensor).astype(np.float64)) ** power
        for tensor in model.graph.initializer
        if tensor.data_type in _FLOATS and len(tensor.dims) >= 2
    }


def effects(module: GraphModule, batches: Iterable[Mapping[str, Array]]) -> dict[str, Array]:
    """Return for each weight how much the loss would change without it, to first order (Molchanov et al. 2019).

    The loss asks the model to keep its own answers apart: the cross-entropy with the class that it chooses, or the
    square of what it says where it chooses no class. So no labels are needed.
    """
    module.eval()
    weights = {name: value for name, value in module.trained().items() if value.ndim >= 2}
    totals = {name: np.zeros(tuple(value.shape)) for name, value in weights.items()}
    for batch in batches:
        module.zero_grad()
        outputs = module(
            {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in batch.items()}
        )
        _own_loss(outputs).backward()
        for name, value in weights.items():
            if value.grad is not None:
                totals[name] += np.abs((value.grad * value).detach().numpy())
    return totals


def scores(group: Group, values: Mapping[str, Array]) -> Array:
    """Return how much each unit of the group matters: its share of every weight that it is part of, summed."""
    total = np.zeros(group.unit_count)
    for name, axis in group.weights:
        if name in values:
            per_index = values[name].sum(
                axis=tuple(other for other in range(values[name].ndim) if other != axis)
            )
            per_unit = per_index[group.members[name, axis]].sum(axis=1)
            total += per_unit / (per_unit.mean() or 1.0)
    return total


def _own_loss(outputs: Mapping[str, Tensor]) -> Tensor:
    first = next(value for value in outputs.values() if value.is_floating_point())
    if first.ndim == 2 and first.shape[-1] > 1:
        return F.cross_entropy(first, first.argmax(-1).detach())
    return (first * first).mean()
