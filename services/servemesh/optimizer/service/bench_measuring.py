"""Measures models beside the baseline in one run of a child process, and reads its figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from servemesh.optimizer.domain.results import Hardware, Interval, SpeedReport, VariantReport
from servemesh.optimizer.domain.specs import MeasurementPlan
from servemesh.optimizer.service.ports import ChildTasks, OnProgress
from servemesh.optimizer.service.workshop import SEED, Bench, Made, Monotonic

QUICK_ROUNDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The figures of one run: one report for each model, in the order asked; the first is the baseline."""

    reports: tuple[VariantReport, ...]
    hardware: Hardware
    libraries: Mapping[str, str]
    notes: tuple[str, ...]


async def measure(
    children: ChildTasks,
    bench: Bench,
    models: Sequence[Made],
    plan: MeasurementPlan,
    monotonic: Monotonic,
    on_progress: OnProgress,
    *,
    is_quick: bool = False,
) -> Measured:
    """Measure `models`, alternating, the first as the baseline; quickly if it is only to tell what to try next."""
    more = {"processes": 1} if is_quick else {}
    if is_quick:
        plan = replace(plan, rounds=min(plan.rounds, QUICK_ROUNDS))
    answer = await children.run(
        "measure",
        {
            "models": [{"id": str(number), "model": made.path} for number, made in enumerate(models)],
            "data": bench.data,
            "plan": {**dataclasses.asdict(plan), "batch_sizes": list(plan.batch_sizes)},
            "seed": SEED,
            **more,
        },
        bench.folder,
        bench.limits(monotonic()),
        on_progress,
        bench.log,
    )
    found = {figures["id"]: figures for figures in answer["models"]}
    reports = [_report(made, found[str(number)]) for number, made in enumerate(models)]
    before = reports[0].size_bytes
    return Measured(
        reports=tuple(
            replace(report, size_ratio=report.size_bytes / before if before else 1.0) for report in reports
        ),
        hardware=_hardware(answer["hardware"]),
        libraries=dict(answer["libraries"]),
        notes=(f"the metric is {answer['metric_name']}, on {answer['metric_rows']} rows", *answer["notes"]),
    )


def _report(made: Made, figures: Mapping[str, Any]) -> VariantReport:
    return VariantReport(
        steps=made.steps,
        sha256=made.sha256,
        size_bytes=int(figures["size_bytes"]),
        sparsity=float(figures["sparsity"]),
        metric=_interval(figures.get("metric")),
        metric_loss=_interval(figures.get("metric_loss")),
        metric_loss_chance=figures.get("metric_loss_chance"),
        speeds=tuple(
            SpeedReport(
                batch_size=int(speed["batch_size"]),
                run_ms=Interval(**speed["run_ms"]),
                speedup=Interval(**speed["speedup"]),
            )
            for speed in figures["speeds"]
        ),
        cold_load_s=_interval(figures.get("cold_load_s")),
        memory_bytes=int(figures.get("memory_bytes") or 0),
    )


def _interval(figure: Mapping[str, float] | None) -> Interval | None:
    return Interval(**figure) if figure else None


def _hardware(found: Mapping[str, Any]) -> Hardware:
    return Hardware(
        processor=str(found.get("processor", "")),
        processor_count=int(found.get("processor_count", 0)),
        memory_bytes=int(found.get("memory_bytes", 0)),
        accelerators=tuple(found.get("accelerators", ())),
        provider=str(found.get("provider", "")),
    )
