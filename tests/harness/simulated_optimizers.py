"""Optimizers that share a database, die, freeze and miss messages, beside a registry that counts what it is given."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

from servemesh.changes import Changes
from servemesh.errors import UnavailableError
from servemesh.optimizer.domain.jobs import Kind, LeaseRules
from servemesh.optimizer.domain.results import JobResult, OptimizationResult, VariantReport
from servemesh.optimizer.domain.specs import JobSpec
from servemesh.optimizer.service.holding import HoldSettings
from servemesh.optimizer.service.ports import JobProgress, RunningJob
from servemesh.optimizer.service.working import Workbench, WorkSettings
from tests.harness.optimizer_store import MemoryOptimizerStore, MemoryTransaction
from tests.harness.optimizer_values import START
from tests.harness.simulation import History

RULES = LeaseRules(lease=timedelta(seconds=10), losses_max=50)
_NAMESPACE = uuid.UUID(int=1)


class VirtualClock:
    """The loop's time, wrong by `skew_s`."""

    def __init__(self, skew_s: float) -> None:
        self._skew_s = skew_s

    def now(self) -> datetime:
        """The time of day as this machine believes it to be."""
        return START + timedelta(seconds=asyncio.get_running_loop().time() + self._skew_s)

    def monotonic_s(self) -> float:
        """The loop's time."""
        return asyncio.get_running_loop().time()

    async def sleep(self, span_s: float) -> None:
        """Return after `span_s`."""
        await asyncio.sleep(span_s)


class NoFolders:
    """Folders that nobody looks into."""

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Path]:
        """Give a path."""
        yield Path("/nowhere")


class CountingRegistry:
    """Registers one Version for each request id, however often and by whomever it is asked."""

    def __init__(self) -> None:
        self.versions: dict[str, str] = {}  # by request id: the job

    def register(self, job: str, sha256: str) -> str:
        """Return the Version's name."""
        request_id = str(uuid.uuid5(_NAMESPACE, f"{job} {sha256}"))
        self.versions.setdefault(request_id, job)
        return f"models/m/versions/{list(self.versions).index(request_id) + 1}"

    def made_by(self, job: str) -> int:
        """How many Versions a job has made."""
        return sum(made_by == job for made_by in self.versions.values())


class ProcessStore:
    """The shared store as one process sees it: slow, sometimes away, gone when the process is dead."""

    def __init__(self, store: MemoryOptimizerStore, history: History) -> None:
        self._store = store
        self._history = history
        self.dead = False
        self.frozen_until_s = 0.0

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[MemoryTransaction]:
        """Read."""
        await self._reach()
        async with self._store.reading() as tx:
            yield tx

    @asynccontextmanager
    async def writing(self, *locks: str) -> AsyncIterator[MemoryTransaction]:
        """Write; the answer may be lost although the write was made."""
        await self._reach()
        async with self._store.writing(*locks) as tx:
            yield tx
        if self.dead or self._history.happens(0.01):
            raise UnavailableError("the answer was lost", reason="STORE_UNAVAILABLE")

    async def _reach(self) -> None:
        await asyncio.sleep(self._history.chance.random() * 0.05)
        while not self.dead and asyncio.get_running_loop().time() < self.frozen_until_s:
            await asyncio.sleep(self.frozen_until_s - asyncio.get_running_loop().time())
        if self.dead or self._history.happens(0.02):
            raise UnavailableError("the database is away", reason="STORE_UNAVAILABLE")


class RestlessRunner:
    """Satisfies ports.JobRunner: works a while, finds something else in every run, decides and registers it."""

    def __init__(self, registry: CountingRegistry, process: ProcessStore, history: History) -> None:
        self._registry = registry
        self._process = process
        self._history = history

    async def run(self, job: RunningJob, spec: JobSpec, progress: JobProgress) -> JobResult:
        """Return the result with the Versions that were registered."""
        result = job.decided
        if result is None:
            for step in range(3):
                progress.progress(step / 3, f"step {step}")
                await self._work(4.0)
            count = self._history.chance.randint(1, 2)
            variants = tuple(
                VariantReport(sha256=f"{self._history.chance.random()}", accepted=True) for _ in range(count)
            )
            result = OptimizationResult(variants=variants)
            await progress.decide(result)
        assert isinstance(result, OptimizationResult)
        for variant in result.variants:
            await self._work(1.0)
            self._history.tell(job.name, "epoch", job.epoch, "registers", variant.sha256)
            self._registry.register(job.name, variant.sha256)
        return result

    async def _work(self, longest_s: float) -> None:
        """Take some time, longer while the process is frozen."""
        await asyncio.sleep(self._history.chance.random() * longest_s)
        loop = asyncio.get_running_loop()
        while not self._process.dead and loop.time() < self._process.frozen_until_s:
            await asyncio.sleep(self._process.frozen_until_s - loop.time())
        if self._process.dead:
            await asyncio.Event().wait()
        if self._history.happens(0.02):
            raise UnavailableError("the registry is away", reason="REGISTRY_AWAY")


class SimulatedOptimizer:
    """One process: it runs until it is killed, and another one then starts under its name."""

    def __init__(
        self, name: str, store: MemoryOptimizerStore, registry: CountingRegistry, history: History
    ) -> None:
        self._name = name
        self._store = store
        self._registry = registry
        self._history = history
        self._clock = VirtualClock(history.chance.uniform(-2.0, 2.0))
        self.changes = Changes()
        self._task: asyncio.Task[None] | None = None
        self._process = ProcessStore(store, history)

    def start(self, group: asyncio.TaskGroup) -> None:
        """Start a new process."""
        self._process = ProcessStore(self._store, self._history)
        self.changes = Changes()
        runner = RestlessRunner(self._registry, self._process, self._history)
        workbench = Workbench(
            self._process,
            self._clock,
            self.changes,
            dict.fromkeys(Kind, runner),
            NoFolders(),
            self._name,
            WorkSettings(jobs_max=2, hold=HoldSettings(rules=RULES, retry_s=1.0)),
        )
        self._task = group.create_task(self._run(workbench), name=self._name)

    def freeze(self, span_s: float) -> None:
        """Stop the process for a while, as SIGSTOP or a starved machine does."""
        self._history.tell(self._name, "freezes for", round(span_s, 1))
        self._process.frozen_until_s = asyncio.get_running_loop().time() + span_s

    async def kill(self) -> None:
        """End it with kill -9: nothing that it still tries reaches anybody."""
        self._history.tell(self._name, "is killed")
        self._process.dead = True
        await self._ended()

    async def stop(self) -> None:
        """End it in order: it gives its jobs back."""
        self._history.tell(self._name, "is stopped")
        await self._ended()

    async def _ended(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.wait([self._task])
            self._task = None

    async def _run(self, workbench: Workbench) -> None:
        with suppress(asyncio.CancelledError):
            await workbench.run()
