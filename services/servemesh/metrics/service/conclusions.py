"""What reports and rules ask of the analysis."""

from __future__ import annotations

import math
from collections.abc import Sequence

from servemesh.errors import ServemeshError
from servemesh.metrics.domain.figures import Figures
from servemesh.metrics.domain.queries import Window
from servemesh.metrics.domain.reporting.contents import Outlook
from servemesh.metrics.service.capacity import Capacity
from servemesh.metrics.service.forecasting import Forecasts
from servemesh.metrics.service.overview import Overview, SubjectKind


class Conclusions:
    """Figures and outlooks, from the parts that make them."""

    def __init__(self, overview: Overview, forecasts: Forecasts, capacity: Capacity) -> None:
        self._overview = overview
        self._forecasts = forecasts
        self._capacity = capacity

    async def figures(self, window: Window) -> tuple[Figures, Sequence[Figures], Sequence[Figures]]:
        """Return the figures of the mesh, of each model and of each worker."""
        models = await self._overview.get(window, SubjectKind.MODEL)
        workers = await self._overview.get(window, SubjectKind.WORKER)
        return models.mesh, models.subjects, workers.subjects

    async def outlook(self, model: str, horizon_s: float) -> Outlook:
        """Return what is expected of a model. ConflictError while there is too little history."""
        found = await self._forecasts.get(model, horizon_s)
        capacity, exceeded_s = await self._capacity_of(model, horizon_s)
        said = found.forecast.projection
        return Outlook(
            model=model,
            method=found.forecast.method,
            begin_s=found.begin_s,
            step_s=found.step_s,
            expected=said.expected.tolist(),
            low=said.low.tolist(),
            high=said.high.tolist(),
            backtest_error=found.forecast.backtest_error,
            naive_error=found.forecast.naive_error,
            capacity=capacity,
            exceeded_s=exceeded_s,
        )

    async def _capacity_of(self, model: str, horizon_s: float) -> tuple[float, float | None]:
        try:
            found = await self._capacity.get(horizon_s)
        except ServemeshError:
            return math.nan, None
        for each in found.models:
            if each.model == model:
                return each.rows_per_worker * each.holder_count, each.exceeded_s
        return math.nan, None
