"""What one Version has done since it was first READY here; counters never fall."""

from __future__ import annotations

from dataclasses import dataclass, field

from servemesh.errors import InvalidError
from servemesh.observe.names import CALL_BUCKETS_S
from servemesh.observe.recorder import Recorder
from servemesh.worker.service.execution import Outcome


@dataclass(slots=True)
class Duration:
    """How often something happened and how long it took in all."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int, count: int = 1) -> None:
        """Count `count` more that took `ns` in all."""
        self.count += count
        self.ns += ns


@dataclass(slots=True)
class BatchSizeStatistics:
    """Runs of one batch size."""

    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)


@dataclass(slots=True)
class Statistics:
    """Calls, rows, batches and the time they spent at each step. Written on the event loop only."""

    rows: int = 0
    batches: int = 0
    last_call_ms: int = 0
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    refused: int = 0
    """Of the failed calls, those whose caller made the mistake."""
    queue: Duration = field(default_factory=Duration)
    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)
    by_rows: dict[int, BatchSizeStatistics] = field(default_factory=dict)
    durations: Recorder = field(default_factory=lambda: Recorder(CALL_BUCKETS_S, unit=1e-9))
    """Of answered calls, from arrival to answer; observes nanoseconds."""

    def failed(self, error: Exception, ns: int) -> None:
        """Count a call that ended with an error after `ns`."""
        self.fail.add(ns)
        self.refused += isinstance(error, InvalidError)

    def batch_ran(self, outcome: Outcome, *, rows: int, calls: int, calls_ns: int, now_ms: int) -> None:
        """Count one run. Each of its calls went through each step, so steps count calls."""
        self.last_call_ms = now_ms
        self.rows += rows
        self.batches += 1
        self.success.add(calls_ns, calls)
        self.compute_input.add(outcome.input_ns * calls, calls)
        self.compute_infer.add(outcome.infer_ns * calls, calls)
        self.compute_output.add(outcome.output_ns * calls, calls)
        size = self.by_rows.get(rows)
        if size is None:
            size = self.by_rows[rows] = BatchSizeStatistics()
        size.compute_input.add(outcome.input_ns)
        size.compute_infer.add(outcome.infer_ns)
        size.compute_output.add(outcome.output_ns)
