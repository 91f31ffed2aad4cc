"""The figures of the mesh and of its models, versions, workers or tenants over a window."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from servemesh.metrics.domain.figures import Figures, Prices, Tally, added, figures, shared_out, total
from servemesh.metrics.domain.queries import Measure, Window
from servemesh.metrics.service.asking import Key, courses, growth, merged, sums
from servemesh.metrics.service.ports import Readings
from servemesh.metrics.service.windows import checked
from servemesh.observe import names

SUBJECTS_MAX = 1000
_SLOT_STEPS = 60
_STEP_S_MIN = 60.0
_LEASES_S = 120.0
_MESH_FAULTS = ("UNAVAILABLE", "INTERNAL", "UNKNOWN", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "DATA_LOSS")
"""Statuses that are not the caller's doing."""


class SubjectKind(StrEnum):
    """What an overview is divided by."""

    MODEL = "model"
    VERSION = "version"
    WORKER = "worker"
    TENANT = "tenant"


_LABELS: Mapping[SubjectKind, tuple[str, ...]] = {
    SubjectKind.MODEL: ("model",),
    SubjectKind.VERSION: ("model", "version"),
    SubjectKind.WORKER: ("instance",),
    SubjectKind.TENANT: ("tenant",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshOverview:
    """Figures of the mesh and of each subject, by calls."""

    mesh: Figures
    subjects: tuple[Figures, ...]
    worker_count: int
    firing_count: int


class Overview:
    """Adds up what was measured. `firing_count` tells how many alerts fire now."""

    def __init__(
        self, readings: Readings, firing_count: Callable[[], Awaitable[int]], prices: Prices
    ) -> None:
        self._readings = readings
        self._firing_count = firing_count
        self._prices = prices

    async def get(self, window: Window, kind: SubjectKind) -> MeshOverview:
        """Return the figures over the window, of the mesh and of each subject of that kind."""
        by = _LABELS[kind]
        tallies = await self._tallies(checked(window), by)
        span_s = window.end_s - window.begin_s
        subjects = [
            figures(_subject(kind, key), tally, window_s=span_s, prices=self._prices)
            for key, tally in tallies.items()
            if all(key) and (tally.calls or not math.isnan(tally.slot_s))
        ]
        subjects.sort(key=lambda each: (-each.call_count, each.subject))
        mesh = await self._of_mesh(window, added(tallies.values()))
        return MeshOverview(
            mesh=figures("", mesh, window_s=span_s, prices=self._prices),
            subjects=tuple(subjects[:SUBJECTS_MAX]),
            worker_count=await self.worker_count(window),
            firing_count=await self._firing_count(),
        )

    async def _tallies(self, window: Window, by: tuple[str, ...]) -> dict[Key, Tally]:
        ask = self._readings
        calls = await growth(ask, names.WORKER_CALLS, window, (*by, "outcome"))
        durations = await merged(ask, names.WORKER_CALL_DURATION, window, by)
        queues = await growth(ask, names.WORKER_QUEUE_DURATION, window, by)
        rows = await sums(ask, names.WORKER_BATCH_ROWS, window, by)
        runs = await growth(ask, names.WORKER_BATCH_ROWS, window, by)
        spent = await sums(ask, names.WORKER_BATCH_DURATION, window, (*by, "instance"))
        run_s = {(key[:-1], key[-1]): spent_s for key, spent_s in spent.items()}
        of_subject: dict[Key, float] = {}
        for (subject, _), spent_s in run_s.items():
            of_subject[subject] = of_subject.get(subject, 0.0) + spent_s
        slot_s = await self._slot_s(window, by)
        cpu_s = shared_out(await self._cpu_s(window, "worker"), run_s)
        gpu_s = await self._gpu_s(window, run_s)
        keys = {key[:-1] for key in calls} | set(durations) | set(rows) | set(slot_s)
        return {
            key: Tally(
                answered=calls.get((*key, "answered"), 0.0),
                failed=calls.get((*key, "failed"), 0.0),
                refused=calls.get((*key, "refused"), 0.0),
                duration=durations.get(key),
                queue_s=queues.get(key, math.nan),
                rows=rows.get(key, math.nan),
                runs=runs.get(key, math.nan),
                run_s=of_subject.get(key, math.nan),
                slot_s=slot_s.get(key, math.nan),
                cpu_s=cpu_s.get(key, math.nan),
                gpu_s=gpu_s.get(key, math.nan),
            )
            for key in sorted(keys)
        }

    async def _slot_s(self, window: Window, by: tuple[str, ...]) -> dict[Key, float]:
        """Return for how long the slots of each subject were there, in all."""
        labels = tuple(dict.fromkeys((*by, "model", "version", "instance")))
        span_s = window.end_s - window.begin_s
        held = await courses(
            self._readings,
            names.WORKER_SLOT_MEMORY,
            Measure.MAX,
            window,
            labels,
            step_s=min(span_s, max(_STEP_S_MIN, span_s / _SLOT_STEPS)),
        )
        found: dict[Key, float] = {}
        for key, values in held.values.items():
            there_s = min(span_s, float(np.count_nonzero(~np.isnan(values))) * held.step_s)
            found[key[: len(by)]] = found.get(key[: len(by)], 0.0) + there_s
        return found

    async def _cpu_s(self, window: Window, service: str = "") -> dict[str, float]:
        filters = {"service": (service,)} if service else None
        used = await growth(self._readings, names.PROCESS_CPU, window, ("instance",), filters)
        return {instance: spent_s for (instance,), spent_s in used.items()}

    async def _gpu_s(self, window: Window, run_s: Mapping[tuple[Key, str], float]) -> dict[Key, float]:
        """Return the time for which GPUs were busy, shared out by the run time of the workers that see them."""
        span_s = window.end_s - window.begin_s
        busy = await courses(
            self._readings, names.GPU_BUSY, Measure.MEAN, window, ("host", "gpu", "instance"), step_s=span_s
        )
        seen: dict[str, list[float]] = {}
        onto: dict[tuple[Key, str], float] = {}
        for (host, gpu, instance), values in busy.values.items():
            seen.setdefault(f"{host}/{gpu}", []).append(float(np.nanmean(values)) * span_s)
            for (subject, worker), spent in run_s.items():
                if worker == instance:
                    place = (subject, f"{host}/{gpu}")
                    onto[place] = onto.get(place, 0.0) + spent
        return shared_out({gpu: float(np.mean(used)) for gpu, used in seen.items()}, onto)

    async def _of_mesh(self, window: Window, of_workers: Tally) -> Tally:
        """Return the sum over all workers with what only the edge and the other processes know."""
        cpu_s = total((await self._cpu_s(window)).values())
        by_code = {
            code: count
            for (code,), count in (await growth(self._readings, names.ENVOY_CALLS, window, ("code",))).items()
        }
        again = await growth(self._readings, names.ENVOY_RETRIES_SUCCEEDED, window, ())
        recovered = total(again.values())
        found = replace(of_workers, cpu_s=cpu_s)
        ended = sum(by_code.values())
        if ended:
            answered = by_code.get("OK", 0.0)
            failed = sum(by_code.get(code, 0.0) for code in _MESH_FAULTS)
            found = replace(
                found,
                answered=answered,
                failed=failed,
                refused=ended - answered - failed,
                recovered=recovered,
                faults=recovered + by_code.get("UNAVAILABLE", 0.0),
            )
        return found

    async def worker_count(self, window: Window) -> int:
        """Return how many workers had a lease at the end of the window."""
        recent = Window(begin_s=max(window.begin_s, window.end_s - _LEASES_S), end_s=window.end_s)
        counts = await courses(
            self._readings,
            names.REGISTRY_WORKERS,
            Measure.LAST,
            recent,
            ("instance",),
            step_s=recent.end_s - recent.begin_s,
        )
        found = [value for values in counts.values.values() for value in values if not math.isnan(value)]
        return round(max(found, default=0.0))


def _subject(kind: SubjectKind, key: Key) -> str:
    match kind:
        case SubjectKind.MODEL:
            return f"models/{key[0]}"
        case SubjectKind.VERSION:
            return f"models/{key[0]}/versions/{key[1]}"
        case SubjectKind.WORKER:
            return f"workers/{key[0]}"
        case SubjectKind.TENANT:
            return f"tenants/{key[0]}"
