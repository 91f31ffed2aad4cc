"""A registry without its process: the use cases on a real store, with a clock that the test moves."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from servemesh.changes import Changes
from servemesh.events.memory import MemoryBus
from servemesh.registry.adapters.sql_store import SqlStore
from servemesh.registry.domain.admission import Admitted
from servemesh.registry.domain.duties import StandstillWatch
from servemesh.registry.domain.fleet import Slot, SlotState, Worker
from servemesh.registry.domain.limits import Limits
from servemesh.registry.domain.models import ArtifactFile, ModelVersion, Signature, TensorSpec
from servemesh.registry.domain.observing import DeploymentState
from servemesh.registry.domain.uploads import Upload
from servemesh.registry.service.aliases import AliasBook
from servemesh.registry.service.catalog import Catalog
from servemesh.registry.service.demands import Demands
from servemesh.registry.service.deployments import DeploymentBook
from servemesh.registry.service.leases import Leases, LeaseSettings
from servemesh.registry.service.placing import Placing, PlacingSettings
from servemesh.registry.service.publishing import Publishing
from servemesh.sql.engines import StoreSettings

MIB = 1024 * 1024
GIB = 1024 * MIB
START = datetime(2026, 1, 1, tzinfo=UTC)
SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", datatype="FP32", shape=(-1, 4), batch_axis=0),),
    outputs=(TensorSpec(name="y", datatype="INT64", shape=(-1,), batch_axis=0),),
    batchable=True,
    format="onnx",
    ir_version=10,
    opsets={"ai.onnx": 21},
)


class MovedClock:
    """Stands still until the test moves it."""

    def __init__(self) -> None:
        self._now = START
        self._monotonic_s = 1_000.0

    def now(self) -> datetime:
        """The time of day."""
        return self._now

    def monotonic_s(self) -> float:
        """Seconds that never jump."""
        return self._monotonic_s

    def advance(self, length_s: float) -> None:
        """Let time pass."""
        self._now += timedelta(seconds=length_s)
        self._monotonic_s += length_s

    def jump(self, length_s: float) -> None:
        """Set the time of day anew, as an operator or NTP does."""
        self._now += timedelta(seconds=length_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryParts:
    """The use cases of one registry."""

    store: SqlStore
    clock: MovedClock
    changes: Changes
    bus: MemoryBus
    catalog: Catalog
    aliases: AliasBook
    deployments: DeploymentBook
    publishing: Publishing
    placing: Placing
    leases: Leases
    demands: Demands
    watch: StandstillWatch

    async def push(self, model_id: str, size_bytes: int = MIB) -> ModelVersion:
        """Publish a new Version, creating the Model if need be."""
        now = self.clock.now()
        upload = Upload(
            model_id=model_id,
            upload_id=f"u{uuid.uuid4().hex}",
            files=(ArtifactFile(path="model.onnx", size_bytes=size_bytes, sha256="ab" * 32),),
            create_time=now,
            expire_time=now + timedelta(hours=1),
        )
        await self.publishing.create_upload(upload, request_id="", open_max=1_000)
        admitted = Admitted(entry_path="model.onnx", signature=SIGNATURE)
        return await self.publishing.commit_upload(upload, admitted, now=now)

    async def renewed(self, worker: Worker) -> set[tuple[str, int]]:
        """Renew the lease and return what the worker should hold."""
        return {slot.key for slot in (await self.leases.renew(worker)).assignment.slots}

    async def obeyed(self, worker: Worker, state: SlotState = SlotState.READY) -> Worker:
        """The worker as it stands once it has done what it was assigned; renewed."""
        assigned = await self.renewed(worker)
        worker = holding(worker, *assigned, state=state)
        await self.leases.renew(worker)
        return worker

    async def join(self, count: int = 3, **changes: object) -> tuple[Worker, ...]:
        """Workers w0, w1, … that have just taken their leases."""
        workers = tuple(a_worker(f"w{number}", **changes) for number in range(count))
        for worker in workers:
            await self.leases.renew(worker)
        return workers

    async def state(self, model_id: str) -> DeploymentState:
        """How far the mesh has come with a Deployment."""
        return (await self.deployments.get(model_id)).observation.state

    async def settle(self, *workers: Worker) -> tuple[Worker, ...]:
        """Reconcile and obey until nothing changes."""
        for _ in range(6):
            await self.placing.reconcile()
            workers = tuple([await self.obeyed(worker) for worker in workers])
        return workers


def parts(store: SqlStore, limits: Limits | None = None, clock: MovedClock | None = None) -> RegistryParts:
    """Build a registry on a store."""
    clock, changes, bus, limits = clock or MovedClock(), Changes(), MemoryBus(), limits or Limits()
    placing = Placing(store, clock, changes, bus, limits, PlacingSettings())
    return RegistryParts(
        store=store,
        clock=clock,
        changes=changes,
        bus=bus,
        catalog=Catalog(store, clock, changes, limits),
        aliases=AliasBook(store, clock, changes, limits),
        deployments=DeploymentBook(store, clock, changes, limits),
        publishing=Publishing(store, clock, changes, limits),
        placing=placing,
        leases=Leases(store, clock, changes, placing, limits, LeaseSettings()),
        demands=Demands(store, clock, placing, limits),
        watch=StandstillWatch(LeaseSettings().lease_s),
    )


@asynccontextmanager
async def registry_at(url: str, limits: Limits | None = None) -> AsyncIterator[RegistryParts]:
    """A registry on the database at `url`, for the length of the block."""
    async with SqlStore.opened(StoreSettings(url=url)) as store:
        yield parts(store, limits)


def a_worker(worker_id: str = "w1", **changes: object) -> Worker:
    """A worker with a gibibyte and nothing loaded."""
    worker = Worker(
        worker_id=worker_id,
        incarnation=str(uuid.uuid5(uuid.NAMESPACE_OID, worker_id)),
        address="127.0.0.1:1",
        memory_bytes_max=GIB,
    )
    return replace(worker, **changes)  # type: ignore[arg-type]


def holding(worker: Worker, *keys: tuple[str, int], state: SlotState = SlotState.READY) -> Worker:
    """The worker with these slots in one state."""
    slots = tuple(Slot(model_id=model, version_id=version, state=state) for model, version in keys)
    return replace(worker, slots=slots)
