"""A guard of the event loop that stops runs by chance instead of by the clock."""

from __future__ import annotations

from servemesh.worker.service.execution import Stop
from servemesh.worker.service.guard import Guard
from tests.harness.simulation import History


class ChanceGuard(Guard):
    """Stops some of the runs on the event loop."""

    def __init__(self, history: History) -> None:
        super().__init__()
        self._history = history

    def begin(self, stop: Stop) -> None:
        if self._history.happens(0.1):
            stop.stop()

    def end(self) -> None:
        """Nothing is watched."""
