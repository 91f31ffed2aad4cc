"""What the calls of each Version show to Prometheus, under our names and under Triton's, read when it asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from servemesh.observe import metrics, names
from servemesh.observe.metrics import Family, Labels
from servemesh.observe.names import Metric
from servemesh.worker.service.batcher import Batcher
from servemesh.worker.service.residency import SlotStatus
from servemesh.worker.service.statistics import Statistics

_TRITON: dict[Metric, Callable[[Statistics], float]] = {
    names.TRITON_SUCCESS: lambda done: done.success.count,
    names.TRITON_FAILURE: lambda done: done.fail.count,
    names.TRITON_COUNT: lambda done: done.rows,
    names.TRITON_EXEC_COUNT: lambda done: done.batches,
    names.TRITON_REQUEST_US: lambda done: done.success.ns // 1000,
    names.TRITON_QUEUE_US: lambda done: done.queue.ns // 1000,
    names.TRITON_INPUT_US: lambda done: done.compute_input.ns // 1000,
    names.TRITON_INFER_US: lambda done: done.compute_infer.ns // 1000,
    names.TRITON_OUTPUT_US: lambda done: done.compute_output.ns // 1000,
}


class SlotSeries:
    """A collector over the counters that the data path keeps anyway: it pays nothing for them to be shown."""

    def __init__(self, slots: Callable[[], Sequence[SlotStatus]]) -> None:
        self._slots = slots

    def collect(self) -> Iterator[Family]:
        """Yield every family."""
        slots = self._slots()
        done: dict[Labels, Statistics] = {
            (slot.model, str(slot.version_id)): slot.statistics
            for slot in slots
            if slot.statistics is not None
        }
        yield from _ours(done)
        for metric, value in _TRITON.items():
            yield metrics.counted(metric, {labels: value(one) for labels, one in done.items()})
        batchers: dict[Labels, Batcher] = {
            (slot.model, str(slot.version_id)): slot.ready.batcher for slot in slots if slot.ready is not None
        }
        rows: dict[Labels, float] = {labels: batcher.waiting_rows for labels, batcher in batchers.items()}
        yield metrics.gauged(names.WORKER_QUEUE_ROWS, rows)
        calls: dict[Labels, float] = {labels: batcher.waiting_calls for labels, batcher in batchers.items()}
        yield metrics.gauged(names.TRITON_PENDING, calls)


def _ours(done: dict[Labels, Statistics]) -> Iterator[Family]:
    answered: dict[Labels, float] = {(*labels, "answered"): one.success.count for labels, one in done.items()}
    failed: dict[Labels, float] = {
        (*labels, "failed"): one.fail.count - one.refused for labels, one in done.items()
    }
    refused: dict[Labels, float] = {(*labels, "refused"): one.refused for labels, one in done.items()}
    yield metrics.counted(names.WORKER_CALLS, answered | failed | refused)
    yield metrics.distributed(
        names.WORKER_CALL_DURATION,
        {labels: one.durations.recorded() for labels, one in done.items()},
    )
    yield metrics.counted(
        names.WORKER_QUEUE_DURATION, {labels: one.queue.ns / 1e9 for labels, one in done.items()}
    )
