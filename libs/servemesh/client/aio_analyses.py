"""The analysis, as programs on an event loop see it: a part of `AsyncClient.metrics`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from servemesh.client import analyses, analysing
from servemesh.client.awaiting import AwaitingRunner
from servemesh.client.sync_analyses import FORECAST_S
from servemesh.client.sync_optimizer import CALL_S


class AsyncAnalyses:
    """`Analyses` with methods to await."""

    _runner: AwaitingRunner

    async def overview(
        self,
        *,
        by: str = "model",
        begin: datetime | None = None,
        end: datetime | None = None,
        timeout_s: float = CALL_S,
    ) -> analyses.Overview:
        """As `Analyses.overview`."""
        return await self._runner.run(analysing.overview(by, begin, end), timeout_s)

    async def compare(
        self,
        model: str,
        baseline: int,
        candidate: int,
        *,
        begin: datetime | None = None,
        end: datetime | None = None,
        timeout_s: float = CALL_S,
    ) -> analyses.Comparison:
        """As `Analyses.compare`."""
        operation = analysing.compare(model, baseline, candidate, begin, end)
        return await self._runner.run(operation, timeout_s)

    async def anomalies(
        self,
        model: str = "",
        *,
        begin: datetime | None = None,
        end: datetime | None = None,
        timeout_s: float = CALL_S,
    ) -> Sequence[analyses.Anomaly]:
        """As `Analyses.anomalies`."""
        return await self._runner.run(analysing.anomalies(model, begin, end), timeout_s)

    async def drift(
        self,
        model: str,
        version: int,
        *,
        begin: datetime | None = None,
        end: datetime | None = None,
        reference: tuple[datetime, datetime] | None = None,
        timeout_s: float = CALL_S,
    ) -> analyses.Drift:
        """As `Analyses.drift`."""
        operation = analysing.drift(model, version, begin, end, reference)
        return await self._runner.run(operation, timeout_s)

    async def forecast(
        self, model: str, *, horizon_s: float = 0.0, timeout_s: float = FORECAST_S
    ) -> analyses.Forecast:
        """As `Analyses.forecast`."""
        return await self._runner.run(analysing.forecast(model, horizon_s), timeout_s)

    async def capacity(self, *, horizon_s: float = 0.0, timeout_s: float = FORECAST_S) -> analyses.Capacity:
        """As `Analyses.capacity`."""
        return await self._runner.run(analysing.capacity(horizon_s), timeout_s)
