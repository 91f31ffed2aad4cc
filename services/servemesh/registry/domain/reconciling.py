"""From wishes and reports to assignments: what the registry should change now; pure, so that any registry may ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from servemesh.registry.domain.deployments import Deployment, Share, default_version, next_serving, shares
from servemesh.registry.domain.fleet import AssignedSlot, Assignment, Demand, VersionKey, Worker, WorkerState
from servemesh.registry.domain.observing import all_ready_counts
from servemesh.registry.domain.placement import Plan, Shortfall, Wanted, plan

SERVING, INCOMING, DEMANDED = 0, 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetState:
    """Everything that placement looks at, as of one moment."""

    deployments: Sequence[Deployment]
    aliases: Mapping[str, Mapping[str, int]]
    size_bytes: Mapping[VersionKey, int]
    workers: Sequence[Worker]
    assignments: Mapping[str, Assignment]
    demands: Sequence[Demand]
    shortfalls: Mapping[VersionKey, Shortfall]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is to change; everything else stays."""

    serving: Mapping[str, tuple[Share, ...]]
    assigned: Mapping[str, tuple[AssignedSlot, ...]]
    left: tuple[str, ...]
    idle_demands: tuple[VersionKey, ...]
    shortfalls: Mapping[VersionKey, Shortfall] | None

    @property
    def is_empty(self) -> bool:
        """Whether all is as it should be."""
        changes = (self.serving, self.assigned, self.left, self.idle_demands)
        return not any(changes) and self.shortfalls is None


def decided(state: FleetState, now: datetime, *, demand_idle_s: float, failed_workers_max: int) -> Decision:
    """Compare what is with what should be."""
    active = sum(worker.state is WorkerState.ACTIVE for worker in state.workers)
    ready = all_ready_counts(state.workers)
    serving = {d.model_id: _serving(d, state, ready.get(d.model_id, {}), active) for d in state.deployments}
    live = {
        key: used for key, used in _last_uses(state).items() if now - used <= timedelta(seconds=demand_idle_s)
    }
    wanted = _wanted(state, serving, live, active)
    current = {worker: [slot.key for slot in a.slots] for worker, a in state.assignments.items()}
    placed = plan(state.workers, wanted, current, failed_workers_max=failed_workers_max)
    slots = _slots(state, serving, placed)
    return Decision(
        serving={
            d.model_id: serving[d.model_id] for d in state.deployments if serving[d.model_id] != d.serving
        },
        assigned={
            worker: assigned for worker, assigned in slots.items() if _differs(state, worker, assigned)
        },
        left=tuple(sorted(state.assignments.keys() - {worker.worker_id for worker in state.workers})),
        idle_demands=tuple(demand.key for demand in state.demands if demand.key not in live),
        shortfalls=placed.shortfalls if placed.shortfalls != state.shortfalls else None,
    )


def keys_of_interest(
    deployments: Sequence[Deployment], aliases: Mapping[str, Mapping[str, int]], demands: Sequence[Demand]
) -> list[VersionKey]:
    """The Versions that may have to be placed."""
    keys = {demand.key for demand in demands}
    for deployment in deployments:
        wanted = shares(deployment.traffic, aliases[deployment.model_id])
        keys |= {(deployment.model_id, share.version_id) for share in (*deployment.serving, *wanted)}
    return sorted(keys)


def _serving(
    deployment: Deployment, state: FleetState, ready: Mapping[int, int], active: int
) -> tuple[Share, ...]:
    wanted = shares(deployment.traffic, state.aliases[deployment.model_id])
    replicas = deployment.replicas_wanted(active)
    needed = max(1, min(replicas, active)) if replicas else 0
    return next_serving(deployment.serving, wanted, ready, needed)


def _last_uses(state: FleetState) -> dict[VersionKey, datetime]:
    """When somebody last asked for each Version in demand that still is there to be served, or called it."""
    deployed = {deployment.model_id for deployment in state.deployments}
    uses = {
        demand.key: demand.demand_time
        for demand in state.demands
        if demand.model_id in deployed and demand.key in state.size_bytes
    }
    for slot in (slot for worker in state.workers for slot in worker.slots):
        if slot.call_time is not None and slot.key in uses:
            uses[slot.key] = max(uses[slot.key], slot.call_time)
    return uses


def _wanted(
    state: FleetState,
    serving: Mapping[str, tuple[Share, ...]],
    demands: Mapping[VersionKey, datetime],
    active: int,
) -> list[Wanted]:
    found: dict[VersionKey, Wanted] = {}

    def want(key: VersionKey, replicas: int, tier: int, rank: float) -> None:
        if replicas and key in state.size_bytes and key not in found:
            found[key] = Wanted(
                key=key,
                replicas=replicas,
                size_bytes=state.size_bytes[key],
                tier=tier,
                rank=rank,
                yields=tier == DEMANDED,
            )

    for deployment in state.deployments:
        rank, replicas = deployment.create_time.timestamp(), deployment.replicas_wanted(active)
        for share in serving[deployment.model_id]:
            want((deployment.model_id, share.version_id), replicas, SERVING, rank)
        for share in shares(deployment.traffic, state.aliases[deployment.model_id]):
            want((deployment.model_id, share.version_id), replicas, INCOMING, rank)
    for key, last_use in demands.items():
        want(key, 1, DEMANDED, -last_use.timestamp())
    return list(found.values())


def _slots(
    state: FleetState, serving: Mapping[str, tuple[Share, ...]], placed: Plan
) -> dict[str, tuple[AssignedSlot, ...]]:
    batching = {deployment.model_id: deployment.batching for deployment in state.deployments}

    def slot(key: VersionKey) -> AssignedSlot:
        model_id, version_id = key
        targets = state.aliases[model_id].items()
        return AssignedSlot(
            model_id=model_id,
            version_id=version_id,
            is_default=default_version(serving[model_id]) == version_id,
            aliases=tuple(sorted(alias_id for alias_id, target in targets if target == version_id)),
            batching=batching[model_id],
        )

    return {worker: tuple(slot(key) for key in keys) for worker, keys in placed.holdings.items()}


def _differs(state: FleetState, worker_id: str, slots: tuple[AssignedSlot, ...]) -> bool:
    current = state.assignments.get(worker_id)
    return current is None or current.slots != slots
