"""A large fleet that is not there: workers, models and who holds what, for the real code to work on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

from servemesh.gateway.domain import fleet as seen
from servemesh.registry.domain import fleet as placed
from servemesh.registry.domain.deployments import Deployment, Share, TrafficTarget
from servemesh.registry.domain.fleet import AssignedSlot, Assignment, VersionKey
from servemesh.registry.domain.reconciling import FleetState, decided

MEMORY_BYTES = 64 << 30
MODEL_BYTES = 100 << 20
NOW = datetime(2026, 1, 1, tzinfo=UTC)
PORT = 9_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large the mesh is."""

    workers: int = 1_000
    models: int = 10_000
    envoys: int = 100
    replicas: int = 2


def model_id(number: int) -> str:
    """Return the name of a model."""
    return f"model-{number:05}"


def worker_id(number: int) -> str:
    """Return the name of a worker."""
    return f"worker-{number:04}"


def address(number: int, port: int = PORT) -> str:
    """Return an address of a worker's own, which reaches this machine."""
    return f"127.1.{number // 250}.{1 + number % 250}:{port}"


@cache
def held(size: Size) -> list[list[int]]:
    """Return the models of each worker, as placement gives them out to a fleet that holds nothing."""
    decision = decided(fleet_state(size, is_placed=False), NOW, demand_idle_s=300, failed_workers_max=3)
    numbers = {model_id(number): number for number in range(size.models)}
    return [
        sorted(numbers[slot.model_id] for slot in decision.assigned.get(worker_id(number), ()))
        for number in range(size.workers)
    ]


def seen_fleet(size: Size, port: int = PORT) -> seen.Fleet:
    """Return the fleet as a gateway sees it: version 1 of every model READY, with one alias."""
    workers = {
        worker_id(number): seen.Worker(
            worker_id=worker_id(number),
            incarnation=f"{number:032x}",
            address=address(number, port),
            metrics_address=address(number, port + 1),
            memory_bytes_max=MEMORY_BYTES,
            providers=("CPUExecutionProvider",),
            slots=tuple(_seen_slot(model) for model in models),
        )
        for number, models in enumerate(held(size))
    }
    return seen.Fleet(revision=1, by_id=workers)


def _seen_slot(model: int) -> seen.Slot:
    return seen.Slot(
        model=model_id(model),
        version_id=1,
        state=seen.SlotState.READY,
        is_default=True,
        aliases=("prod",),
        memory_bytes=MODEL_BYTES,
    )


def fleet_state(size: Size, *, is_placed: bool) -> FleetState:
    """Return what the registry places by: everything READY where it is assigned, or nothing assigned yet."""
    deployments = [_deployment(model, size.replicas) for model in range(size.models)]
    models = held(size) if is_placed else [[] for _ in range(size.workers)]
    return FleetState(
        deployments=deployments,
        aliases={deployment.model_id: {} for deployment in deployments},
        size_bytes={(deployment.model_id, 1): MODEL_BYTES for deployment in deployments},
        workers=[
            placed.Worker(
                worker_id=worker_id(number),
                incarnation=f"{number:032x}",
                address=address(number),
                memory_bytes_max=MEMORY_BYTES,
                slots=tuple(ready_slot((model_id(model), 1)) for model in mine),
            )
            for number, mine in enumerate(models)
        ],
        assignments={
            worker_id(number): Assignment(
                worker_id=worker_id(number),
                revision=1,
                slots=tuple(
                    AssignedSlot(model_id=model_id(model), version_id=1, is_default=True) for model in mine
                ),
            )
            for number, mine in enumerate(models)
        },
        demands=[],
        shortfalls={},
    )


def ready_slot(key: VersionKey) -> placed.Slot:
    """Return the slot of a Version that answers calls."""
    return placed.Slot(
        model_id=key[0],
        version_id=key[1],
        state=placed.SlotState.READY,
        is_default=True,
        memory_bytes=MODEL_BYTES,
    )


def _deployment(model: int, replicas: int) -> Deployment:
    name = model_id(model)
    return Deployment(
        model_id=name,
        traffic=(TrafficTarget(target=f"models/{name}/versions/1", weight_percent=100),),
        replicas=replicas,
        serving=(Share(version_id=1, weight_percent=100),),
        create_time=NOW,
        update_time=NOW,
        revision=1,
    )
