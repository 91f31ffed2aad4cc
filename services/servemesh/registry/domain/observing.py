"""How far the mesh has come with a Deployment, seen from the Slots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from servemesh.registry.domain.deployments import Deployment, Share
from servemesh.registry.domain.fleet import Slot, SlotState, VersionKey, Worker, WorkerState
from servemesh.registry.domain.placement import Shortfall

# Slots in these states may yet become READY.
_HOPEFUL = {SlotState.UNLOADED, SlotState.LOADING, SlotState.WARMING}
# A Version that lacks a place for one of these reasons will not get one by waiting.
_HOPELESS = {"MODEL_TOO_BIG"}


class DeploymentState(StrEnum):
    """How far the mesh has come."""

    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """State of a Deployment; `ready_replicas` is that of the Version that has fewest."""

    state: DeploymentState
    ready_replicas: int
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedDeployment:
    """A wish and what has come of it."""

    wish: Deployment
    observation: Observation


def all_ready_counts(workers: Sequence[Worker]) -> dict[str, dict[int, int]]:
    """READY Slots of each Version of each Model on workers that take calls."""
    counts: dict[str, dict[int, int]] = {}
    for slot in (slot for worker in workers if worker.state is WorkerState.ACTIVE for slot in worker.slots):
        if slot.state is SlotState.READY:
            of_model = counts.setdefault(slot.model_id, {})
            of_model[slot.version_id] = of_model.get(slot.version_id, 0) + 1
    return counts


def ready_counts(model_id: str, workers: Sequence[Worker]) -> dict[int, int]:
    """READY Slots of each Version of the Model on workers that take calls."""
    counts: dict[int, int] = {}
    for worker in workers:
        for slot in worker.slots:
            if (
                worker.state is WorkerState.ACTIVE
                and slot.model_id == model_id
                and slot.state is SlotState.READY
            ):
                counts[slot.version_id] = counts.get(slot.version_id, 0) + 1
    return counts


def observed(
    deployment: Deployment,
    wanted: Sequence[Share],
    workers: Sequence[Worker],
    shortfalls: Mapping[VersionKey, Shortfall],
) -> Observation:
    """Compare the wish with what the workers report."""
    counts = ready_counts(deployment.model_id, workers)
    active = sum(worker.state is WorkerState.ACTIVE for worker in workers)
    needed = deployment.replicas_wanted(active)
    fewest = min((counts.get(share.version_id, 0) for share in wanted), default=0)
    short = [share.version_id for share in wanted if counts.get(share.version_id, 0) < needed]
    if not short:
        return Observation(state=DeploymentState.READY, ready_replicas=fewest)
    for version_id in short:
        if counts.get(version_id, 0) == 0:
            why = _hopeless((deployment.model_id, version_id), workers, shortfalls)
            if why is not None:
                return Observation(
                    state=DeploymentState.FAILED,
                    ready_replicas=fewest,
                    reason=why.reason,
                    message=f"version {version_id}: {why.message}",
                )
    why = shortfalls.get((deployment.model_id, short[0]))
    return Observation(
        state=DeploymentState.PENDING,
        ready_replicas=fewest,
        reason=why.reason if why is not None else "",
        message=f"version {short[0]}: {why.message}" if why is not None else "",
    )


def _hopeless(
    key: VersionKey, workers: Sequence[Worker], shortfalls: Mapping[VersionKey, Shortfall]
) -> Shortfall | None:
    """Why nobody can serve the Version, if nobody is still trying."""
    slots = [slot for worker in workers for slot in worker.slots if slot.key == key]
    failed: Slot | None = next((slot for slot in slots if slot.state is SlotState.FAILED), None)
    if failed is not None and not any(slot.state in _HOPEFUL for slot in slots):
        return Shortfall(reason=failed.reason or "LOAD_FAILED", message=failed.message)
    short = shortfalls.get(key)
    return short if short is not None and short.reason in _HOPELESS else None
