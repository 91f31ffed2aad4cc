"""Demands: calls for Versions that no worker holds yet."""

from __future__ import annotations

from datetime import timedelta

from servemesh import names
from servemesh.errors import ConflictError, OverloadedError, UnavailableError
from servemesh.registry.domain.deployments import default_version
from servemesh.registry.domain.fleet import Demand, SlotState, VersionKey, WorkerState
from servemesh.registry.domain.limits import Limits, check_room
from servemesh.registry.service import lookup
from servemesh.registry.service.placing import FLEET_LOCK, Placing
from servemesh.registry.service.ports import Clock, Store, Transaction

# A demand this young is not written again.
FRESH = timedelta(seconds=10)
NO_WORKERS_RETRY_S = 0.5


class Demands:
    """Has Versions placed that somebody calls."""

    def __init__(self, store: Store, clock: Clock, placing: Placing, limits: Limits) -> None:
        self._store = store
        self._clock = clock
        self._placing = placing
        self._limits = limits

    async def demand(self, name: str) -> tuple[VersionKey, tuple[str, ...]]:
        """The Version that `name` means and the ids of the workers it is placed on, at least one.

        MissingError if it is unknown or not deployed, OverloadedError if nobody has room, ConflictError if it
        cannot be loaded, UnavailableError while there are no workers.
        """
        async with self._store.reading() as tx:
            key = await _resolved(tx, name)
            holders = await self._holders(tx, key)
            demands = {demand.key: demand for demand in await tx.fleet.list_demands()}
        now = self._clock.now()
        if holders and key in demands and now - demands[key].demand_time < FRESH:
            return key, holders
        async with self._store.writing(FLEET_LOCK) as tx:
            if key not in demands:
                check_room(len(await tx.fleet.list_demands()), self._limits.demands_max, "demanded versions")
            await tx.fleet.put_demand(Demand(model_id=key[0], version_id=key[1], demand_time=now))
        await self._placing.reconcile()
        async with self._store.reading() as tx:
            holders = await self._holders(tx, key)
            if not holders:
                await self._refuse(tx, key)
        return key, holders

    async def _holders(self, tx: Transaction, key: VersionKey) -> tuple[str, ...]:
        leases = await tx.fleet.list_leases(after="", limit=self._limits.workers_max)
        active = {
            lease.worker.worker_id: lease.worker.slot(key)
            for lease in leases
            if lease.worker.state is WorkerState.ACTIVE
        }
        holders = []
        for assignment in await tx.fleet.list_assignments():
            if assignment.worker_id in active and any(slot.key == key for slot in assignment.slots):
                slot = active[assignment.worker_id]
                if slot is None or slot.state is not SlotState.FAILED:
                    holders.append(assignment.worker_id)
        return tuple(holders)

    async def _refuse(self, tx: Transaction, key: VersionKey) -> None:
        version = names.version(*key)
        leases = await tx.fleet.list_leases(after="", limit=self._limits.workers_max)
        for slot in (lease.worker.slot(key) for lease in leases):
            if slot is not None and slot.state is SlotState.FAILED:
                reason = slot.reason or "LOAD_FAILED"
                raise ConflictError(
                    f"{version} cannot be loaded: {slot.message}", reason=reason, version=version
                )
        short = (await tx.deployments.shortfalls()).get(key)
        if short is None or short.reason == "NO_WORKERS":
            raise UnavailableError(
                "no worker is there to hold it",
                reason="NO_WORKERS",
                retry_after_s=NO_WORKERS_RETRY_S,
                version=version,
            )
        raise OverloadedError(
            f"{version}: {short.message}", reason=short.reason, retry_after_s=1.0, version=version
        )


async def _resolved(tx: Transaction, name: str) -> VersionKey:
    """The Version that a name of a deployed Model, of its Version or of its Alias means."""
    if names.is_version(name):
        model_id, version_id = names.version_ids(name)
        await lookup.deployment(tx, model_id)
        await lookup.version(tx, model_id, version_id)
        return model_id, version_id
    if names.is_alias(name):
        model_id, alias_id = names.alias_ids(name)
        await lookup.deployment(tx, model_id)
        return model_id, (await lookup.alias(tx, model_id, alias_id)).version_id
    deployment = await lookup.deployment(tx, names.model_id(name))
    default = default_version(deployment.serving)
    assert default is not None, "a deployment always serves something"
    return deployment.model_id, default
