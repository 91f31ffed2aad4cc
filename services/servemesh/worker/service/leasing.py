"""Keeps the lease in the registry, and takes over the assignments that come with it."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import AsyncExitStack, suppress
from typing import Protocol

from servemesh.api.fleet.v1 import fleet_pb2 as pb
from servemesh.errors import ServemeshError, StaleError
from servemesh.events import subjects
from servemesh.events.ports import Listener, Subscription
from servemesh.lifecycle import backoff_s
from servemesh.observe import metrics, names
from servemesh.worker.domain.versions import Assignment
from servemesh.worker.service import fleet_messages
from servemesh.worker.service.changes import awoken
from servemesh.worker.service.identity import Identity
from servemesh.worker.service.residency import Residency

_log = logging.getLogger(__name__)


class Fleet(Protocol):
    """The registry's fleet service."""

    async def renew(self, worker: pb.Worker) -> pb.Assignment:
        """Tell how the worker stands and return what it should hold. StaleError if a newer incarnation lives."""

    async def end(self, name: str, incarnation: str) -> None:
        """Give the lease up."""


class AssignmentStore(Protocol):
    """Keeps the last assignment over restarts."""

    async def read(self) -> pb.Assignment | None:
        """Return the last one kept; None if there is none that can be trusted."""

    async def keep(self, assignment: pb.Assignment) -> None:
        """Keep it instead of the one before."""


class LeaseKeeper:
    """Renews the lease every `interval_s`, when a slot changes and whenever the registry calls for it.

    A registry that is away is asked again soon at first, then less and less often. Renewals are `pause_s` apart
    at least. `settled` is set once it is known what to hold: from the registry, or from disk while the registry
    is away. `superseded` is set when a newer incarnation of this worker has taken the lease.
    """

    def __init__(
        self,
        fleet: Fleet,
        bus: Listener,
        store: AssignmentStore,
        residency: Residency,
        identity: Identity,
        *,
        interval_s: float,
        pause_s: float,
        chances: random.Random,
    ) -> None:
        self._fleet = fleet
        self._bus = bus
        self._store = store
        self._residency = residency
        self._identity = identity
        self._interval_s = interval_s
        self._pause_s = pause_s
        self._chances = chances
        self._revision = -1  # of the last assignment from the registry; one from disk gives way to any
        self._is_away = False
        self._retry_waits_s = backoff_s(chances, longest_s=interval_s)
        self._renewed_s = time.monotonic()
        self.settled = asyncio.Event()
        self.superseded = asyncio.Event()

    async def recall(self) -> None:
        """Start with the last assignment of an earlier incarnation, so that calls need not wait for the registry."""
        kept = await self._store.read()
        if kept is not None:
            self._residency.assign(fleet_messages.assignment(kept))
            self.settled.set()

    async def run(self) -> None:
        """Renew until cancelled, or until a newer incarnation has the lease."""
        await self._identity.bound.wait()
        age = metrics.gauge(names.WORKER_LEASE_AGE)
        age.set_function(lambda: time.monotonic() - self._renewed_s)
        async with AsyncExitStack() as stack:
            # The registry learns of each change of a slot: whoever waits for a Deployment waits for that.
            called = stack.enter_context(self._residency.changes.watched())
            group = await stack.enter_async_context(asyncio.TaskGroup())
            for subject in (
                subjects.assignment_changed(self._identity.worker_id),
                subjects.ASSIGNMENT_CHANGED_ALL,
            ):
                calls = await stack.enter_async_context(self._bus.subscribe(subject))
                group.create_task(_listen(calls, called))
            while not self.superseded.is_set():
                await self.renew()
                self.settled.set()
                await asyncio.sleep(self._pause_s)
                await awoken(called, self._wait_s())

    def _wait_s(self) -> float:
        if self._is_away:  # workers start before the registry does, and a mesh is waiting for them
            return next(self._retry_waits_s)
        self._retry_waits_s = backoff_s(self._chances, longest_s=self._interval_s)
        return self._interval_s * (0.8 + 0.4 * self._chances.random())

    async def renew(self) -> None:
        """Renew once; an outage of the registry changes nothing."""
        try:
            message = await self._fleet.renew(self._identity.worker())
            wished = fleet_messages.assignment(message)
        except StaleError:
            _log.error(names.LEASE_SUPERSEDED)
            self.superseded.set()
        except ServemeshError as error:
            if not self._is_away:
                _log.warning(names.REGISTRY_AWAY, extra={"reason": error.reason, "detail": error.message})
            self._is_away = True
        else:
            if self._is_away:
                _log.info(names.REGISTRY_BACK)
            self._is_away = False
            self._renewed_s = time.monotonic()
            if wished.revision > self._revision:
                self._revision = wished.revision
                await self._take_over(wished, message)

    async def end(self) -> None:
        """Give the lease up, as far as the registry can be reached."""
        with suppress(ServemeshError):
            await self._fleet.end(self._identity.name, self._identity.incarnation)

    async def _take_over(self, wished: Assignment, message: pb.Assignment) -> None:
        self._residency.assign(wished)
        versions = [assigned.version.name for assigned in wished.versions]
        _log.info(names.ASSIGNED, extra={"revision": wished.revision, "versions": versions})
        await self._store.keep(message)


async def _listen(calls: Subscription, called: asyncio.Event) -> None:
    async for _ in calls:
        called.set()
