"""Evaluations: measure a Version on a Dataset, alone or beside another, and register nothing."""

from __future__ import annotations

from dataclasses import replace

from servemesh.optimizer.domain.results import OptimizationResult
from servemesh.optimizer.domain.specs import EvaluationSpec, JobSpec
from servemesh.optimizer.service.bench_measuring import measure
from servemesh.optimizer.service.optimizing import Tools
from servemesh.optimizer.service.ports import JobProgress, RunningJob
from servemesh.optimizer.service.workshop import Bench, Made

_FETCHED, _MEASURED = 0.1, 0.99  # shares of the job


class Evaluating:
    """Satisfies ports.JobRunner for evaluations."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def run(self, job: RunningJob, spec: JobSpec, progress: JobProgress) -> OptimizationResult:
        """Return the figures: of the baseline, if there is one, and of the Version."""
        assert isinstance(spec, EvaluationSpec)
        tools, begin_s = self._tools, self._tools.monotonic()
        names = [name for name in (spec.baseline_version, spec.version) if name]
        models = []
        for number, name in enumerate(names):
            progress.progress(_FETCHED * number / len(names), f"fetching {name}")
            fetched = await tools.versions.fetch(name, job.folder / str(number))
            models.append(
                Made(path=f"{number}/{fetched.entry}", sha256=fetched.sha256, size_bytes=fetched.size_bytes)
            )
        digest = await tools.datasets.fetch(spec.dataset, job.folder / "data") if spec.dataset else ""
        bench = Bench(
            folder=job.folder,
            data="data" if spec.dataset else None,
            data_digest=digest,
            memory_bytes=spec.limits.memory_bytes,
            threads=spec.limits.threads,
            until_s=begin_s + spec.limits.time_s,
            machine="",
            log=progress.log,
        )

        def told(share: float, step: str) -> None:
            progress.progress(_FETCHED + (_MEASURED - _FETCHED) * share, step)

        measured = await measure(tools.children, bench, models, spec.measurement, tools.monotonic, told)
        for note in measured.notes:
            progress.log(note)
        reports = [
            replace(report, version=name) for report, name in zip(measured.reports, names, strict=True)
        ]
        return OptimizationResult(
            baseline=reports[0] if spec.baseline_version else None,
            variants=(reports[-1],),
            hardware=measured.hardware,
            libraries=measured.libraries,
        )
