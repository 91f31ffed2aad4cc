"""The repository as OIP tools see it: one entry per Version, the best state that any worker has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from servemesh.gateway.domain.fleet import Fleet, Slot, SlotState

READY = "READY"
LOADING = "LOADING"
UNLOADING = "UNLOADING"
UNAVAILABLE = "UNAVAILABLE"

_STATE_OF = {
    SlotState.READY: READY,
    SlotState.WARMING: LOADING,
    SlotState.LOADING: LOADING,
    SlotState.DRAINING: UNLOADING,
    SlotState.UNLOADED: UNAVAILABLE,
    SlotState.FAILED: UNAVAILABLE,
}
_BEST_FIRST = (READY, LOADING, UNLOADING, UNAVAILABLE)


class StoredModel(Protocol):
    """A Model as the registry has it."""

    @property
    def model(self) -> str: ...
    @property
    def latest_version_id(self) -> int: ...
    @property
    def is_deployed(self) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One Version of a model (0: the model has none) with its state and, unless READY, the reason for it."""

    model: str
    version_id: int
    state: str
    reason: str = ""


def entries(fleet: Fleet, stored: Iterable[StoredModel]) -> list[Entry]:
    """Return what the workers are assigned and what the registry has beyond that, by model and version."""
    found: dict[tuple[str, int], Entry] = {}
    for worker in fleet.workers:
        for slot in worker.slots:
            entry = _entry(slot)
            known = found.get((slot.model, slot.version_id))
            if known is None or _BEST_FIRST.index(entry.state) < _BEST_FIRST.index(known.state):
                found[slot.model, slot.version_id] = entry
    assigned = {model for model, _ in found}
    for model in stored:
        if model.model not in assigned:
            reason = "waiting for a worker" if model.is_deployed else "not deployed"
            found[model.model, model.latest_version_id] = Entry(
                model=model.model, version_id=model.latest_version_id, state=UNAVAILABLE, reason=reason
            )
    return [found[key] for key in sorted(found)]


def ready_version_ids(fleet: Fleet, model: str) -> list[int]:
    """Return the Versions of `model` that some worker takes calls for, ascending."""
    return sorted(
        {slot.version_id for worker in fleet.workers for slot in worker.ready_slots if slot.model == model}
    )


def _entry(slot: Slot) -> Entry:
    reason = ""
    if slot.state is SlotState.FAILED:
        reason = slot.message or slot.reason
    elif slot.state is SlotState.UNLOADED:
        reason = "unloaded; a call loads it"
    return Entry(model=slot.model, version_id=slot.version_id, state=_STATE_OF[slot.state], reason=reason)
