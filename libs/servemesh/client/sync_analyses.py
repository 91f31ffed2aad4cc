"""The analysis, as programs that block see it: a part of `Client.metrics`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from servemesh.client import analyses, analysing
from servemesh.client.blocking import BlockingRunner
from servemesh.client.sync_optimizer import CALL_S

FORECAST_S = 120.0


class Analyses:
    """What is concluded from the measurements."""

    _runner: BlockingRunner

    def overview(
        self,
        *,
        by: str = "model",
        begin: datetime | None = None,
        end: datetime | None = None,
        timeout_s: float = CALL_S,
    ) -> analyses.Overview:
        """Return rate, errors, duration, saturation, efficiency and cost: of the mesh, and by model, version, worker
        or tenant. Without `begin` it is the last hour."""
        return self._runner.run(analysing.overview(by, begin, end), timeout_s)

    def compare(
        self,
        model: str,
        baseline: int,
        candidate: int,
        *,
        begin: datetime | None = None,
        end: datetime | None = None,
        timeout_s: float = CALL_S,
    ) -> analyses.Comparison:
        """Compare two Versions of a model over the same window, each difference with its 95 % interval and p-value.

        MissingError: one of them was never called; ConflictError: the window is too short.
        """
        operation = analysing.compare(model, baseline, candidate, begin, end)
        return self._runner.run(operation, timeout_s)

    def anomalies(
        self,
        model: str = "",
        *,
        begin: datetime | None = None,
        end: datetime | None = None,
        timeout_s: float = CALL_S,
    ) -> Sequence[analyses.Anomaly]:
        """Return when a model, or any, did not do what its season lets expect, newest first."""
        return self._runner.run(analysing.anomalies(model, begin, end), timeout_s)

    def drift(
        self,
        model: str,
        version: int,
        *,
        begin: datetime | None = None,
        end: datetime | None = None,
        reference: tuple[datetime, datetime] | None = None,
        timeout_s: float = CALL_S,
    ) -> analyses.Drift:
        """Return how far a Version's inputs and outputs have moved from `reference`, or from its first day.

        ConflictError: they are not sampled.
        """
        operation = analysing.drift(model, version, begin, end, reference)
        return self._runner.run(operation, timeout_s)

    def forecast(
        self, model: str, *, horizon_s: float = 0.0, timeout_s: float = FORECAST_S
    ) -> analyses.Forecast:
        """Return the demand of a model in rows per second, 15 minutes to 14 days ahead (0: a day).

        ConflictError: there is too little history, and how much is missing.
        """
        return self._runner.run(analysing.forecast(model, horizon_s), timeout_s)

    def capacity(self, *, horizon_s: float = 0.0, timeout_s: float = FORECAST_S) -> analyses.Capacity:
        """Return how many workers are needed, now and at the peak within the horizon (0: a day).

        ConflictError: no Version has run for long enough to be measured.
        """
        return self._runner.run(analysing.capacity(horizon_s), timeout_s)
