"""What the batches of one Version show to Prometheus: written once per batch, never per call."""

from __future__ import annotations

from servemesh.observe import metrics, names
from servemesh.worker.service.execution import Outcome


class BatchMetrics:
    """The series of one Version, bound once."""

    def __init__(self, model: str, version_id: int) -> None:
        self.labels = {"model": model, "version": str(version_id)}
        self._rows = metrics.histogram(names.WORKER_BATCH_ROWS).labels(**self.labels)
        self._duration = metrics.histogram(names.WORKER_BATCH_DURATION).labels(**self.labels)

    def ran(self, outcome: Outcome, *, rows: int) -> None:
        """A batch ended, with so many rows answered."""
        self._rows.observe(rows)
        self._duration.observe(outcome.duration_s)
