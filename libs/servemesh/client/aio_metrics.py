"""What was measured, as programs on an event loop see it: `AsyncClient.metrics`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from servemesh.client import reading, readings
from servemesh.client.aio_alerts import AsyncAlerts
from servemesh.client.aio_analyses import AsyncAnalyses
from servemesh.client.awaiting import AwaitingRunner
from servemesh.client.sync_metrics import NO_FILTERS
from servemesh.client.sync_optimizer import CALL_S


class AsyncMetrics(AsyncAlerts, AsyncAnalyses):
    """`Metrics` with methods to await, alike in names and errors."""

    def __init__(self, runner: AwaitingRunner) -> None:
        self._runner = runner

    async def list_metrics(self, *, timeout_s: float = CALL_S) -> list[readings.MetricInfo]:
        """As `Metrics.list_metrics`."""
        return await self._runner.run(reading.list_metrics(), timeout_s)

    async def query(
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
        """As `Metrics.query`."""
        operation = reading.query(metric, measure, where, by, quantile, begin, end, step_s)
        return await self._runner.run(operation, timeout_s)

    async def annotations(
        self,
        *,
        begin: datetime | None = None,
        end: datetime | None = None,
        resource: str = "",
        count_max: int = 100,
        timeout_s: float = CALL_S,
    ) -> list[readings.Annotation]:
        """As `Metrics.annotations`."""
        return await self._runner.run(reading.list_annotations(begin, end, resource, count_max), timeout_s)
