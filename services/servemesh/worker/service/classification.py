"""The best classes of an output as text, for callers that ask for `classification`."""

from __future__ import annotations

import math

import numpy as np

from servemesh.errors import InvalidError
from servemesh.tensors import datatypes
from servemesh.worker.service.execution import Array


def best_classes(output: Array, count: int, name: str, *, batchable: bool) -> Array:
    """Return "value:index" of the `count` greatest values, greatest first; of each row if there are rows."""
    if datatypes.of_array(output).name in ("BYTES", "BOOL"):
        raise InvalidError(
            f"outputs.{name} has no numbers to choose classes by",
            reason="CLASSIFICATION_INVALID",
            field=f"outputs.{name}.parameters.classification",
            expected="an output of numbers",
            got=output.dtype,
        )
    values = output.astype(np.float64)
    width = math.prod(values.shape[1:]) if batchable else values.size
    rows = values.reshape(len(values) if batchable else 1, width)
    best = np.argsort(-rows, axis=1, kind="stable")[:, :count]
    texts = np.empty(best.shape, dtype=object)
    for row, classes in enumerate(best):
        texts[row] = [f"{rows[row, index]:f}:{index}".encode() for index in classes]
    return texts if batchable else texts[0]
