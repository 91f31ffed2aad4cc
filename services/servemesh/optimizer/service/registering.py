"""Registers accepted variants as Versions with their lineage; the same job never registers one twice."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace

from servemesh import names
from servemesh.optimizer.domain import pareto
from servemesh.optimizer.domain.results import Interval, OptimizationResult, PassStep, VariantReport
from servemesh.optimizer.domain.specs import OptimizationSpec
from servemesh.optimizer.service.ports import JobProgress, PassCache, RunningJob, Versions
from servemesh.optimizer.service.workshop import SEED

_NAMESPACE = uuid.UUID("0d2f4f0c-9b5e-5a55-8d39-6a6f7a1e2b10")
_LABEL_CHARS_MAX = 256
_LIBRARIES_MAX = 24


async def register(
    versions: Versions,
    cache: PassCache,
    job: RunningJob,
    spec: OptimizationSpec,
    result: OptimizationResult,
    progress: JobProgress,
) -> OptimizationResult:
    """Return `result` with the Versions of its accepted variants; the alias then points to the best of them."""
    model_id, _ = names.version_ids(spec.source_version)
    variants = []
    for number, variant in enumerate(result.variants):
        if variant.accepted and not variant.version:
            folder = job.folder / "registering" / str(number)
            folder.mkdir(parents=True)
            await cache.fetch(variant.sha256, folder / "model.onnx")
            version = await versions.register(
                names.model(model_id),
                folder,
                source_versions=[spec.source_version],
                labels=labels(job.name, spec, result, variant),
                request_id=str(uuid.uuid5(_NAMESPACE, f"{job.name} {variant.sha256}")),
            )
            progress.log(f"registered {version}: {_words(variant.steps)}")
            variant = replace(variant, version=version)
        variants.append(variant)
    best = next((variant for variant in variants if variant.version), None)
    if spec.alias and best:
        await versions.set_alias(names.alias(model_id, spec.alias), best.version)
        progress.log(f"alias {spec.alias} now points to {best.version}")
    return replace(result, variants=tuple(variants))


def labels(
    job: str, spec: OptimizationSpec, result: OptimizationResult, variant: VariantReport
) -> dict[str, str]:
    """Return what a Version says of how it came about and what was measured."""
    found = {
        "servemesh.optimization": job,
        "servemesh.source": spec.source_version,
        "servemesh.recipe": spec.recipe or "own steps",
        "servemesh.steps": _words(variant.steps),
        "servemesh.seed": str(SEED),
        "servemesh.size_ratio": f"{variant.size_ratio:.4g}",
        "servemesh.sha256": variant.sha256,
    }
    if spec.teacher_version:
        found["servemesh.teacher"] = spec.teacher_version
    if spec.dataset:
        found["servemesh.dataset"] = spec.dataset
    if variant.metric and variant.metric_loss:
        found["servemesh.metric"] = _interval(variant.metric)
        found["servemesh.metric_loss"] = _interval(variant.metric_loss)
    if variant.speeds:
        found["servemesh.speedup"] = f"{pareto.speedup(variant):.4g}"
    for speed in variant.speeds:
        found[f"servemesh.speedup.batch_{speed.batch_size}"] = _interval(speed.speedup)
    for number, step in enumerate(variant.steps):
        parameters = json.dumps(dict(step.parameters), sort_keys=True, separators=(",", ":"))
        found[f"servemesh.step.{number}"] = f"{step.pass_id} {parameters}"
    found["servemesh.processor"] = result.hardware.processor
    for library, version in sorted(result.libraries.items())[:_LIBRARIES_MAX]:
        found[f"servemesh.library.{library.lower()}"[:63]] = version
    return {key: text[:_LABEL_CHARS_MAX] for key, text in found.items()}


def _words(steps: tuple[PassStep, ...]) -> str:
    return " + ".join(step.pass_id for step in steps)


def _interval(found: Interval) -> str:
    return f"{found.value:.4g} ({found.low:.4g} to {found.high:.4g})"
