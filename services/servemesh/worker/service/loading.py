"""Makes one Version resident: bytes verified, model opened, trial runs made, batcher started."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from servemesh.errors import ConflictError, OverloadedError, UnavailableError
from servemesh.worker.domain.batching import BatchPolicy
from servemesh.worker.domain.signature import Signature
from servemesh.worker.domain.versions import AssignedVersion, Version
from servemesh.worker.service.batch_metrics import BatchMetrics
from servemesh.worker.service.batcher import Batcher, Pools, threads
from servemesh.worker.service.drift_samples import SampledRuntime, Sampling
from servemesh.worker.service.execution import Runtime
from servemesh.worker.service.guard import Guard
from servemesh.worker.service.runs import Runs
from servemesh.worker.service.slots import ReadySlot
from servemesh.worker.service.statistics import Statistics
from servemesh.worker.service.warmup import warmed


class Session(Runtime, Protocol):
    """A model in memory."""

    @property
    def memory_bytes(self) -> int:
        """What it takes, measured."""

    def close(self) -> None:
        """Free it."""


Opener = Callable[[Path], Awaitable[Session]]


class Artifacts(Protocol):
    """The files of Versions, on this machine."""

    def holding(self, version: Version) -> AbstractAsyncContextManager[Path]:
        """Offer the folder of a Version, fetched and verified, which stays as it is for the length of the block.

        UnavailableError if the files have to be fetched and the store is away, DamagedError if they are not
        what they should be, OverloadedError if there is no room for them.
        """


class CrashJournal(Protocol):
    """Remembers over restarts which Versions this process died of."""

    def crashes(self, sha256: str) -> int:
        """Return how many times this process died of the artifact."""

    def opening(self, sha256: str) -> None:
        """The artifact is about to be opened."""

    def opened(self, sha256: str) -> None:
        """Opening it did not end the process."""

    def mark(self, sha256: str) -> AbstractContextManager[None] | None:
        """Return the context in which the artifact is run, for several threads; None to run it unmarked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadLimits:
    """Bounds of one load."""

    memory_bytes_max: int
    open_timeout_s: float = 120.0
    crashes_max: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmModel:
    """A model in memory that has run, with what was seen of it."""

    runtime: Runtime
    signature: Signature


class Loader:
    """Loads Versions, each within its own bounds."""

    def __init__(
        self,
        artifacts: Artifacts,
        open_session: Opener,
        journal: CrashJournal,
        *,
        limits: LoadLimits,
        policy: BatchPolicy,
        runs: Runs | None = None,
        guard: Guard | None = None,
        pools: Pools = threads,
        sampling: Sampling | None = None,
    ) -> None:
        self._sampling = sampling
        self._artifacts = artifacts
        self._open_session = open_session
        self._journal = journal
        self._limits = limits
        self._policy = policy
        self._runs = runs or Runs()
        self._guard = guard
        self._pools = pools

    @asynccontextmanager
    async def loaded(self, version: Version, warming: Callable[[int], None]) -> AsyncIterator[WarmModel]:
        """Offer the Version, in memory and tried out, for the length of the block.

        `warming` is told how much memory the model takes once it is open.
        """
        self._check_crashes(version)
        async with self._artifacts.holding(version) as folder:
            session = await self._opened(version, folder / version.entry_path)
            try:
                self._check_memory(version, session.memory_bytes)
                warming(session.memory_bytes)
                runtime = self._runs.watched(session, version, self._journal.mark(version.sha256))
                yield WarmModel(runtime=runtime, signature=await self._warmed(runtime, version))
            finally:
                session.close()

    @asynccontextmanager
    async def answering(
        self, warm: WarmModel, assigned: AssignedVersion, statistics: Statistics
    ) -> AsyncIterator[ReadySlot]:
        """Take calls for a warm model, batched as it is assigned, for the length of the block."""
        version, policy = assigned.version, assigned.batching.policy(self._policy)
        metrics = BatchMetrics(version.model, version.version_id)
        async with Batcher(
            self._sampled(warm.runtime, version),
            warm.signature,
            policy,
            statistics,
            self._guard,
            metrics,
            self._pools,
        ) as batcher:
            yield ReadySlot(
                model=version.model,
                version_id=version.version_id,
                signature=warm.signature,
                policy=policy,
                batcher=batcher,
                statistics=statistics,
            )

    def _sampled(self, runtime: Runtime, version: Version) -> Runtime:
        if self._sampling is None or version.model not in self._sampling.models:
            return runtime
        return SampledRuntime(
            runtime, model=version.model, version_id=version.version_id, share=self._sampling.share
        )

    async def _opened(self, version: Version, path: Path) -> Session:
        self._journal.opening(version.sha256)
        try:
            async with asyncio.timeout(self._limits.open_timeout_s):
                return await self._open_session(path)
        except TimeoutError as error:
            raise _too_slow(version, self._limits.open_timeout_s) from error
        finally:
            self._journal.opened(version.sha256)

    async def _warmed(self, runtime: Runtime, version: Version) -> Signature:
        self._journal.opening(version.sha256)
        try:
            async with asyncio.timeout(self._limits.open_timeout_s):
                batchable = await warmed(runtime, version)
        except TimeoutError as error:
            raise _too_slow(version, self._limits.open_timeout_s) from error
        finally:
            self._journal.opened(version.sha256)
        return replace(version.signature, batchable=batchable)

    def _check_crashes(self, version: Version) -> None:
        crashes = self._journal.crashes(version.sha256)
        if crashes >= self._limits.crashes_max:
            raise ConflictError(
                f"the worker died {crashes} times of this version",
                reason="CRASHED_WORKER",
                version=version.name,
                crashes=crashes,
            )

    def _check_memory(self, version: Version, memory_bytes: int) -> None:
        if memory_bytes > self._limits.memory_bytes_max:
            raise too_large(version, memory_bytes, self._limits.memory_bytes_max)


def too_large(version: Version, memory_bytes: int, memory_bytes_max: int) -> OverloadedError:
    """Return the error for a Version that does not fit into this worker, whatever else is evicted."""
    return OverloadedError(
        f"{version.name} takes {memory_bytes} bytes of memory, this worker may use {memory_bytes_max}",
        reason="MODEL_TOO_LARGE",
        version=version.name,
        memory_bytes=memory_bytes,
        memory_bytes_max=memory_bytes_max,
    )


def _too_slow(version: Version, timeout_s: float) -> UnavailableError:
    return UnavailableError(
        f"{version.name} did not open within {timeout_s:g} s", reason="LOAD_TIMEOUT", version=version.name
    )
