"""onnxruntime without a server: rows in a second at the best batch size, the limit of all that serve it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

from bench.workloads import Request

BATCHES = (1, 2, 4, 8, 16, 32, 64)
TRIAL_S = 0.4


def session(path: Path) -> ort.InferenceSession:
    """Open a model as every server here does: on one thread, which does not spin."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(str(path), options)


class Raw:
    """A session that runs in a loop with a batch of equal rows."""

    def __init__(self, request: Request) -> None:
        self._session = session(request.model.path)
        self._inputs = request.inputs
        self._batches = BATCHES if request.model.is_batched else (1,)
        self.batch = 1

    def choose_batch(self) -> None:
        """Find the batch size that gives the most rows in a second, and keep to it."""
        self.batch = max(self._batches, key=lambda batch: self._rows_per_s(batch, TRIAL_S))

    def rows_per_s(self, seconds: float) -> float:
        """Run for a time."""
        return self._rows_per_s(self.batch, seconds)

    def _rows_per_s(self, batch: int, seconds: float) -> float:
        if batch == 1:
            inputs = dict(self._inputs)
        else:
            inputs = {name: np.repeat(array, batch, axis=0) for name, array in self._inputs.items()}
        self._session.run(None, inputs)
        rows, start_s = 0, time.perf_counter()
        while (lasted_s := time.perf_counter() - start_s) < seconds:
            self._session.run(None, inputs)
            rows += batch
        return rows / lasted_s
