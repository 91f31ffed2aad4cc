"""Optimizations: make variants of a Version, measure them beside it, judge them, register what is accepted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from servemesh.errors import InvalidError
from servemesh.optimizer.domain.passes.spec import PassSpec
from servemesh.optimizer.domain.recipes import AUTO, Recipe, RecipeStep, steps_to_follow
from servemesh.optimizer.domain.results import OptimizationResult
from servemesh.optimizer.domain.specs import JobSpec, OptimizationSpec
from servemesh.optimizer.service import judging
from servemesh.optimizer.service.bench_measuring import measure
from servemesh.optimizer.service.ports import (
    ChildTasks,
    Datasets,
    JobProgress,
    OnProgress,
    PassCache,
    RunningJob,
    Versions,
)
from servemesh.optimizer.service.registering import register
from servemesh.optimizer.service.searching import Search
from servemesh.optimizer.service.workshop import Bench, LibraryVersions, Made, Monotonic, Workshop

_FETCHED, _MADE, _MEASURED = 0.05, 0.6, 0.97  # shares of a job that follows a recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What optimizations and evaluations work with."""

    versions: Versions
    datasets: Datasets
    children: ChildTasks
    cache: PassCache
    passes: Mapping[str, PassSpec]
    recipes: Mapping[str, Recipe]
    libraries: LibraryVersions
    monotonic: Monotonic


class Optimizing:
    """Satisfies ports.JobRunner for optimizations."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def run(self, job: RunningJob, spec: JobSpec, progress: JobProgress) -> OptimizationResult:
        """Return what was found; it is registered already."""
        assert isinstance(spec, OptimizationSpec)
        if isinstance(job.decided, OptimizationResult):
            return await self._registered(job, spec, job.decided, progress)
        tools, begin_s = self._tools, self._tools.monotonic()
        steps = None if spec.recipe == AUTO else steps_to_follow(spec, tools.recipes, tools.passes)
        bench, original = await prepared(tools, job, spec, begin_s, progress)
        facts = await tools.children.run(
            "describe",
            {"model": original.path, "data": bench.data},
            bench.folder,
            bench.limits(tools.monotonic()),
            _ignored,
            progress.log,
        )
        bench = bench.on_machine(facts["instructions"])
        teacher = await self._teacher(job, spec, original, progress)
        workshop = Workshop(
            bench,
            original,
            teacher,
            children=tools.children,
            cache=tools.cache,
            passes=tools.passes,
            libraries=tools.libraries,
            monotonic=tools.monotonic,
        )
        if steps is None:
            search = Search(spec, bench, original, workshop, tools.children, tools.monotonic, progress)
            result = await search.run(facts, begin_s, job.left_s)
        else:
            result = await self._followed(spec, steps, bench, original, workshop, progress)
        progress.found(result)
        if not any(variant.accepted for variant in result.variants):
            return result
        await progress.decide(result)
        return await self._registered(job, spec, result, progress)

    async def _teacher(
        self, job: RunningJob, spec: OptimizationSpec, original: Made, progress: JobProgress
    ) -> Made:
        """Return the model whose answers passes that train learn: the original unless another is named."""
        if not spec.teacher_version:
            return original
        progress.progress(_FETCHED, f"fetching {spec.teacher_version}")
        fetched = await self._tools.versions.fetch(spec.teacher_version, job.folder / "teacher")
        return Made(path=f"teacher/{fetched.entry}", sha256=fetched.sha256, size_bytes=fetched.size_bytes)

    async def _followed(
        self,
        spec: OptimizationSpec,
        steps: tuple[RecipeStep, ...],
        bench: Bench,
        original: Made,
        workshop: Workshop,
        progress: JobProgress,
    ) -> OptimizationResult:
        """Apply the steps one after the other and measure what came of them."""
        made = original
        for number, each in enumerate(steps):
            told = _part(progress, _FETCHED, _MADE, number, len(steps))
            try:
                made = await workshop.after(made, each.step, told)
            except InvalidError as error:
                if each.required or error.reason not in ("PASS_DOES_NOT_APPLY", "PASS_NEEDS_ROWS"):
                    raise
                progress.log(f"{each.step.pass_id} is left out: {error.message}")
        measured = await measure(
            self._tools.children,
            bench,
            [original, made],
            spec.measurement,
            self._tools.monotonic,
            _part(progress, _MADE, _MEASURED, 0, 1),
        )
        for note in (*measured.notes, judging.summary(measured.reports[1])):
            progress.log(note)
        return judging.result(measured, judging.judged(spec.gate, measured.reports[1:]), made.libraries)

    async def _registered(
        self, job: RunningJob, spec: OptimizationSpec, result: OptimizationResult, progress: JobProgress
    ) -> OptimizationResult:
        progress.progress(_MEASURED, "registering")
        return await register(self._tools.versions, self._tools.cache, job, spec, result, progress)


async def prepared(
    tools: Tools, job: RunningJob, spec: OptimizationSpec, begin_s: float, progress: JobProgress
) -> tuple[Bench, Made]:
    """Fetch the Version and the rows of a job."""
    progress.progress(0.0, f"fetching {spec.source_version}")
    fetched = await tools.versions.fetch(spec.source_version, job.folder / "source")
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
    original = Made(path=f"source/{fetched.entry}", sha256=fetched.sha256, size_bytes=fetched.size_bytes)
    return bench, original


def _part(progress: JobProgress, begin: float, end: float, number: int, count: int) -> OnProgress:
    """Return how to tell of part `number` of `count` between two shares of the job."""

    def told(share: float, step: str) -> None:
        progress.progress(begin + (end - begin) * (number + share) / count, step)

    return told


def _ignored(share: float, step: str) -> None:
    """Looking at the model takes no time worth telling."""
