"""Leases: workers tell what they hold, learn what they should hold, and are missed when they fall silent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from servemesh import names
from servemesh.changes import Changes
from servemesh.errors import InvalidError, StaleError, UnavailableError
from servemesh.observe import metrics
from servemesh.observe import names as telemetry
from servemesh.paging import Page, PageRequest
from servemesh.registry.domain.duties import StandstillWatch
from servemesh.registry.domain.events import Kind
from servemesh.registry.domain.fleet import Assignment, Lease, VersionKey, Worker
from servemesh.registry.domain.limits import Limits, check_room
from servemesh.registry.domain.models import ModelVersion
from servemesh.registry.domain.placement import CRASHED
from servemesh.registry.service import lookup
from servemesh.registry.service.placing import FLEET_LOCK, Placing
from servemesh.registry.service.ports import Clock, Store, Transaction
from servemesh.registry.service.recording import record

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSettings:
    """How long a worker may be silent, and how often the registry looks."""

    lease_s: float = 10.0
    interval_s: float = 1.0
    replaced_max: int = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """The answer to a worker."""

    assignment: Assignment
    versions: Mapping[VersionKey, ModelVersion]
    lease_s: float


class Leases:
    """Who is there."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        changes: Changes,
        placing: Placing,
        limits: Limits,
        settings: LeaseSettings,
    ) -> None:
        self._store = store
        self._clock = clock
        self._changes = changes
        self._placing = placing
        self._limits = limits
        self._settings = settings

    async def get(self, worker_id: str) -> Lease:
        """The Worker with its live Lease; MissingError if it has none."""
        async with self._store.reading() as tx:
            lease = await tx.fleet.find_lease(worker_id)
        if lease is None or not lease.live:
            raise lookup.missing("WORKER_MISSING", names.worker(worker_id))
        return lease

    async def list(self, page: PageRequest) -> Page[Lease]:
        """Workers with a live Lease in order of id."""
        async with self._store.reading() as tx:
            leases = await tx.fleet.list_leases(after=page.after, limit=page.fetch)
        return page.page(leases, lambda lease: lease.worker.worker_id)

    async def renew(self, worker: Worker) -> Renewal:
        """Note what the Worker holds; StaleError if a newer incarnation has taken its place."""
        self._check(worker)
        name = names.worker(worker.worker_id)
        async with self._store.writing(name) as tx:
            before = await tx.fleet.find_lease(worker.worker_id)
            if before is not None and worker.incarnation in before.replaced:
                raise StaleError(
                    f"another incarnation of {name} has the lease, or this one gave it up",
                    reason="INCARNATION_REPLACED",
                    name=name,
                    incarnation=worker.incarnation,
                )
            joined = before is None or not before.live or before.worker.incarnation != worker.incarnation
            if before is None or not before.live:
                check_room(await tx.fleet.count_leases(), self._limits.workers_max, "workers")
            await tx.fleet.put_lease(self._renewed(before, worker))
            if joined:
                await record(tx, Kind.WORKER_JOINED, name, worker.worker_id, self._clock.now())
            for model_id, version_id in sorted(
                _given_up(worker) - _given_up(before.worker if before else None)
            ):
                version = names.version(model_id, version_id)
                await record(tx, Kind.VERSION_QUARANTINED, version, model_id, self._clock.now())
            renewal = await self._renewal(tx, worker.worker_id)
        if joined or before is None or before.worker != worker:
            self._changes.notify()
        if renewal is None:  # an empty answer would make the worker drop what it still holds
            await self._placing.reconcile()
            async with self._store.reading() as tx:
                renewal = await self._renewal(tx, worker.worker_id)
        if renewal is None:
            raise UnavailableError(f"{name} has no assignment yet; ask again", reason="NOT_PLACED", name=name)
        return renewal

    async def end(self, worker_id: str, incarnation: str) -> None:
        """Give the Lease up; nothing happens if another incarnation has it."""
        async with self._store.writing(FLEET_LOCK, names.worker(worker_id)) as tx:
            lease = await tx.fleet.find_lease(worker_id)
            if lease is None or not lease.live or lease.worker.incarnation != incarnation:
                return
            ended = replace(lease, replaced=self._with_replaced(lease, incarnation))
            await self._leave(tx, ended, lease_expired=False)
        self._changes.notify()

    async def run(self) -> None:
        """Miss the silent ones, until cancelled."""
        watch = StandstillWatch(self._settings.lease_s)
        while True:
            try:
                await self.expire(watch)
            except UnavailableError as error:
                log.warning(telemetry.LEASES_FAILED, extra={"reason": error.reason})
            await asyncio.sleep(self._settings.interval_s)

    async def expire(self, watch: StandstillWatch) -> None:
        """End the Leases that have not been renewed for a whole term, as `watch` has seen it."""
        async with self._store.reading() as tx:
            leases = await tx.fleet.list_leases(after="", limit=self._limits.workers_max)
        self._show(leases)
        counts = {lease.worker.worker_id: (lease.worker.incarnation, lease.renewals) for lease in leases}
        for worker_id in watch.stalled(counts, self._clock.monotonic_s()):
            async with self._store.writing(FLEET_LOCK, names.worker(worker_id)) as tx:
                lease = await tx.fleet.find_lease(worker_id)
                if lease is None or not lease.live:
                    continue
                if (lease.worker.incarnation, lease.renewals) == counts[worker_id]:
                    await self._leave(tx, lease, lease_expired=True)
                    log.info(telemetry.LEASE_EXPIRED, extra={"worker": worker_id})
            self._changes.notify()

    def _show(self, leases: Sequence[Lease]) -> None:
        metrics.gauge(telemetry.REGISTRY_WORKERS).set(len(leases))
        ages, now = metrics.gauge(telemetry.REGISTRY_LEASE_AGE), self._clock.now()
        ages.clear()
        for lease in leases:
            left_s = (lease.expire_time - now).total_seconds()
            ages.labels(worker=lease.worker.worker_id).set(max(0.0, self._settings.lease_s - left_s))

    async def _renewal(self, tx: Transaction, worker_id: str) -> Renewal | None:
        """The answer to the worker; None if it was not decided yet what it should hold."""
        assignment = await tx.fleet.find_assignment(worker_id)
        if assignment is None:
            return None
        versions = await tx.models.find_versions([slot.key for slot in assignment.slots])
        return Renewal(assignment=assignment, versions=versions, lease_s=self._settings.lease_s)

    def _renewed(self, before: Lease | None, worker: Worker) -> Lease:
        replaced = before.replaced if before is not None else ()
        if before is not None and before.worker.incarnation != worker.incarnation:
            replaced = self._with_replaced(before, before.worker.incarnation)
        return Lease(
            worker=worker,
            expire_time=self._clock.now() + timedelta(seconds=self._settings.lease_s),
            renewals=before.renewals + 1 if before is not None else 1,
            replaced=replaced,
        )

    def _with_replaced(self, lease: Lease, incarnation: str) -> tuple[str, ...]:
        others = tuple(other for other in lease.replaced if other != incarnation)
        return (*others, incarnation)[-self._settings.replaced_max :]

    async def _leave(self, tx: Transaction, lease: Lease, *, lease_expired: bool) -> None:
        worker, now = lease.worker, self._clock.now()
        await tx.fleet.put_lease(replace(lease, live=False, expire_time=now))
        await tx.fleet.delete_assignment(worker.worker_id)
        await record(tx, Kind.WORKER_LEFT, worker.name, worker.worker_id, now, lease_expired=lease_expired)

    def _check(self, worker: Worker) -> None:
        faults = {
            "worker.incarnation": not 0 < len(worker.incarnation) <= 64,
            "worker.address": not 0 < len(worker.address) <= 255,
            "worker.slots": len(worker.slots) > self._limits.slots_max,
            "worker.memory_bytes_max": worker.memory_bytes_max <= 0,
        }
        for field, is_wrong in faults.items():
            if is_wrong:
                raise InvalidError(f"{field} is missing or out of range", reason="OUT_OF_RANGE", field=field)


def _given_up(worker: Worker | None) -> set[VersionKey]:
    """Return the Versions that the Worker holds no more because it died of them."""
    return {slot.key for slot in worker.slots if slot.reason == CRASHED} if worker is not None else set()
