"""Gathers what a report says from the store of measurements, the analysis, and what is kept of alerts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from servemesh.errors import ServemeshError
from servemesh.lifecycle import Clock
from servemesh.metrics.domain.alerting.alerts import Alert
from servemesh.metrics.domain.figures import Figures
from servemesh.metrics.domain.queries import Annotation, Answer, Measure, Query, Window
from servemesh.metrics.domain.reporting import causes
from servemesh.metrics.domain.reporting.contents import Course, Findings, Outlook, Trouble, step_s
from servemesh.metrics.domain.reporting.reports import Order
from servemesh.metrics.service.alert_storage import AlertStore
from servemesh.metrics.service.ports import Readings
from servemesh.observe import names as telemetry

CHANGES_MAX = 500
TROUBLES_MAX = 20
ALERTS_MAX = 1_000
OUTLOOKS_MAX = 20
HORIZONS_S = (86_400.0, 4 * 3_600.0, 900.0)
"""How far a report looks ahead: as far as the history bears."""
_CALLS = telemetry.WORKER_CALLS.name
_DURATION = telemetry.WORKER_CALL_DURATION.name
_FAILED = {"outcome": ("failed",)}
_ALWAYS = (telemetry.HOST_CPU_BUSY.name, telemetry.PROCESS_MEMORY.name, telemetry.WORKER_MEMORY_MAX.name)
"""What is measured of every mesh, also of one that nobody calls."""


class Analysis(Protocol):
    """What is concluded from the measurements."""

    async def figures(self, window: Window) -> tuple[Figures, Sequence[Figures], Sequence[Figures]]:
        """Return the figures of the mesh, of each model and of each worker."""
        ...

    async def outlook(self, model: str, horizon_s: float) -> Outlook:
        """Return what is expected of a model. ConflictError while there is too little history."""
        ...


class Gathering:
    """Reads; nothing is changed."""

    def __init__(self, readings: Readings, analysis: Analysis, store: AlertStore, clock: Clock) -> None:
        self._readings = readings
        self._analysis = analysis
        self._store = store
        self._clock = clock

    async def was_measured(self, window: Window) -> bool:
        """Whether there is anything to report on."""
        for metric in _ALWAYS:
            query = Query(
                metric=metric, measure=Measure.MAX, window=window, step_s=window.end_s - window.begin_s
            )
            answer = await self._readings.query(query)
            if any(np.isfinite(track.values).any() for track in answer.tracks):
                return True
        return False

    async def findings(self, order: Order) -> Findings:
        """Return all that a report of that order says."""
        mesh, models, workers = await self._analysis.figures(order.window)
        if order.model:
            models, workers = [each for each in models if each.subject == f"models/{order.model}"], []
        changes = await self._readings.annotations(order.window, count_max=CHANGES_MAX)
        courses = await self._courses(order)
        outlooks, without = await self._outlooks(models)
        return Findings(
            order=order,
            create_s=self._clock.now().timestamp(),
            mesh=mesh,
            models=models,
            workers=workers,
            courses=courses,
            troubles=await self._troubles(order, changes),
            alerts=await self._alerts(order),
            changes=[each for each in reversed(changes) if _concerns(each, order.model)],
            outlooks=outlooks,
            without_outlook=without,
        )

    async def _courses(self, order: Order) -> Mapping[str, Course]:
        calls = await self._course(_query(order, _CALLS, "model", Measure.RATE))
        failed = await self._course(_query(order, _CALLS, "model", Measure.RATE, filters=_FAILED))
        found = {
            "rate": calls,
            "errors": _shared(failed, calls, missing=0.0),
            "p50": await self._course(_query(order, _DURATION, "model", Measure.QUANTILE, quantile=0.5)),
            "p99": await self._course(_query(order, _DURATION, "model", Measure.QUANTILE, quantile=0.99)),
            "rows": await self._course(
                _query(order, telemetry.WORKER_BATCH_ROWS.name, "model", Measure.SUM_RATE)
            ),
        }
        if not order.model:
            found |= await self._machines(order)
        return found

    async def _machines(self, order: Order) -> Mapping[str, Course]:
        async def mean(name: str, by: str = "host") -> Course:
            return await self._course(_query(order, name, by, Measure.MEAN))

        return {
            "busy": await self._course(
                _query(order, telemetry.WORKER_BATCH_DURATION.name, "instance", Measure.SUM_RATE)
            ),
            "cpu": await mean(telemetry.HOST_CPU_BUSY.name),
            "memory": _shared(
                await mean(telemetry.HOST_MEMORY_USED.name), await mean(telemetry.HOST_MEMORY_MAX.name)
            ),
            "disk": _shared(
                await mean(telemetry.HOST_DISK_USED.name), await mean(telemetry.HOST_DISK_MAX.name)
            ),
            "gpu": await mean(telemetry.GPU_BUSY.name),
        }

    async def _troubles(self, order: Order, changes: Sequence[Annotation]) -> Sequence[Trouble]:
        queries = [
            _query(
                order, _CALLS, "model", Measure.INCREASE, filters=_FAILED, by=("model", "version", "reason")
            ),
        ]
        if not order.model:
            by = ("service", "method", "code")
            queries.append(_query(order, telemetry.RPC_SERVER_CALLS.name, "", Measure.INCREASE, by=by))
        found = []
        for query in queries:
            answer = await self._readings.query(query)
            found += [
                trouble
                for track in answer.tracks
                if (trouble := _trouble(answer, track.labels, track.values, changes))
            ]
        return sorted(found, key=lambda each: -each.count)[:TROUBLES_MAX]

    async def _alerts(self, order: Order) -> Sequence[Alert]:
        """Those that fired in the window, or fired already when it began; oldest first."""
        async with self._store.reading() as tx:
            rows = await tx.alerts.list(with_resolved=True, before=0, limit=ALERTS_MAX)
        window = order.window
        return [
            alert
            for _, alert in reversed(rows)
            if alert.fire_s is not None
            and alert.fire_s < window.end_s
            and (alert.resolve_s is None or alert.resolve_s >= window.begin_s)
            and (not order.model or alert.labels.get("model") == order.model)
        ]

    async def _outlooks(self, models: Sequence[Figures]) -> tuple[Sequence[Outlook], Mapping[str, str]]:
        found: list[Outlook] = []
        without: dict[str, str] = {}
        for each in sorted(models, key=lambda model: -model.call_count)[:OUTLOOKS_MAX]:
            model = each.subject.removeprefix("models/")
            for horizon_s in HORIZONS_S:
                try:
                    found.append(await self._analysis.outlook(model, horizon_s))
                    without.pop(model, None)
                    break
                except ServemeshError as error:
                    without.setdefault(model, error.message)
        return found, without

    async def _course(self, query: Query) -> Course:
        answer = await self._readings.query(query)
        label = query.group_by[0]
        lines = {track.labels.get(label, "") or "other": track.values for track in answer.tracks}
        return Course(begin_s=answer.begin_s, step_s=answer.step_s, lines=lines)


def _query(
    order: Order,
    metric: str,
    group_by: str,
    measure: Measure,
    *,
    filters: Mapping[str, tuple[str, ...]] | None = None,
    by: tuple[str, ...] = (),
    quantile: float = 0.5,
) -> Query:
    window = order.window
    wanted = dict(filters or {})
    if order.model:
        wanted["model"] = (order.model,)
    return Query(
        metric=metric,
        measure=measure,
        window=window,
        step_s=step_s(window.end_s - window.begin_s),
        filters=wanted,
        group_by=by or (group_by,),
        quantile=quantile,
    )


def _shared(part: Course, whole: Course, *, missing: float = math.nan) -> Course:
    """Part ÷ whole for each subject of the whole; a part that was not measured is `missing`."""
    lines = {}
    for name, values in whole.lines.items():
        of = np.nan_to_num(part.lines.get(name, np.full_like(values, missing)), nan=missing)
        with np.errstate(divide="ignore", invalid="ignore"):
            lines[name] = np.where(values > 0, of / values, math.nan)
    return Course(begin_s=whole.begin_s, step_s=whole.step_s, lines=lines)


def _trouble(
    answer: Answer, labels: Mapping[str, str], values: NDArray[np.float64], changes: Sequence[Annotation]
) -> Trouble | None:
    count = float(np.nansum(values))
    if count < 0.5 or labels.get("code") == "OK":
        return None
    model, version = labels.get("model", ""), labels.get("version", "")
    began_s = causes.onset_s(values, answer.begin_s, answer.step_s)
    cause = causes.cause_of(model, began_s, changes, step_s=answer.step_s) if began_s is not None else None
    where = (
        f"version {version}" if version else f"{labels.get('service', '')} {labels.get('method', '')}".strip()
    )
    return Trouble(
        model=model,
        where=where or "workers",
        what=labels.get("reason") or labels.get("code") or "failed",
        count=count,
        began_s=began_s,
        cause=causes.told(cause, began_s),
    )


def _concerns(change: Annotation, model: str) -> bool:
    if change.kind.startswith("alert."):
        return False  # they have a table of their own
    names = (f"models/{model}", f"deployments/{model}")
    return not model or any(
        change.resource == name or change.resource.startswith(f"{name}/") for name in names
    )
