"""What an operator's function is given: one node's inputs and attributes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from servemesh.errors import InvalidError


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One run of one node. `opset` is the version of the standard operator set that the model was written for."""

    node: str
    operator: str
    inputs: Sequence[Tensor | None]
    attributes: Mapping[str, Any]
    output_count: int
    opset: int
    training: bool

    def tensor(self, index: int = 0) -> Tensor:
        """Return an input that the operator cannot do without."""
        value = self.optional(index)
        if value is None:
            raise self.refused(f"input {index} is missing")
        return value

    def optional(self, index: int) -> Tensor | None:
        """Return an input, or None if the node leaves it out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def given(self) -> list[Tensor]:
        """Return the inputs that are there, in order."""
        return [value for value in self.inputs if value is not None]

    def attribute(self, name: str, default: Any) -> Any:
        """Return an attribute, or what the operator's definition says when the node has none."""
        return self.attributes.get(name, default)

    def integers(self, index: int, name: str) -> list[int] | None:
        """Return a list of integers that is an input in newer operator sets and an attribute in older ones."""
        value = self.optional(index)
        if value is not None:
            return [int(item) for item in value.reshape(-1).tolist()]
        return self.attributes.get(name)

    def refused(self, why: str) -> InvalidError:
        """Return the error of a node that cannot be trained, to be raised."""
        return InvalidError(
            f"Node '{self.node}' ({self.operator}) cannot be trained: {why}.",
            reason="OPERATOR_NOT_TRAINABLE",
            field=self.node,
            got=why,
        )


Operator = Callable[[Call], Tensor | tuple[Tensor, ...]]


def axis_of(call: Call, rank: int, default: int) -> int:
    """Return the attribute `axis` counted from the front."""
    axis = int(call.attribute("axis", default))
    return axis + rank if axis < 0 else axis


def integers_tensor(values: Sequence[int], like: Tensor) -> Tensor:
    """Return 64-bit integers on the device of `like`."""
    return torch.tensor(list(values), dtype=torch.int64, device=like.device)
