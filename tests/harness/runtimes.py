"""Runtimes for tests: one that runs when it is told to, and one that computes at once."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from servemesh.errors import InvalidError, ServemeshError
from servemesh.worker.service.execution import Array, Stop, StoppedError

BAD_VALUE = 666.0
CRASH_VALUE = 999.0
STEP_TIMEOUT_S = 10.0


class MemoryRuntime:
    """Its output `y` is twice its input `x`. Refuses BAD_VALUE, fails on CRASH_VALUE."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str], stop: Stop) -> list[Array]:
        """Return twice the input for each output asked for."""
        array = inputs["x"]
        self.batches.append(array.shape[0] if array.ndim else 1)
        if stop.stopped:
            raise StoppedError("the run was stopped")
        if (array == BAD_VALUE).any():
            raise InvalidError("the model refuses the values of its inputs", field="inputs")
        if (array == CRASH_VALUE).any():
            raise ServemeshError("the model failed on these inputs", reason="MODEL_RUN_FAILED")
        return [array * 2 for _ in outputs]


class SteppedRuntime(MemoryRuntime):
    """Waits at each run until the test says `go`; a stop lets it go too."""

    def __init__(self) -> None:
        super().__init__()
        self._steps = threading.Semaphore(0)
        self.started = threading.Semaphore(0)
        self.stops = 0

    def go(self, runs: int = 1) -> None:
        """Let so many runs go on."""
        self._steps.release(runs)

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str], stop: Stop) -> list[Array]:
        """Wait, then compute."""
        stop.on_stop(self._stopped)
        self.started.release()
        if not self._steps.acquire(timeout=STEP_TIMEOUT_S):
            raise AssertionError("the test never said go")
        return super().run(inputs, outputs, stop)

    def _stopped(self) -> None:
        self.stops += 1
        self._steps.release()
