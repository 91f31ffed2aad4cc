"""The optimizer, as programs on an event loop see it: `AsyncClient.optimizer`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from servemesh.client import job_watching, jobs, optimizing, sources
from servemesh.client.asking import AUTO, Gate, Limits, MeasurementPlan
from servemesh.client.awaiting import AwaitingRunner
from servemesh.client.job_watching import OnChange
from servemesh.client.sync_optimizer import CALL_S, JOB_S, TRANSFER_S, silent, unheard
from servemesh.client.transfers import Progress


class AsyncOptimizer:
    """`Optimizer` with methods to await, alike in names and errors. `on_change` is called in a thread."""

    def __init__(self, runner: AwaitingRunner) -> None:
        self._runner = runner

    async def upload_source(
        self, path: str | Path, *, on_progress: Progress = silent, timeout_s: float = TRANSFER_S
    ) -> jobs.Source:
        """As `Optimizer.upload_source`."""
        return await self._runner.run(sources.upload_source(Path(path), on_progress), timeout_s)

    async def create_dataset(
        self,
        dataset: str,
        path: str | Path,
        *,
        labels: Sequence[str] = (),
        split: jobs.Split | None = None,
        on_progress: Progress = silent,
        timeout_s: float = TRANSFER_S,
    ) -> jobs.Dataset:
        """As `Optimizer.create_dataset`."""
        operation = optimizing.create_dataset(dataset, Path(path), labels, split, on_progress)
        return await self._runner.run(operation, timeout_s)

    async def dataset(self, dataset: str, *, timeout_s: float = CALL_S) -> jobs.Dataset:
        """As `Optimizer.dataset`."""
        return await self._runner.run(optimizing.dataset(dataset), timeout_s)

    async def datasets(self, *, timeout_s: float = CALL_S) -> list[jobs.Dataset]:
        """As `Optimizer.datasets`."""
        return await self._runner.run(optimizing.datasets(), timeout_s)

    async def remove_dataset(self, dataset: str, *, timeout_s: float = CALL_S) -> None:
        """As `Optimizer.remove_dataset`."""
        await self._runner.run(optimizing.remove_dataset(dataset), timeout_s)

    async def convert(
        self,
        model: str,
        path: str | Path,
        *,
        format: str = "",
        dataset: str = "",
        tolerance: float = 0.0,
        opset: int = 0,
        limits: Limits = None,
        on_progress: Progress = silent,
        timeout_s: float = TRANSFER_S,
    ) -> jobs.Conversion:
        """As `Optimizer.convert`."""
        operation = optimizing.convert(
            model, Path(path), format, dataset, tolerance, opset, limits, on_progress
        )
        return await self._runner.run(operation, timeout_s)

    async def optimize(
        self,
        model: str,
        *,
        version: str | int = "",
        recipe: str = AUTO,
        steps: Sequence[jobs.Step] = (),
        dataset: str = "",
        gate: Gate | None = None,
        measurement: MeasurementPlan | None = None,
        alias: str = "",
        teacher: str = "",
        limits: Limits = None,
        timeout_s: float = CALL_S,
    ) -> jobs.Optimization:
        """As `Optimizer.optimize`."""
        operation = optimizing.optimize(
            model, version, recipe, steps, dataset, gate, measurement, alias, teacher, limits
        )
        return await self._runner.run(operation, timeout_s)

    async def evaluate(
        self,
        model: str,
        *,
        version: str | int = "",
        against: str | int = "",
        dataset: str = "",
        measurement: MeasurementPlan | None = None,
        limits: Limits = None,
        timeout_s: float = CALL_S,
    ) -> jobs.Evaluation:
        """As `Optimizer.evaluate`."""
        operation = optimizing.evaluate(model, version, against, dataset, measurement, limits)
        return await self._runner.run(operation, timeout_s)

    async def job(self, name: str, *, timeout_s: float = CALL_S) -> jobs.AnyJob:
        """As `Optimizer.job`."""
        return await self._runner.run(job_watching.job(name), timeout_s)

    async def list_jobs(self, *, timeout_s: float = CALL_S) -> list[jobs.AnyJob]:
        """As `Optimizer.list_jobs`."""
        return await self._runner.run(job_watching.list_jobs(), timeout_s)

    async def wait(self, name: str, *, on_change: OnChange = unheard, wait_s: float = JOB_S) -> jobs.AnyJob:
        """As `Optimizer.wait`."""
        operation = job_watching.wait(name, on_change, wait_s, time.monotonic)
        return await self._runner.run(operation, wait_s + CALL_S)

    async def cancel(self, name: str, *, timeout_s: float = CALL_S) -> jobs.Job:
        """As `Optimizer.cancel`."""
        return await self._runner.run(job_watching.cancel(name), timeout_s)

    async def remove_job(self, name: str, *, timeout_s: float = CALL_S) -> None:
        """As `Optimizer.remove_job`."""
        await self._runner.run(job_watching.remove(name), timeout_s)

    async def log(
        self, name: str, *, after: str = "", timeout_s: float = CALL_S
    ) -> tuple[list[jobs.LogLine], str]:
        """As `Optimizer.log`."""
        return await self._runner.run(job_watching.log(name, after), timeout_s)

    async def passes(self, *, timeout_s: float = CALL_S) -> list[jobs.Pass]:
        """As `Optimizer.passes`."""
        return await self._runner.run(optimizing.passes(), timeout_s)

    async def recipes(self, *, timeout_s: float = CALL_S) -> list[jobs.Recipe]:
        """As `Optimizer.recipes`."""
        return await self._runner.run(optimizing.recipes(), timeout_s)
