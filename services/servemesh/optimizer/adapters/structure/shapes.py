"""The shapes of all tensors of a graph, found by computing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from onnx import helper
from torch import Tensor

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.training.graph_module import GraphModule

# Sizes for the first axis, for other open axes, and for the open axes of images; each differs between the two runs.
_SIZES = ((2, 7, 64), (3, 11, 96))
_ROWS_OPEN, _OTHERS_OPEN, _IMAGE_OPEN = range(3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shapes:
    """Sizes of every tensor's axes in one run, and which of them are the same in every run."""

    sizes: Mapping[str, tuple[int, ...]]
    fixed: Mapping[str, tuple[bool, ...]]

    def of(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor."""
        return self.sizes[name]


def shapes_of(model: onnx.ModelProto) -> Shapes:
    """Compute a readable model twice on inputs of different sizes. What differs between the runs is open."""
    module = GraphModule.from_model(model).eval()
    first, second = (_run(model, module, choice) for choice in range(2))
    fixed = {
        name: tuple(left == right for left, right in zip(sizes, second.get(name, ()), strict=False))
        for name, sizes in first.items()
    }
    return Shapes(sizes=first, fixed=fixed)


def _run(model: onnx.ModelProto, module: GraphModule, choice: int) -> dict[str, tuple[int, ...]]:
    inputs = {
        value.name: _example(value, choice) for value in model.graph.input if value.name in module.inputs
    }
    seen = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    seen.update((name, tuple(value.shape)) for name, value in inputs.items())

    def note(name: str, value: Tensor) -> None:
        seen[name] = tuple(value.shape)

    try:
        with torch.no_grad():
            module.watched(inputs, note)
    except (
        RuntimeError,
        IndexError,
        ValueError,
    ) as error:  # what torch raises for shapes that do not go together
        sizes = {name: list(value.shape) for name, value in inputs.items()}
        raise InvalidError(
            f"The model does not run on inputs of {sizes}, which its signature allows, so its structure stays unknown. "
            "Export it with the sizes that it takes.",
            reason="PASS_DOES_NOT_APPLY",
            field=", ".join(sizes),
        ) from error
    return seen


def _example(value: onnx.ValueInfoProto, choice: int) -> Tensor:
    kind = value.type.tensor_type
    rank = len(kind.shape.dim)
    sizes = [
        dimension.dim_value if dimension.dim_value > 0 else _open_size(axis, rank, choice)
        for axis, dimension in enumerate(kind.shape.dim)
    ]
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
    return torch.from_numpy(np.ones(sizes, dtype))


def _open_size(axis: int, rank: int, choice: int) -> int:
    if axis == 0:
        return _SIZES[choice][_ROWS_OPEN]
    return _SIZES[choice][_IMAGE_OPEN if rank >= 4 and axis >= 2 else _OTHERS_OPEN]
