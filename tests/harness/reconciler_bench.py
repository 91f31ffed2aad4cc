"""A worker's reconciler on memory, with sessions that a test holds in its hand."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np

from servemesh.errors import ServemeshError
from servemesh.lifecycle import background
from servemesh.worker.domain.batching import BatchPolicy
from servemesh.worker.domain.versions import AssignedVersion, Assignment, Version
from servemesh.worker.service.execution import Array, Stop
from servemesh.worker.service.loading import Loader, LoadLimits
from servemesh.worker.service.reconciler import ReconcilePolicy, Reconciler
from servemesh.worker.service.residency import Residency
from tests.harness.waiting import eventually

MEMORY_BYTES_MAX = 250


class MemorySession:
    """A model that gives its input back; `rows` given, it always gives so many rows."""

    def __init__(self, rows: int | None = None) -> None:
        self.memory_bytes = 100
        self.is_closed = False
        self._rows = rows

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str], stop: Stop) -> list[Array]:
        (x,) = inputs.values()
        return [x if self._rows is None else np.zeros((self._rows, 4), np.float32)]

    def close(self) -> None:
        self.is_closed = True


class MemoryArtifacts:
    """Artifacts whose folder is named after the model; `failures` are raised, in turn."""

    def __init__(self) -> None:
        self.failures: dict[str, list[ServemeshError]] = {}
        self.held: Counter[str] = Counter()

    @asynccontextmanager
    async def holding(self, version: Version) -> AsyncIterator[Path]:
        if self.failures.get(version.model):
            raise self.failures[version.model].pop(0)
        self.held[version.model] += 1
        try:
            yield Path(version.model)
        finally:
            self.held[version.model] -= 1


class MemoryJournal:
    """Counts that a test sets."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def crashes(self, sha256: str) -> int:
        return self.counts[sha256]

    def opening(self, sha256: str) -> None:
        self.counts[sha256] += 1

    def opened(self, sha256: str) -> None:
        self.counts.pop(sha256, None)

    def mark(self, sha256: str) -> None:
        return None


class Bench:
    """A residency with its reconciler, and everything under it in memory."""

    def __init__(self) -> None:
        self.artifacts = MemoryArtifacts()
        self.journal = MemoryJournal()
        self.sessions: dict[str, MemorySession] = {}
        self.opened: list[str] = []
        self.hanging: set[str] = set()
        self.told: list[dict[str, str]] = []
        self.open_timeout_s = 5.0
        self.revision = 0
        self.residency = Residency(
            policy=BatchPolicy(),
            memory_factor=1.0,
            load_wait_s=2.0,
            name_wait_s=0.0,
            clock_s=time.monotonic,
            told=lambda slots: self.told.append({slot.model: slot.state.value for slot in slots}),
        )

    async def open(self, path: Path) -> MemorySession:
        model = path.parent.name
        self.opened.append(model)
        if model in self.hanging:
            await asyncio.Event().wait()
        return self.sessions.setdefault(model, MemorySession())

    def assign(self, *versions: AssignedVersion) -> None:
        self.revision += 1
        self.residency.assign(Assignment(revision=self.revision, versions=versions))

    def states(self) -> dict[str, str]:
        return {slot.model: slot.state.value for slot in self.residency.slots()}

    async def become(self, **states: str) -> None:
        await eventually(lambda: self.states() == states, 3, lambda: f"{states}, got {self.states()}")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        limits = LoadLimits(memory_bytes_max=MEMORY_BYTES_MAX, open_timeout_s=self.open_timeout_s)
        loader = Loader(self.artifacts, self.open, self.journal, limits=limits, policy=BatchPolicy())
        policy = ReconcilePolicy(
            memory_bytes_max=MEMORY_BYTES_MAX, retry_first_s=0.02, drain_wait_s=0.01, evict_wait_s=0.01
        )
        clock = asyncio.get_running_loop().time
        reconciler = Reconciler(self.residency, loader, policy, clock_s=clock, chances=random.Random(1))
        async with background(reconciler.run):
            yield
