"""Orders: what a user asks for becomes a checked spec with every name resolved, and then a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from servemesh import names
from servemesh.errors import InvalidError
from servemesh.optimizer.domain import asking
from servemesh.optimizer.domain.asking import Bounds
from servemesh.optimizer.domain.passes.spec import PassSpec
from servemesh.optimizer.domain.recipes import AUTO, Recipe, steps_to_follow
from servemesh.optimizer.domain.records import JobRecord
from servemesh.optimizer.domain.specs import ConversionSpec, EvaluationSpec, JobSpec, OptimizationSpec
from servemesh.optimizer.service.jobs import JobBook
from servemesh.optimizer.service.ports import Versions
from servemesh.requests import RequestKey


class Orders:
    """Takes what is asked for. What can be refused is refused before the job is queued."""

    def __init__(
        self,
        jobs: JobBook,
        versions: Versions,
        passes: Mapping[str, PassSpec],
        recipes: Mapping[str, Recipe],
        bounds: Bounds,
    ) -> None:
        self._jobs = jobs
        self._versions = versions
        self._passes = passes
        self._recipes = recipes
        self._bounds = bounds

    async def create(self, asked: JobSpec, request: RequestKey | None) -> JobRecord:
        """Queue a job; a repeated request gets the job that it got before, as that stands now."""
        made = await self._jobs.find_made(request)
        if made is not None:
            return made
        if isinstance(asked, ConversionSpec):
            return await self._jobs.create(self._conversion(asked), request)
        if isinstance(asked, OptimizationSpec):
            return await self._jobs.create(await self._optimization(asked), request)
        return await self._jobs.create(await self._evaluation(asked), request)

    def _conversion(self, asked: ConversionSpec) -> ConversionSpec:
        names.source_digest(asked.source)
        names.model_id(asked.model)
        if asked.opset < 0:
            raise asking.out_of_range("conversion.opset", "0 or more", asked.opset)
        return replace(
            asked,
            tolerance=asking.checked_tolerance(asked.tolerance),
            limits=asking.checked_limits(asked.limits, self._bounds.job, "conversion.limits"),
        )

    async def _optimization(self, asked: OptimizationSpec) -> OptimizationSpec:
        self._check_steps(asked)
        if asked.alias and not names.is_id(asked.alias):
            raise InvalidError(
                f"optimization.alias is {asked.alias[:100]!r}, expected {names.ID_PATTERN} or nothing",
                reason="NAME_MALFORMED",
                field="optimization.alias",
                expected=names.ID_PATTERN,
                got=asked.alias[:100],
            )
        return replace(
            asked,
            gate=asking.checked_gate(asked.gate),
            measurement=asking.checked_plan(asked.measurement, "optimization.measurement"),
            limits=asking.checked_limits(asked.limits, self._bounds.job, "optimization.limits"),
            source_version=await self._resolved(asked.source_version, "optimization.source_version"),
            teacher_version=await self._resolved_if_any(
                asked.teacher_version, "optimization.teacher_version"
            ),
        )

    async def _evaluation(self, asked: EvaluationSpec) -> EvaluationSpec:
        plan = asking.checked_plan(asked.measurement, "evaluation.measurement")
        limits = asking.checked_limits(asked.limits, self._bounds.job, "evaluation.limits")
        return replace(
            asked,
            measurement=plan,
            limits=limits,
            version=await self._resolved(asked.version, "evaluation.version"),
            baseline_version=await self._resolved_if_any(
                asked.baseline_version, "evaluation.baseline_version"
            ),
        )

    def _check_steps(self, asked: OptimizationSpec) -> None:
        """InvalidError unless there is a known recipe, or steps whose parameters are all right, and rows for it."""
        if bool(asked.recipe) == bool(asked.steps):
            raise InvalidError(
                "expected either optimization.recipe or optimization.steps, got "
                f"{'both' if asked.recipe else 'neither'}",
                reason="RECIPE_MALFORMED",
                field="optimization.recipe",
                expected="either a recipe or steps",
            )
        if asked.recipe != AUTO:
            steps_to_follow(asked, self._recipes, self._passes)

    async def _resolved_if_any(self, name: str, field: str) -> str:
        return await self._resolved(name, field) if name else ""

    async def _resolved(self, name: str, field: str) -> str:
        if not (names.is_version(name) or names.is_alias(name)):
            expected = "models/{model}/versions/{version} or models/{model}/aliases/{alias}"
            raise InvalidError(
                f"{field} is {name[:200]!r}, expected {expected}",
                reason="NAME_MALFORMED",
                field=field,
                name=name[:200],
                expected=expected,
            )
        return await self._versions.resolve(name)
