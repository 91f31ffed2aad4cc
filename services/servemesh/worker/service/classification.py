"""The best classes of an output as text, for callers that ask for `classification`."""

from __future__ import annotations

import numpy as np

from servemesh.errors import InvalidError
from servemesh.worker.service.execution import Array


def best_classes(output: Array, count: int, name: str, *, batchable: bool) -> Array:
    """Return "value:index" of the `count` greatest values, greatest first; of each row if there are rows."""
    if output.dtype.kind not in "iuf":
        raise InvalidError(
            f"outputs.{name} has no numbers to choose classes by",
            reason="CLASSIFICATION_INVALID",
            field=f"outputs.{name}.parameters.classification",
            expected="an output of numbers",
            got=output.dtype,
        )
    rows = output.reshape(output.shape[0], -1) if batchable else output.reshape(1, -1)
    best = np.argsort(-rows.astype(np.float64), axis=1, kind="stable")[:, :count]
    texts = np.empty(best.shape, dtype=object)
    for row, classes in enumerate(best):
        texts[row] = [f"{rows[row, index]:f}:{index}".encode() for index in classes]
    return texts if batchable else texts[0]
