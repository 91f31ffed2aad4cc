"""Measures models side by side: each in a process of its own, taking turns in random order, round by round."""

from __future__ import annotations

import math
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


@dataclass(slots=True, kw_only=True)
class _Measured:
    """One model with what is known of it so far; the first of them is the baseline."""

    model_id: str
    path: str  # relative to the work folder
    opened: Mapping[str, Any] = field(default_factory=dict)
    loads_s: list[float] = field(default_factory=list)  # one of each process
    memory_bytes: list[int] = field(default_factory=list)
    rounds_s: dict[int, list[list[float]]] = field(default_factory=dict)  # by rows, of each process


def run(arguments: dict[str, Any], folder: Path, report: Report) -> dict[str, Any]:
    """Measure `models` by `plan` on the evaluate split of `data`, or on inputs made up from the baseline's signature.

    Every model has several processes, one after the other, because one process may by chance be a little faster than
    another for as long as it lives; `processes`, how many, may be left out. Files are read through the system's cache,
    as a worker that has just fetched them reads them.
    """
    plan = measuring.plan_of(arguments["plan"])
    data, seed = arguments.get("data"), arguments["seed"]
    rows = Rows.open(folder / data) if data else None
    if plan.metric:
        measuring.check_labels(plan.metric, rows.labels if rows else ())
    models = [_Measured(model_id=model["id"], path=model["model"]) for model in arguments["models"]]
    baseline = models[0]
    opening = {
        "threads": plan.threads,
        "data": data,
        "seed": seed,
        "ids_ends": {} if data else model_facts.ids_ends(folder / baseline.path),
    }
    turns = random.Random(seed)
    process_count = min(arguments.get("processes", measuring.PROCESSES), plan.rounds)
    scored = None
    for index in range(process_count):
        with ExitStack() as stack:
            processes = {
                model.model_id: stack.enter_context(ProbeProcess(model.model_id, folder)) for model in models
            }
            step = _Step(report, index, process_count)
            _load(models, processes, opening, turns, step)
            sizes = measuring.batch_sizes(plan, baseline.opened["fixed_rows"])
            _take_turns(models, processes, sizes, math.ceil(plan.rounds / process_count), turns, step)
            if scored is None:
                step.at(0.9, "measuring the metric")
                scored = scoring.scored(
                    processes,
                    folder,
                    rows,
                    plan,
                    output=_output(baseline, plan),
                    batch_rows=max(sizes),
                    row_count=baseline.opened["row_count"],
                    seed=seed,
                )
    assert scored is not None
    return {
        "hardware": machine_facts.hardware(baseline.opened["provider"]),
        "libraries": machine_facts.libraries(_PACKAGES),
        "metric_name": scored.metric_name,
        "metric_rows": scored.row_count,
        "notes": list(baseline.opened["notes"]),
        "models": [
            {**_figures(model, baseline, sizes, folder, seed), **_scores(scored, model.model_id)}
            for model in models
        ],
    }


@dataclass(frozen=True, slots=True)
class _Step:
    """Says where one of several turns of processes stands."""

    report: Report
    index: int
    count: int

    def at(self, share: float, what: str) -> None:
        self.report.progress((self.index + share) / self.count, what)


def _load(
    models: Sequence[_Measured],
    processes: Mapping[str, ProbeProcess],
    opening: Mapping[str, Any],
    turns: random.Random,
    step: _Step,
) -> None:
    """Open every model in its fresh process, in random order."""
    for model in turns.sample(models, len(models)):
        step.at(0.0, f"loading {model.model_id}")
        model.opened = processes[model.model_id].ask("open", model=model.path, **opening)
        model.loads_s.append(model.opened["cold_load_s"])


def _take_turns(
    models: Sequence[_Measured],
    processes: Mapping[str, ProbeProcess],
    sizes: Sequence[int],
    rounds: int,
    turns: random.Random,
    step: _Step,
) -> None:
    """Warm all models up, and then time them round by round, each round in a random order."""
    runs = {}
    for model in models:
        step.at(0.1, f"warming up {model.model_id}")
        for size in sizes:
            warm_s = processes[model.model_id].ask("warm", rows=size)["run_s"]
            runs[model.model_id, size] = measuring.runs_per_round(warm_s)
            model.rounds_s.setdefault(size, []).append([])
        model.memory_bytes.append(processes[model.model_id].ask("memory")["memory_bytes"])
    for index in range(rounds):
        step.at(0.3 + 0.6 * index / rounds, "timing")
        for size in sizes:
            for model in turns.sample(models, len(models)):
                asked = processes[model.model_id].ask("time", rows=size, runs=runs[model.model_id, size])
                model.rounds_s[size][-1].append(asked["run_s"])


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
        "cold_load_s": asdict(intervals.of_median(np.array(model.loads_s)[:, np.newaxis], seed=seed)),
        "memory_bytes": max(model.memory_bytes),
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
    return {
        "metric": asdict(measured.metric),
        "metric_loss": asdict(measured.loss),
        "metric_loss_chance": measured.chance,
    }
