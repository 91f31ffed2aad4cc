"""How many workers the demand needs, now and ahead, and which Model will need more than there are."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import numpy as np

from servemesh.errors import ConflictError
from servemesh.lifecycle import Clock
from servemesh.metrics.domain.capacity import Demand, Need, Samples, needed, profiled
from servemesh.metrics.domain.queries import Measure, Window
from servemesh.metrics.service.asking import Courses, Key, courses, growth
from servemesh.metrics.service.forecasting import Forecasts, ModelForecast
from servemesh.metrics.service.ports import Readings
from servemesh.metrics.service.windows import checked_horizon
from servemesh.observe import names

MODELS_MAX = 100
_BY = ("model", "version", "instance")
_LOOKS = ((86_400.0, 300.0), (3_600.0, 15.0))
"""Profiles are made from the last day, and more finely from the last hour: window and step."""
_NOW_S = 60.0
_HOLD_S = 60.0
_PROFILED_S = 60.0
_CPU, _GPU = "cpu", "gpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Objectives:
    """How long 95 of 100 calls may take, and with what share of run time to plan until it is known better."""

    latency_s: float
    latency_s_of: Mapping[str, float]
    """Of Models that have one of their own."""
    busy_max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelNeed:
    """What one Model needs; `exceeded_s` is when demand will pass what there is, None if it will not."""

    model: str
    rows_per_worker: float
    demand: float
    peak_demand: float
    peak_s: float
    exceeded_s: float | None
    holder_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshNeed:
    """What the mesh needs. Without a forecast the peak is now."""

    worker_count: int
    need: Need
    peak_s: float
    models: tuple[ModelNeed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Now:
    """What is so now: rows per second by model and version, and who holds what."""

    now_s: float
    demand: Mapping[Key, float]
    holders: Mapping[str, frozenset[str]]
    kinds: Mapping[str, str]


class Capacity:
    """Profiles what ran, and sets the demand against it."""

    def __init__(
        self,
        readings: Readings,
        forecasts: Forecasts,
        worker_count: Callable[[Window], Awaitable[int]],
        clock: Clock,
        objectives: Objectives,
    ) -> None:
        self._readings = readings
        self._forecasts = forecasts
        self._worker_count = worker_count
        self._clock = clock
        self._objectives = objectives
        self._profiled: tuple[float, dict[str, float]] = (-math.inf, {})

    async def get(self, horizon_s: float) -> MeshNeed:
        """Return what is needed. ConflictError while no Version has run for long enough to be profiled."""
        checked_horizon(horizon_s)
        now_s = self._clock.now().timestamp()
        now = await self._now(now_s)
        able = await self._profiles(now)
        if not able:
            raise ConflictError(
                "no Version has run for long enough to know what a worker can do: send calls for two minutes, then "
                "ask again",
                reason="PROFILE_MISSING",
            )
        demand = {model: _of_model(now.demand, model) for model in able}
        models = sorted(able, key=lambda model: (-demand[model] / able[model], model))[:MODELS_MAX]
        forecasts = await self._forecasts.list_known(models, horizon_s)
        demands = [
            _demand(model, able[model], demand[model], forecasts.get(model), forecasts, now)
            for model in models
        ]
        count = await self._worker_count(Window(begin_s=now_s - _HOLD_S, end_s=now_s))
        need = needed(demands)
        times = _Times(now_s, next(iter(forecasts.values()), None))
        return MeshNeed(
            worker_count=count,
            need=need,
            peak_s=times.of(need.peak),
            models=tuple(_model_need(each, need, times) for each in demands),
        )

    async def _now(self, now_s: float) -> _Now:
        recent = Window(begin_s=now_s - _NOW_S, end_s=now_s)
        rows = await courses(
            self._readings, names.WORKER_BATCH_ROWS, Measure.SUM_RATE, recent, _BY[:2], step_s=_NOW_S
        )
        calls = await growth(self._readings, names.WORKER_CALLS, recent, (*_BY[:2], "outcome"))
        held = await courses(
            self._readings, names.WORKER_SLOT_MEMORY, Measure.MAX, recent, _BY, step_s=_NOW_S
        )
        gpus = await courses(
            self._readings, names.GPU_BUSY, Measure.MAX, recent, ("instance",), step_s=_NOW_S
        )
        holders: dict[str, set[str]] = {}
        for (model, _, instance), values in held.values.items():
            if not np.isnan(values).all():
                holders.setdefault(model, set()).add(instance)
        with_gpu = {instance for (instance,), values in gpus.values.items() if not np.isnan(values).all()}
        return _Now(
            now_s=now_s,
            demand={key: _asked_for(values, calls, key) for key, values in rows.values.items()},
            holders={model: frozenset(workers) for model, workers in holders.items()},
            kinds={
                worker: _GPU if worker in with_gpu else _CPU
                for workers in holders.values()
                for worker in workers
            },
        )

    async def _profiles(self, now: _Now) -> dict[str, float]:
        """Return what one worker can do of each model; read anew after a while."""
        read_s, able = self._profiled
        if not able or not 0 <= now.now_s - read_s < _PROFILED_S:
            able = await self._rows_per_worker(now)
            self._profiled = (now.now_s, able)
        return able

    async def _rows_per_worker(self, now: _Now) -> dict[str, float]:
        """Return by model what one worker can do, over the kinds of workers that hold it and what is called now."""
        able: dict[Key, float] = {}
        for (model, version), by_kind in (await self._samples(now)).items():
            objective_s = self._objectives.latency_s_of.get(model, self._objectives.latency_s)
            profiles = {
                kind: profiled(samples, objective_s=objective_s, busy_max=self._objectives.busy_max)
                for kind, samples in by_kind.items()
            }
            holders = [now.kinds[worker] for worker in now.holders.get(model, frozenset())] or list(profiles)
            rates = [
                profile.rows_per_worker for kind in holders if (profile := profiles.get(kind)) is not None
            ]
            if rates:
                able[model, version] = sum(rates) / len(rates)
        found: dict[str, float] = {}
        for model in {model for model, _ in able}:
            versions = {key: rate for key, rate in able.items() if key[0] == model}
            called = {key: now.demand.get(key, 0.0) for key in versions}
            if not sum(called.values()):
                called = {max(versions, key=lambda key: int(key[1]) if key[1].isdigit() else 0): 1.0}
            found[model] = sum(called.values()) / sum(rows / versions[key] for key, rows in called.items())
        return found

    async def _samples(self, now: _Now) -> dict[Key, dict[str, Samples]]:
        parts: dict[tuple[Key, str], list[Samples]] = {}
        for back_s, step_s in _LOOKS:
            end_s = now.now_s // step_s * step_s
            window = Window(begin_s=end_s - back_s, end_s=end_s)
            rows = await self._course(names.WORKER_BATCH_ROWS, Measure.SUM_RATE, window, step_s)
            busy = await self._course(names.WORKER_BATCH_DURATION, Measure.SUM_RATE, window, step_s)
            latency = await self._course(names.WORKER_CALL_DURATION, Measure.QUANTILE, window, step_s)
            for key, values in busy.values.items():
                unknown = np.full_like(values, np.nan)
                sample = Samples(
                    rows_per_s=rows.values.get(key, unknown),
                    busy=np.nan_to_num(values),
                    latency_s=latency.values.get(key, unknown),
                )
                parts.setdefault((key[:2], now.kinds.get(key[2], _CPU)), []).append(sample)
        found: dict[Key, dict[str, Samples]] = {}
        for (key, kind), samples in parts.items():
            found.setdefault(key, {})[kind] = Samples(
                rows_per_s=np.concatenate([each.rows_per_s for each in samples]),
                busy=np.concatenate([each.busy for each in samples]),
                latency_s=np.concatenate([each.latency_s for each in samples]),
            )
        return found

    async def _course(self, metric: names.Metric, measure: Measure, window: Window, step_s: float) -> Courses:
        return await courses(self._readings, metric, measure, window, _BY, step_s=step_s, quantile=0.95)


@dataclass(frozen=True, slots=True)
class _Times:
    """When steps are: those of a forecast, or only now."""

    now_s: float
    forecast: ModelForecast | None

    def of(self, step: int) -> float:
        """Return when a step begins, or now if that was before."""
        if self.forecast is None:
            return self.now_s
        return max(self.now_s, self.forecast.begin_s + step * self.forecast.step_s)


def _asked_for(
    rows: np.ndarray[tuple[int, ...], np.dtype[np.float64]], calls: Mapping[Key, float], key: Key
) -> float:
    """Return rows per second that ran, and those of calls that failed beside them."""
    ran = float(np.nanmean(rows)) if not np.isnan(rows).all() else 0.0
    answered, failed = calls.get((*key, "answered"), 0.0), calls.get((*key, "failed"), 0.0)
    return ran * (answered + failed) / answered if answered else ran


def _of_model(demand: Mapping[Key, float], model: str) -> float:
    return math.fsum(rows for (name, _), rows in demand.items() if name == model)


def _demand(
    model: str,
    rows_per_worker: float,
    demand: float,
    own: ModelForecast | None,
    forecasts: Mapping[str, ModelForecast],
    now: _Now,
) -> Demand:
    """Return the demand ahead; a model without a forecast stays as it is now."""
    steps = len(next(iter(forecasts.values())).forecast.projection.expected) if forecasts else 1
    same = np.full(steps, demand)
    said = own.forecast.projection if own else None
    return Demand(
        model=model,
        rows_per_worker=rows_per_worker,
        now=demand,
        expected=said.expected if said else same,
        low=said.low if said else same,
        high=said.high if said else same,
        holders=now.holders.get(model, frozenset()),
    )


def _model_need(demand: Demand, need: Need, times: _Times) -> ModelNeed:
    peak = int(np.argmax(demand.expected))
    exceeded = need.exceeded[demand.model]
    return ModelNeed(
        model=demand.model,
        rows_per_worker=demand.rows_per_worker,
        demand=demand.now,
        peak_demand=float(demand.expected[peak]),
        peak_s=times.of(peak),
        exceeded_s=None if exceeded is None else times.of(exceeded),
        holder_count=len(demand.holders),
    )
