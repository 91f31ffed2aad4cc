"""Runs every pass that applies on real models and measures all of them side by side, as a job does.

`python -m bench.optimizer passes [--models NAME…]`. What passes made is kept in `.cache/optimizer/passes`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import machine
from bench.optimizer.kept_passes import KeptOnDisk
from bench.optimizer.real_models import MODELS
from bench.optimizer.shop import Shop, children, shop, untold
from bench.optimizer.tried import MISSING, TRAINED, WITHOUT_TRAINING, WORDS, Steps, words
from servemesh.errors import ServemeshError
from servemesh.optimizer.domain import gates, pareto
from servemesh.optimizer.domain.results import VariantReport
from servemesh.optimizer.domain.specs import Gate, MeasurementPlan
from servemesh.optimizer.service.bench_measuring import measure
from servemesh.optimizer.service.workshop import Made

KEPT = Path(".cache/optimizer/passes").absolute()
LOSS_MAX = 0.01
PLAN = MeasurementPlan(batch_sizes=(1, 8), rounds=15)
METRICS = {"minilm": "cosine", "efficientnet": "agreement"}  # there are no labels for these


async def measured(name: str) -> dict[str, Any]:
    """Return the figures of one model after every pass."""
    model = MODELS[name]()
    async with children() as running, shop(model, running, KeptOnDisk(KEPT), _told) as at:
        made, refused = [], []
        for steps in (*WITHOUT_TRAINING, *TRAINED[name]):
            _told(f"{name}: {words(steps)}")
            began_s = time.monotonic()
            try:
                made.append((steps, await at.workshop.candidate(steps, untold)))
            except ServemeshError as error:
                refused.append(_refused(steps, error))
            _told(f"  {time.monotonic() - began_s:.1f} s")
        return await _figures(name, at, made, refused)


async def _figures(
    name: str, at: Shop, made: Sequence[tuple[Steps, Made]], refused: list[dict[str, Any]]
) -> dict[str, Any]:
    """Measure all models in one run, in turns."""
    distinct = {each.sha256: each for _, each in made if each.sha256 != at.original.sha256}
    plan = MeasurementPlan(
        metric=METRICS.get(name, ""), batch_sizes=PLAN.batch_sizes, rounds=PLAN.rounds, threads=1
    )
    began_s = time.monotonic()
    found = await measure(
        at.children, at.bench, [at.original, *distinct.values()], plan, time.monotonic, untold
    )
    by_digest = {report.sha256: report for report in found.reports}
    return {
        "machine": machine.shape(),
        "day": time.strftime("%Y-%m-%d"),
        "seconds": time.monotonic() - began_s,
        "notes": list(found.notes),
        "libraries": dict(found.libraries),
        "baseline": asdict(found.reports[0]),
        "variants": [_row(steps, by_digest[each.sha256]) for steps, each in made],
        "refused": refused,
    }


def _row(steps: Steps, report: VariantReport) -> dict[str, Any]:
    gate = Gate(metric_loss_max=LOSS_MAX)
    return {
        "steps": words(steps),
        "size_ratio": report.size_ratio,
        "speedups": {str(speed.batch_size): asdict(speed.speedup) for speed in report.speeds},
        "metric": asdict(report.metric) if report.metric else None,
        "metric_loss": asdict(report.metric_loss) if report.metric_loss else None,
        "keeps": not gates.breaks_accuracy(gate, report),
        "gains": not gates.gainless(report),
        "speedup": pareto.speedup(report),
    }


def _refused(steps: Steps, error: ServemeshError) -> dict[str, Any]:
    word = WORDS.get(error.reason) or MISSING[steps[0].pass_id]
    return {"steps": words(steps), "word": word, "reason": error.reason, "message": error.message}


def _told(text: str) -> None:
    print(text, flush=True)


def read(file: Path) -> Any:
    """Return what a JSON file holds."""
    return json.loads(file.read_text())


def write(file: Path, found: Any) -> None:
    """Write a JSON file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found, indent=1, default=list))
