"""Measures models side by side: each in a process of its own, taking turns in random order, round by round."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.datasets.rows import Rows
from servemesh.optimizer.adapters.measuring import machine_facts, model_facts, scoring
from servemesh.optimizer.adapters.measuring.probe_process import ProbeProcess
from servemesh.optimizer.domain import intervals, measuring
from servemesh.optimizer.domain.results import Interval
from servemesh.optimizer.domain.specs import MeasurementPlan
from servemesh.optimizer.domain.work import Report

_PACKAGES = ("servemesh", "onnxruntime", "onnx", "numpy")
_LOADED, _TIMED = 0.2, 0.8  # shares of the task when all models are loaded, and when all rounds are done


@dataclass(slots=True, kw_only=True)
class _Measured:
    """One model with what is known of it so far; the first of them is the baseline."""

    model_id: str
    path: str  # relative to the work folder
    process: ProbeProcess
    opened: Mapping[str, Any] = field(default_factory=dict)
    loads_s: list[float] = field(default_factory=list)
    warm_s: dict[int, float] = field(default_factory=dict)
    rounds_s: dict[int, list[float]] = field(default_factory=dict)
    memory_bytes: int = 0


def run(arguments: dict[str, Any], folder: Path, report: Report) -> dict[str, Any]:
    """Measure `models` by `plan` on the evaluate split of `data`, or on inputs made up from the baseline's signature.

    Files are read through the system's cache, as a worker that has just fetched them reads them. `cold_loads`, how
    often each model is opened in a fresh process, may be left out.
    """
    plan = measuring.plan_of(arguments["plan"])
    seed = arguments["seed"]
    data = arguments.get("data")
    rows = Rows.open(folder / data) if data else None
    if plan.metric:
        measuring.check_labels(plan.metric, rows.labels if rows else ())
    baseline = folder / arguments["models"][0]["model"]
    opening = {
        "threads": plan.threads,
        "data": data,
        "seed": seed,
        "ids_ends": {} if data else model_facts.ids_ends(baseline),
    }
    turns = random.Random(seed)
    with ExitStack() as stack:
        models = [
            _Measured(
                model_id=model["id"],
                path=model["model"],
                process=stack.enter_context(ProbeProcess(model["id"], folder)),
            )
            for model in arguments["models"]
        ]
        _load(models, opening, folder, turns, arguments.get("cold_loads", measuring.COLD_LOADS), report)
        sizes = measuring.batch_sizes(plan, models[0].opened["fixed_rows"])
        _warm(models, sizes, report)
        _take_turns(models, sizes, plan.rounds, turns, report)
        report.progress(_TIMED, "measuring the metric")
        scored = scoring.scored(
            {model.model_id: model.process for model in models},
            folder,
            rows,
            plan,
            output=_output(models[0], plan),
            batch_rows=max(sizes),
            row_count=models[0].opened["row_count"],
            seed=seed,
        )
    return {
        "hardware": machine_facts.hardware(models[0].opened["provider"]),
        "libraries": machine_facts.libraries(_PACKAGES),
        "metric_name": scored.metric_name,
        "metric_rows": scored.row_count,
        "notes": list(models[0].opened["notes"]),
        "models": [
            {**_figures(model, models[0], sizes, folder, seed), **_scores(scored, model.model_id)}
            for model in models
        ],
    }


def _load(
    models: Sequence[_Measured],
    opening: Mapping[str, Any],
    folder: Path,
    turns: random.Random,
    times: int,
    report: Report,
) -> None:
    """Open every model in its own process, and then again in fresh ones, in random order."""
    for model in models:
        report.progress(0.0, f"loading {model.model_id}")
        model.opened = model.process.ask("open", model=model.path, **opening)
        model.loads_s.append(model.opened["cold_load_s"])
    again = [model for model in models for _ in range(times - 1)]
    turns.shuffle(again)
    for index, model in enumerate(again):
        report.progress(_LOADED * index / len(again), f"loading {model.model_id} in a fresh process")
        with ProbeProcess(model.model_id, folder) as process:
            model.loads_s.append(process.ask("open", model=model.path, **opening)["cold_load_s"])


def _warm(models: Sequence[_Measured], sizes: Sequence[int], report: Report) -> None:
    for model in models:
        report.progress(_LOADED, f"warming up {model.model_id}")
        for size in sizes:
            model.warm_s[size] = model.process.ask("warm", rows=size)["run_s"]
            model.rounds_s[size] = []
        model.memory_bytes = model.process.ask("memory")["memory_bytes"]


def _take_turns(
    models: Sequence[_Measured], sizes: Sequence[int], rounds: int, turns: random.Random, report: Report
) -> None:
    for index in range(rounds):
        report.progress(
            _LOADED + (_TIMED - _LOADED) * index / rounds, f"measuring, round {index + 1} of {rounds}"
        )
        for size in sizes:
            for model in turns.sample(models, len(models)):
                runs = measuring.runs_per_round(model.warm_s[size])
                model.rounds_s[size].append(model.process.ask("time", rows=size, runs=runs)["run_s"])


def _output(baseline: _Measured, plan: MeasurementPlan) -> str:
    names: list[str] = baseline.opened["outputs"]
    if plan.output and plan.output not in names:
        raise InvalidError(
            f"the model has no output {plan.output[:80]!r}, expected one of {', '.join(names[:16])}",
            reason="OUTPUT_MISSING",
            field="measurement.output",
            expected=", ".join(names[:16]),
            got=plan.output[:80],
        )
    return plan.output or names[0]


def _figures(
    model: _Measured, baseline: _Measured, sizes: Sequence[int], folder: Path, seed: int
) -> dict[str, Any]:
    return {
        "id": model.model_id,
        "size_bytes": model_facts.size_bytes(folder / model.path),
        "sparsity": model_facts.sparsity(folder / model.path),
        "speeds": [_speed(model, baseline, size, seed) for size in sizes],
        "cold_load_s": asdict(intervals.of_median(np.array(model.loads_s), seed=seed)),
        "memory_bytes": model.memory_bytes,
    }


def _speed(model: _Measured, baseline: _Measured, size: int, seed: int) -> dict[str, Any]:
    ours_ms, theirs_ms = np.array(model.rounds_s[size]) * 1000, np.array(baseline.rounds_s[size]) * 1000
    speedup = intervals.of_ratio(theirs_ms, ours_ms, seed=seed)
    if model is baseline:
        speedup = Interval(value=1.0, low=1.0, high=1.0)
    return {
        "batch_size": size,
        "run_ms": asdict(intervals.of_median(ours_ms, seed=seed)),
        "speedup": asdict(speedup),
    }


def _scores(scored: scoring.Scored, model_id: str) -> dict[str, Any]:
    measured = scored.by_model[model_id]
    return {"metric": asdict(measured.metric), "metric_loss": asdict(measured.loss)}
