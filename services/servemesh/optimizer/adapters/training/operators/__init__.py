"""What each ONNX operator computes in torch, one small function an operator."""

from __future__ import annotations

from collections.abc import Mapping

from servemesh.optimizer.adapters.training.operators import (
    elementwise,
    indexing,
    layers,
    normalising,
    pooling,
    reducing,
    shaping,
)
from servemesh.optimizer.adapters.training.operators.call import Operator

OPERATORS: Mapping[str, Operator] = {
    **elementwise.TABLE,
    **indexing.TABLE,
    **layers.TABLE,
    **normalising.TABLE,
    **pooling.TABLE,
    **reducing.TABLE,
    **shaping.TABLE,
}
