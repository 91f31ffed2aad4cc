"""Keeps every worker's Assignment what the wishes, the reports and the demands make it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from servemesh import names
from servemesh.changes import Changes
from servemesh.errors import UnavailableError
from servemesh.events import subjects
from servemesh.observe import metrics
from servemesh.observe import names as telemetry
from servemesh.registry.domain.fleet import Assignment
from servemesh.registry.domain.limits import Limits
from servemesh.registry.domain.reconciling import Decision, FleetState, decided, keys_of_interest
from servemesh.registry.service.ports import Announcer, Clock, Store, Transaction

log = logging.getLogger(__name__)

FLEET_LOCK = "fleet"
_REVISIONS = "assignments"
_DEPLOYMENTS_MAX = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacingSettings:
    """How often placement looks by itself, and when it gives something up."""

    interval_s: float = 1.0
    demand_idle_s: float = 300.0
    failed_workers_max: int = 3


class Placing:
    """Reconciles; any registry may, because the decision depends on the store alone."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        changes: Changes,
        announcer: Announcer,
        limits: Limits,
        settings: PlacingSettings,
    ) -> None:
        self._store = store
        self._clock = clock
        self._changes = changes
        self._announcer = announcer
        self._limits = limits
        self._settings = settings

    async def run(self) -> None:
        """Reconcile after each change and every `interval_s`, until cancelled."""
        while True:
            seen = self._changes.count
            try:
                await self.reconcile()
            except UnavailableError as error:
                log.warning(telemetry.PLACEMENT_FAILED, extra={"reason": error.reason})
            await self._changes.wait(seen, timeout_s=self._settings.interval_s)

    async def reconcile(self) -> None:
        """Change what should change, and nudge the workers that it concerns."""
        async with self._store.reading() as tx:
            decision = await self._decide(tx)
        if decision.is_empty:
            return
        locked = frozenset(decision.serving)
        async with self._store.writing(FLEET_LOCK, *map(names.model, locked)) as tx:
            decision = await self._decide(tx)
            await self._apply(tx, decision, locked)
        if decision.is_empty:
            return
        _show(decision)
        self._changes.notify()
        for worker_id in decision.assigned:
            await self._announcer.announce(subjects.assignment_changed(worker_id), b"")

    async def _decide(self, tx: Transaction) -> Decision:
        deployments = await tx.deployments.list(after="", limit=_DEPLOYMENTS_MAX)
        aliases = await tx.aliases.targets([deployment.model_id for deployment in deployments])
        demands = await tx.fleet.list_demands()
        versions = await tx.models.find_versions(keys_of_interest(deployments, aliases, demands))
        leases = await tx.fleet.list_leases(after="", limit=self._limits.workers_max)
        state = FleetState(
            deployments=deployments,
            aliases=aliases,
            size_bytes={key: version.size_bytes for key, version in versions.items()},
            workers=[lease.worker for lease in leases],
            assignments={a.worker_id: a for a in await tx.fleet.list_assignments()},
            demands=demands,
            shortfalls=await tx.deployments.shortfalls(),
        )
        return decided(
            state,
            self._clock.now(),
            demand_idle_s=self._settings.demand_idle_s,
            failed_workers_max=self._settings.failed_workers_max,
        )

    async def _apply(self, tx: Transaction, decision: Decision, locked: frozenset[str]) -> None:
        for model_id, serving in decision.serving.items():
            deployment = await tx.deployments.find(model_id)
            if model_id in locked and deployment is not None:
                await tx.deployments.put(replace(deployment, serving=serving))
        for worker_id in decision.left:
            await tx.fleet.delete_assignment(worker_id)
        if decision.idle_demands:
            await tx.fleet.delete_demands(decision.idle_demands)
        if decision.shortfalls is not None:
            await tx.deployments.put_shortfalls(decision.shortfalls)
        if decision.assigned:
            # From the time of day on, so that workers believe a registry whose database was made anew.
            at_least = int(self._clock.now().timestamp())
            revision = await tx.outbox.next_value(_REVISIONS, at_least=at_least)
            metrics.gauge(telemetry.REGISTRY_REVISION).set(revision)
            for worker_id, slots in decision.assigned.items():
                await tx.fleet.put_assignment(Assignment(worker_id=worker_id, revision=revision, slots=slots))


def _show(decision: Decision) -> None:
    if decision.shortfalls is None:
        return
    unplaced = metrics.gauge(telemetry.REGISTRY_UNPLACED)
    unplaced.clear()
    for shortfall in decision.shortfalls.values():
        unplaced.labels(reason=shortfall.reason).inc()
