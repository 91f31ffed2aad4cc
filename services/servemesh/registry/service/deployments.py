"""Deployments: wishing that a Model be served, and seeing what comes of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace

from servemesh import names
from servemesh.changes import Changes
from servemesh.errors import ConflictError, ExistsError, OverloadedError
from servemesh.paging import Page, PageRequest
from servemesh.registry.domain.batching import DEFAULTS, BatchingPolicy
from servemesh.registry.domain.deployments import (
    Deployment,
    TrafficTarget,
    check_replicas,
    check_traffic,
    shares,
)
from servemesh.registry.domain.events import Kind
from servemesh.registry.domain.limits import Limits
from servemesh.registry.domain.observing import ObservedDeployment, observed
from servemesh.registry.service import lookup
from servemesh.registry.service.ports import Clock, Store, Transaction
from servemesh.registry.service.recording import answered, check_etag, record, request_lock
from servemesh.requests import RequestKey

# How often a watcher looks at the store, in which other registries may have changed something.
WATCH_INTERVAL_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    traffic: tuple[TrafficTarget, ...]
    replicas: int | None
    batching: BatchingPolicy


class DeploymentBook:
    """What is wished of Models."""

    def __init__(self, store: Store, clock: Clock, changes: Changes, limits: Limits) -> None:
        self._store = store
        self._clock = clock
        self._changes = changes
        self._limits = limits
        self._watchers = 0

    async def get(self, model_id: str) -> ObservedDeployment:
        """The Deployment with its observed state; MissingError if there is none."""
        async with self._store.reading() as tx:
            return (await self._observed(tx, [await lookup.deployment(tx, model_id)]))[0]

    async def list(self, page: PageRequest) -> Page[ObservedDeployment]:
        """Deployments in order of model id."""
        async with self._store.reading() as tx:
            wishes = await tx.deployments.list(after=page.after, limit=page.fetch)
            found = await self._observed(tx, wishes)
        return page.page(found, lambda deployment: deployment.wish.model_id)

    async def create(
        self,
        model_id: str,
        traffic: Sequence[TrafficTarget] = (),
        replicas: int | None = None,
        batching: BatchingPolicy = DEFAULTS,
        request: RequestKey | None = None,
    ) -> ObservedDeployment:
        """Ask that the Model be served; without `traffic` all calls go to its newest Version."""
        check_traffic(model_id, traffic, self._limits)
        check_replicas(replicas, self._limits)
        wish = _Wish(traffic=tuple(traffic), replicas=replicas, batching=batching.checked())
        async with self._store.writing(names.model(model_id), *request_lock(request)) as tx:
            deployment = await answered(
                tx, request, Deployment, self._clock.now(), lambda: self._created(tx, model_id, wish)
            )
            result = (await self._observed(tx, [deployment]))[0]
        self._changes.notify()
        return result

    async def update(
        self,
        model_id: str,
        etag: str,
        *,
        traffic: Sequence[TrafficTarget] | None = None,
        replicas: int | None = None,
        clears_replicas: bool = False,
        batching: BatchingPolicy | None = None,
    ) -> ObservedDeployment:
        """Change what is not None; StaleError if the etag is not empty and not the current one."""
        check_traffic(model_id, traffic or (), self._limits)
        check_replicas(replicas, self._limits)
        async with self._store.writing(names.model(model_id)) as tx:
            deployment = await lookup.deployment(tx, model_id)
            check_etag(deployment.name, etag, deployment.etag)
            await _checked_aliases(tx, model_id, traffic or ())
            now = self._clock.now()
            deployment = replace(
                deployment,
                traffic=tuple(traffic) if traffic else deployment.traffic,
                replicas=replicas if replicas is not None or clears_replicas else deployment.replicas,
                batching=batching.checked() if batching is not None else deployment.batching,
                update_time=now,
                revision=await record(tx, Kind.DEPLOYMENT_UPDATED, deployment.name, model_id, now),
            )
            await tx.deployments.put(deployment)
            result = (await self._observed(tx, [deployment]))[0]
        self._changes.notify()
        return result

    async def delete(self, model_id: str, etag: str) -> None:
        """Stop serving the Model; StaleError if the etag is not empty and not the current one."""
        async with self._store.writing(names.model(model_id)) as tx:
            deployment = await lookup.deployment(tx, model_id)
            check_etag(deployment.name, etag, deployment.etag)
            await tx.deployments.delete(model_id)
            await record(tx, Kind.DEPLOYMENT_DELETED, deployment.name, model_id, self._clock.now())
        self._changes.notify()

    async def watch(self, model_id: str) -> AsyncGenerator[ObservedDeployment]:
        """The Deployment now and whenever it differs; a slow reader misses states, never the last one.

        Ends with MissingError when it is deleted. OverloadedError if there are too many watchers.
        """
        if self._watchers >= self._limits.watchers_max:
            raise OverloadedError(
                f"{self._watchers} watchers, the most this registry takes; ask again or poll",
                reason="WATCHERS_MAX",
                retry_after_s=1.0,
                limit=self._limits.watchers_max,
            )
        self._watchers += 1
        try:
            told = None
            while True:
                seen = self._changes.count
                current = await self.get(model_id)
                if current != told:
                    told = current
                    yield current
                await self._changes.wait(seen, timeout_s=WATCH_INTERVAL_S)
        finally:
            self._watchers -= 1

    async def _created(self, tx: Transaction, model_id: str, wish: _Wish) -> Deployment:
        name = names.deployment(model_id)
        model = await lookup.model(tx, model_id)
        if await tx.deployments.find(model_id) is not None:
            raise ExistsError(f"{name} exists already", reason="DEPLOYMENT_EXISTS", name=name)
        if not model.latest_version_id:
            raise ConflictError(
                f"{model.name} has no version yet; push one first", reason="NO_VERSION", name=model.name
            )
        newest = names.version(model_id, model.latest_version_id)
        traffic = wish.traffic or (TrafficTarget(target=newest, weight_percent=100),)
        now = self._clock.now()
        deployment = Deployment(
            model_id=model_id,
            traffic=traffic,
            replicas=wish.replicas,
            batching=wish.batching,
            serving=shares(traffic, await _checked_aliases(tx, model_id, traffic)),
            create_time=now,
            update_time=now,
            revision=await record(tx, Kind.DEPLOYMENT_CREATED, name, model_id, now),
        )
        await tx.deployments.put(deployment)
        return deployment

    async def _observed(
        self, tx: Transaction, deployments: Sequence[Deployment]
    ) -> Sequence[ObservedDeployment]:
        if not deployments:
            return []
        aliases = await tx.aliases.targets([deployment.model_id for deployment in deployments])
        leases = await tx.fleet.list_leases(after="", limit=self._limits.workers_max)
        workers = [lease.worker for lease in leases]
        shortfalls = await tx.deployments.shortfalls()
        return [
            ObservedDeployment(
                wish=wish,
                observation=observed(wish, shares(wish.traffic, aliases[wish.model_id]), workers, shortfalls),
            )
            for wish in deployments
        ]


async def _checked_aliases(
    tx: Transaction, model_id: str, traffic: Sequence[TrafficTarget]
) -> dict[str, int]:
    """The Aliases of the Model; ConflictError if a target does not exist."""
    aliases = dict((await tx.aliases.targets([model_id]))[model_id])
    for target, share in zip(traffic, [shares([target], aliases)[0] for target in traffic], strict=True):
        if await tx.models.find_version(model_id, share.version_id) is None:
            raise ConflictError(
                f"{target.target} does not exist", reason="TARGET_MISSING", target=target.target
            )
    return aliases
