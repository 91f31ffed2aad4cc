"""Evaluations: a Version measured on a Dataset, alone or beside another one."""

from __future__ import annotations

from servemesh.optimizer.domain.results import OptimizationResult
from servemesh.optimizer.domain.specs import EvaluationSpec, JobSpec
from servemesh.optimizer.service.bench_measuring import measure
from servemesh.optimizer.service.optimizing import Tools
from servemesh.optimizer.service.ports import JobProgress, RunningJob
from servemesh.optimizer.service.workshop import Bench, Made

_FETCHED = 0.1


class Evaluating:
    """Satisfies ports.JobRunner for evaluations. Nothing is registered."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def run(self, job: RunningJob, spec: JobSpec, progress: JobProgress) -> OptimizationResult:
        """Return what was measured."""
        assert isinstance(spec, EvaluationSpec)
        tools, begin_s = self._tools, self._tools.monotonic()
        models = [
            await self._fetched(version, job, f"models/{number}", progress)
            for number, version in enumerate(filter(None, (spec.baseline_version, spec.version)))
        ]
        data_digest = ""
        if spec.dataset:
            progress.progress(_FETCHED / 2, f"fetching {spec.dataset}")
            data_digest = await tools.datasets.fetch(spec.dataset, job.folder / "data")
        bench = Bench(
            folder=job.folder,
            data="data" if spec.dataset else None,
            data_digest=data_digest,
            memory_bytes=spec.limits.memory_bytes,
            threads=spec.limits.threads,
            until_s=begin_s + job.left_s,
            machine="",
            log=progress.log,
        )

        def told(share: float, step: str) -> None:
            progress.progress(_FETCHED + share * (1 - _FETCHED), step)

        measured = await measure(tools.children, bench, models, spec.measurement, tools.monotonic, told)
        for note in measured.notes:
            progress.log(note)
        return OptimizationResult(
            baseline=measured.reports[0] if spec.baseline_version else None,
            variants=measured.reports[-1:],
            hardware=measured.hardware,
            libraries=measured.libraries,
        )

    async def _fetched(self, version: str, job: RunningJob, path: str, progress: JobProgress) -> Made:
        progress.progress(0.0, f"fetching {version}")
        fetched = await self._tools.versions.fetch(version, job.folder / path)
        return Made(path=f"{path}/{fetched.entry}", sha256=fetched.sha256, size_bytes=fetched.size_bytes)
