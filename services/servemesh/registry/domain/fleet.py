"""Workers, the Slots they report and the Slots they are assigned."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from servemesh import names
from servemesh.registry.domain.batching import DEFAULTS, BatchingPolicy

# Model id and version id.
VersionKey = tuple[str, int]


class WorkerState(StrEnum):
    """What a Worker is doing."""

    ACTIVE = "active"
    DRAINING = "draining"


class SlotState(StrEnum):
    """Lifecycle of a Slot."""

    UNLOADED = "unloaded"
    LOADING = "loading"
    WARMING = "warming"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """The place of one Version in one Worker, as the worker reports it."""

    model_id: str
    version_id: int
    state: SlotState
    is_default: bool = False
    aliases: tuple[str, ...] = ()
    reason: str = ""
    message: str = ""
    memory_bytes: int = 0
    call_time: datetime | None = None

    @property
    def key(self) -> VersionKey:
        """Model id and version id."""
        return self.model_id, self.version_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A process that holds resident Versions, as it described itself at its last renewal."""

    worker_id: str
    incarnation: str
    address: str
    metrics_address: str = ""
    state: WorkerState = WorkerState.ACTIVE
    slots: tuple[Slot, ...] = ()
    memory_bytes_max: int = 0
    providers: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`workers/{worker}`."""
        return names.worker(self.worker_id)

    def slot(self, key: VersionKey) -> Slot | None:
        """The Slot of that Version, if the worker has one."""
        return next((slot for slot in self.slots if slot.key == key), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A Worker with its lease. `renewals` counts up; `replaced` are incarnations that may not come back."""

    worker: Worker
    expire_time: datetime
    renewals: int
    live: bool = True
    replaced: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignedSlot:
    """A Version that a Worker should hold."""

    model_id: str
    version_id: int
    is_default: bool = False
    aliases: tuple[str, ...] = ()
    batching: BatchingPolicy = DEFAULTS

    @property
    def key(self) -> VersionKey:
        """Model id and version id."""
        return self.model_id, self.version_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What one Worker should hold, in order of importance. `revision` rises with every change of any."""

    worker_id: str
    revision: int = 0
    slots: tuple[AssignedSlot, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """A Version that somebody asked for although no worker held it, and when last."""

    model_id: str
    version_id: int
    demand_time: datetime

    @property
    def key(self) -> VersionKey:
        """Model id and version id."""
        return self.model_id, self.version_id
