"""What was measured, as programs that block see it: `Client.metrics`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from servemesh.client import reading, readings
from servemesh.client.blocking import BlockingRunner
from servemesh.client.sync_alerts import Alerts
from servemesh.client.sync_analyses import Analyses
from servemesh.client.sync_optimizer import CALL_S

NO_FILTERS: Mapping[str, str | Sequence[str]] = {}


class Metrics(Alerts, Analyses):
    """The metrics service: what the mesh did, does and will need."""

    def __init__(self, runner: BlockingRunner) -> None:
        self._runner = runner

    def list_metrics(self, *, timeout_s: float = CALL_S) -> list[readings.MetricInfo]:
        """Return every metric in the store, by name."""
        return self._runner.run(reading.list_metrics(), timeout_s)

    def query(
        self,
        metric: str,
        measure: str = "",
        *,
        where: Mapping[str, str | Sequence[str]] = NO_FILTERS,
        by: Sequence[str] = (),
        quantile: float | None = None,
        begin: datetime | None = None,
        end: datetime | None = None,
        step_s: float = 0.0,
        timeout_s: float = CALL_S,
    ) -> readings.Reading:
        """Return one measure of a metric over time: a track for each combination of the labels in `by`.

        `measure` is rate, increase, mean, min, max, last, quantile or sum_rate; without one rate for counters and
        histograms, mean for the rest. `where` keeps the series that have, for each label, one of its values. Without
        `begin` it is the last hour; without `step_s` about 240 steps. OverloadedError: more values than an answer
        may have.
        """
        operation = reading.query(metric, measure, where, by, quantile, begin, end, step_s)
        return self._runner.run(operation, timeout_s)

    def annotations(
        self,
        *,
        begin: datetime | None = None,
        end: datetime | None = None,
        resource: str = "",
        count_max: int = 100,
        timeout_s: float = CALL_S,
    ) -> list[readings.Annotation]:
        """Return what changed, newest first; `resource` keeps what happened to it and to what is below it."""
        return self._runner.run(reading.list_annotations(begin, end, resource, count_max), timeout_s)
