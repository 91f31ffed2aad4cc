"""Conversions: a Source becomes ONNX in a child process, is proved to be the same model, and registered."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from servemesh.optimizer.domain.results import ConversionResult, ParityReport
from servemesh.optimizer.domain.specs import ConversionSpec, JobSpec
from servemesh.optimizer.domain.work import WorkLimits
from servemesh.optimizer.service.model_files import WEIGHTS
from servemesh.optimizer.service.ports import (
    ChildTasks,
    Datasets,
    JobProgress,
    PassCache,
    RunningJob,
    Sources,
    Versions,
)

MODEL = "model.onnx"
LABEL_CHARS_MAX = 256
# Packages that decide what bytes a conversion gives.
PACKAGES = ("servemesh", "onnx", "onnxruntime", "torch", "transformers", "skl2onnx", "xgboost", "lightgbm")
_NAMESPACE = uuid.UUID("3c1a1d3e-1c1f-5b8e-9f57-5d2f0d1c4a77")
_FETCHED, _CONVERTED = 0.05, 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionTools:
    """What conversions work with."""

    versions: Versions
    sources: Sources
    datasets: Datasets
    children: ChildTasks
    cache: PassCache
    libraries: Callable[[Sequence[str]], Mapping[str, str]]
    environments: Path


class Converting:
    """Satisfies ports.JobRunner for conversions."""

    def __init__(self, tools: ConversionTools) -> None:
        self._tools = tools

    async def run(self, job: RunningJob, spec: JobSpec, progress: JobProgress) -> ConversionResult:
        """Return the result; its Version is registered."""
        assert isinstance(spec, ConversionSpec)
        if isinstance(job.decided, ConversionResult):
            found = job.decided
        else:
            found = await self._converted(job, spec, progress)
            progress.found(found)
            await progress.decide(found)
        progress.progress(_CONVERTED, f"registering a version of {spec.model}")
        return await self._registered(job, spec, found, progress)

    async def _converted(
        self, job: RunningJob, spec: ConversionSpec, progress: JobProgress
    ) -> ConversionResult:
        """Convert, or take what an earlier run has converted; the files are in the cache afterwards."""
        tools, work = self._tools, job.folder / "work"
        data_digest = ""
        if spec.dataset:
            progress.progress(0.0, f"fetching {spec.dataset}")
            data_digest = await tools.datasets.fetch(spec.dataset, work / "data")
        key = self._key(spec, data_digest)
        answer = await self._kept(key, job.folder / "kept")
        if answer is None:
            progress.progress(_FETCHED / 2, f"fetching {spec.source}")
            await tools.sources.fetch(spec.source, work / "source")
            answer = await self._in_child(work, spec, progress)
            answer = await self._keep(key, work / "out", answer)
        else:
            progress.log("this source was converted in the same way before; that result is taken")
        return ConversionResult(
            files=answer["digests"],
            format=str(answer["format"]),
            parity=ParityReport(**answer["parity"]),
            warnings=tuple(answer["warnings"]),
            libraries=dict(answer["libraries"]),
        )

    async def _keep(self, key: str, out: Path, answer: Mapping[str, Any]) -> dict[str, Any]:
        """Keep every file, the model last: where it is kept, all are. Weights beside the model go with it."""
        cache = self._tools.cache
        others = [path for path in answer["files"] if path != f"{MODEL}{WEIGHTS}"]
        digests = {path: await cache.put(f"{key}:{path}", out / path, {}) for path in (*others, MODEL)}
        kept = {**answer, "digests": digests}
        await cache.put(key, out / MODEL, kept)
        return kept

    async def _kept(self, key: str, folder: Path) -> dict[str, Any] | None:
        """What an earlier run answered, if all its files are still there."""
        cache = self._tools.cache
        answer = await cache.get(key, _new(folder / "answer"))
        for number, path in enumerate(answer["digests"] if answer is not None else ()):
            if await cache.get(f"{key}:{path}", _new(folder / str(number))) is None:
                return None
        return answer

    async def _in_child(self, work: Path, spec: ConversionSpec, progress: JobProgress) -> dict[str, Any]:
        arguments = {
            "source": "source",
            "format": spec.format or None,
            "out": f"out/{MODEL}",
            "data": "data" if spec.dataset else None,
            "tolerance": spec.tolerance,
            "opset": spec.opset,
            "environments": str(self._tools.environments),
        }
        limits = WorkLimits(
            time_s=spec.limits.time_s, memory_bytes=spec.limits.memory_bytes, threads=spec.limits.threads
        )

        def told(share: float, step: str) -> None:
            progress.progress(_FETCHED + share * (_CONVERTED - _FETCHED), step)

        return await self._tools.children.run("convert", arguments, work, limits, told, progress.log)

    async def _registered(
        self, job: RunningJob, spec: ConversionSpec, found: ConversionResult, progress: JobProgress
    ) -> ConversionResult:
        folder = job.folder / "registering"
        for path, sha256 in found.files.items():
            await self._tools.cache.fetch(sha256, _new(folder / path))
        digests = json.dumps(sorted(found.files.items()))
        version = await self._tools.versions.register(
            spec.model,
            folder,
            source_versions=[],
            labels=_labels(job.name, spec, found),
            request_id=str(uuid.uuid5(_NAMESPACE, f"{job.name} {digests}")),
        )
        progress.log(f"registered {version}")
        return replace(found, version=version)

    def _key(self, spec: ConversionSpec, data_digest: str) -> str:
        """Digest of all that the result depends on."""
        parts = {
            "task": "convert",
            "source": spec.source,
            "format": spec.format,
            "tolerance": spec.tolerance,
            "opset": spec.opset,
            "data": data_digest,
            "libraries": dict(self._tools.libraries(PACKAGES)),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _new(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _labels(job: str, spec: ConversionSpec, found: ConversionResult) -> dict[str, str]:
    """What the Version says of how it came about."""
    labels = {
        "servemesh.conversion": job,
        "servemesh.source": spec.source,
        "servemesh.format": found.format,
        "servemesh.parity.max_abs": f"{found.parity.max_abs:.4g}",
        "servemesh.parity.rows": str(found.parity.row_count),
    }
    if spec.dataset:
        labels["servemesh.dataset"] = spec.dataset
    for library, version in sorted(found.libraries.items()):
        labels[f"servemesh.library.{library.lower()}"[:63]] = version
    return {key: text[:LABEL_CHARS_MAX] for key, text in labels.items()}
