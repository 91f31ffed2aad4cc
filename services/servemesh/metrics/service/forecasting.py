"""The demand of Models in the hours and days ahead."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from servemesh.errors import ServemeshError
from servemesh.lifecycle import Clock
from servemesh.metrics.domain.forecasting import (
    Floats,
    Forecast,
    Grid,
    grid,
    usable_seasons,
    without_gaps,
)
from servemesh.metrics.domain.queries import Measure, Window
from servemesh.metrics.service.asking import courses, is_measured
from servemesh.metrics.service.ports import Readings
from servemesh.metrics.service.windows import checked_horizon, history_missing, require_calls, span
from servemesh.observe import names

HORIZON_S_DEFAULT = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Rows per second without gaps, how many steps to look ahead, and the seasons that it shows, in steps."""

    values: Floats
    steps: int
    seasons: tuple[int, ...]


class Forecaster(Protocol):
    """Makes forecasts; it may take seconds."""

    async def forecast(self, histories: Sequence[History]) -> list[Forecast]:
        """Return a forecast for each history. UnavailableError if it cannot be done in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelForecast:
    """A forecast with the times it is about."""

    model: str
    begin_s: float
    step_s: float
    forecast: Forecast
    history: Window


class Forecasts:
    """Makes each forecast once for each step, and keeps the last `kept_max`."""

    def __init__(self, readings: Readings, forecaster: Forecaster, clock: Clock, *, kept_max: int) -> None:
        self._readings = readings
        self._forecaster = forecaster
        self._clock = clock
        self._kept_max = kept_max
        self._kept: OrderedDict[tuple[str, float, int], ModelForecast] = OrderedDict()

    async def get(self, model: str, horizon_s: float) -> ModelForecast:
        """Return the demand of one model. MissingError if it was never called, ConflictError for want of history."""
        now_s = self._clock.now().timestamp()
        steps = grid(checked_horizon(horizon_s))
        await require_calls(self._readings, Window(begin_s=now_s - 1, end_s=now_s), model)
        found = await self.list([model], horizon_s)
        if model in found:
            return found[model]
        _, values = await self._history(model, steps)
        raise history_missing(
            f"a forecast of models/{model} for {span(horizon_s)} ahead",
            need_s=steps.history_s_min,
            got_s=len(values) * steps.step_s,
            then="ask again then, or for a shorter horizon (15 minutes need 3 h)",
        )

    async def list(self, models: Iterable[str], horizon_s: float) -> dict[str, ModelForecast]:
        """Return the demand of those models that have history enough."""
        steps = grid(checked_horizon(horizon_s))
        now_s = self._clock.now().timestamp()
        ahead = math.ceil((horizon_s + now_s % steps.step_s) / steps.step_s)
        found: dict[str, ModelForecast] = {}
        wanted: list[tuple[str, float, History]] = []
        for model in models:
            begin_s = now_s // steps.step_s * steps.step_s
            kept = self._kept.get((model, begin_s, ahead))
            if kept is not None:
                found[model] = kept
                continue
            end_s, values = await self._history(model, steps)
            if len(values) * steps.step_s >= steps.history_s_min:
                seasons = usable_seasons(len(values), ahead, steps.seasons)
                wanted.append((model, end_s, History(values=values, steps=ahead, seasons=seasons)))
        if wanted:
            made = await self._forecaster.forecast([history for _, _, history in wanted])
            for (model, end_s, history), forecast in zip(wanted, made, strict=True):
                found[model] = self._keep(model, end_s, steps, history, forecast)
        return found

    async def list_known(self, models: Iterable[str], horizon_s: float) -> dict[str, ModelForecast]:
        """Return as `list`; nothing where forecasts cannot be made now."""
        try:
            return await self.list(models, horizon_s)
        except ServemeshError:
            return {}

    def _keep(
        self, model: str, end_s: float, steps: Grid, history: History, forecast: Forecast
    ) -> ModelForecast:
        made = ModelForecast(
            model=model,
            begin_s=end_s,
            step_s=steps.step_s,
            forecast=forecast,
            history=Window(begin_s=end_s - len(history.values) * steps.step_s, end_s=end_s),
        )
        self._kept[model, end_s, history.steps] = made
        while len(self._kept) > self._kept_max:
            self._kept.popitem(last=False)
        return made

    async def _history(self, model: str, steps: Grid) -> tuple[float, Floats]:
        """Return when the last whole step ended, and rows per second up to then, without gaps."""
        end_s = self._clock.now().timestamp() // steps.step_s * steps.step_s
        window = Window(begin_s=end_s - steps.history_s_max, end_s=end_s)
        found = await courses(
            self._readings,
            names.WORKER_BATCH_ROWS,
            Measure.SUM_RATE,
            window,
            ("model",),
            step_s=steps.step_s,
            filters={"model": (model,)},
        )
        values = next(iter(found.values.values()), np.full(0, np.nan))
        told = await is_measured(self._readings, window, step_s=steps.step_s)
        if told is not None and len(told) == len(values):
            values = np.where(np.isnan(values) & told, 0.0, values)
        return end_s, without_gaps(_from_first_rows(values), steps.seasons)


def _from_first_rows(values: Floats) -> Floats:
    """Leave out what was before the model first ran."""
    ran = np.flatnonzero(np.nan_to_num(values) > 0)
    return values[ran[0] :] if len(ran) else values[:0]
