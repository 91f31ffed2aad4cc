"""What the batches of one Version show to Prometheus: written once per batch, never per call."""

from __future__ import annotations

from servemesh.observe import metrics, names
from servemesh.worker.service.execution import Outcome


class BatchMetrics:
    """The series of one Version, bound once."""

    def __init__(self, model: str, version_id: int) -> None:
        labels = {"model": model, "version": str(version_id)}
        self._rows = metrics.histogram(names.WORKER_BATCH_ROWS).labels(**labels)
        self._duration = metrics.histogram(names.WORKER_BATCH_DURATION).labels(**labels)
        self._queue = metrics.counter(names.WORKER_QUEUE_DURATION).labels(**labels)
        calls = metrics.counter(names.WORKER_CALLS)
        self._answered = calls.labels(**labels, outcome="answered")
        self._failed = calls.labels(**labels, outcome="failed")

    def queued(self, queue_ns: int) -> None:
        """The calls of a batch waited so long in all."""
        self._queue.inc(queue_ns / 1e9)

    def ran(self, outcome: Outcome, *, rows: int, answered: int, failed: int) -> None:
        """A batch ended. Calls whose callers left are in neither count."""
        self._rows.observe(rows)
        self._duration.observe(outcome.duration_s)
        if answered:
            self._answered.inc(answered)
        if failed:
            self._failed.inc(failed)
