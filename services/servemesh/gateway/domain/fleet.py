"""The fleet as the gateway sees it: which workers there are, where they are and what they hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum


class SlotState(Enum):
    """Lifecycle of a Slot; only READY ones answer calls."""

    UNLOADED = "UNLOADED"
    LOADING = "LOADING"
    WARMING = "WARMING"
    READY = "READY"
    DRAINING = "DRAINING"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """The place of one Version in one worker."""

    model: str
    version_id: int
    state: SlotState
    is_default: bool = False
    aliases: tuple[str, ...] = ()
    reason: str = ""
    message: str = ""
    memory_bytes: int = 0

    def answers(self, model: str, version: str) -> bool:
        """Whether a call for `model` and `version` ("" the default, "3" a Version, else an Alias) is for it."""
        if model != self.model:
            return False
        if not version:
            return self.is_default
        return version == str(self.version_id) or version in self.aliases


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A process that holds resident Versions and runs them."""

    worker_id: str
    incarnation: str
    address: str  # host:port of its gRPC server
    metrics_address: str = ""
    is_draining: bool = False
    slots: tuple[Slot, ...] = ()
    memory_bytes_max: int = 0
    providers: tuple[str, ...] = ()

    @property
    def ready_slots(self) -> tuple[Slot, ...]:
        """The slots that take new calls: none while the worker drains."""
        if self.is_draining:
            return ()
        return tuple(slot for slot in self.slots if slot.state is SlotState.READY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A worker together with the one of its slots that was asked for."""

    worker: Worker
    slot: Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """All workers known at one moment. `revision` rises with every change that somebody could notice."""

    revision: int = 0
    by_id: Mapping[str, Worker] = field(default_factory=dict)

    @property
    def workers(self) -> tuple[Worker, ...]:
        """Every worker, in order of id."""
        return tuple(self.by_id[worker_id] for worker_id in sorted(self.by_id))

    @property
    def models(self) -> tuple[str, ...]:
        """Every model that some worker is assigned, in order."""
        return tuple(sorted({slot.model for worker in self.by_id.values() for slot in worker.slots}))

    def holdings(
        self, model: str, version: str = "", *, states: Iterable[SlotState] = SlotState
    ) -> tuple[Holding, ...]:
        """Return who would answer a call for `model` and `version`, in order of worker id.

        Workers that drain are left out: they take nothing new.
        """
        wanted = frozenset(states)
        return tuple(
            Holding(worker=worker, slot=slot)
            for worker in self.workers
            if not worker.is_draining
            for slot in worker.slots
            if slot.state in wanted and slot.answers(model, version)
        )

    def slots_of(self, model: str) -> tuple[Holding, ...]:
        """Return every slot of every Version of `model`, those of draining workers too."""
        return tuple(
            Holding(worker=worker, slot=slot)
            for worker in self.workers
            for slot in worker.slots
            if slot.model == model
        )

    def is_ready(self, model: str, version: str = "") -> bool:
        """Whether some worker can answer a call for `model` and `version` now."""
        return bool(self.holdings(model, version, states=(SlotState.READY,)))
