"""Publishes what follows from fleet and traffic, and keeps it where the next start finds it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from servemesh.errors import UnavailableError
from servemesh.gateway.domain.fleet import Fleet
from servemesh.gateway.domain.membership import Membership
from servemesh.gateway.domain.snapshot.building import snapshot_of
from servemesh.gateway.domain.snapshot.policy import EdgePolicy
from servemesh.gateway.domain.snapshot.values import Neighbours, Snapshot
from servemesh.gateway.domain.traffic import Traffic
from servemesh.gateway.service.fleet_view import LiveFleet
from servemesh.gateway.service.publication import Publication
from servemesh.observe import metrics, names

logger = logging.getLogger(__name__)

REST_PER_WORK = 4.0
"""How long the edge rests after a snapshot, in the time that it took: calls want the processor too."""


class Shelf(Protocol):
    """Where the last state is kept over restarts, the gateway's and Envoy's."""

    async def keep(self, fleet: Fleet, traffic: Traffic, snapshot: Snapshot) -> None:
        """Replace what is kept; UnavailableError if the disk does not take it."""
        ...


class Edge:
    """Turns every new state of the fleet into a snapshot."""

    def __init__(
        self,
        live: LiveFleet,
        publication: Publication,
        shelf: Shelf,
        *,
        neighbours: Neighbours,
        policy: EdgePolicy,
        clock: Callable[[], float],
    ) -> None:
        self._live = live
        self._publication = publication
        self._shelf = shelf
        self._neighbours = neighbours
        self._policy = policy
        self._clock = clock
        self._news = asyncio.Event()
        self._membership = Membership()
        self._traffic = Traffic()

    def become(self, membership: Membership, traffic: Traffic) -> None:
        """Show `membership` and `traffic`. Who holds what is published once there is proof of it: an empty
        table must not replace the good one that an Envoy may have.
        """
        self._membership, self._traffic = membership, traffic
        self._live.put(membership.fleet)
        metrics.gauge(names.GATEWAY_FLEET_WORKERS).set(len(membership.fleet.by_id))
        if self._publication.snapshot is None:
            self._publish()
        else:
            self._news.set()

    def meet(self, neighbours: Neighbours) -> None:
        """Show that those who do not belong to the fleet are to be found elsewhere now."""
        self._neighbours = neighbours
        self.become(self._membership, self._traffic)

    async def publish(self) -> None:
        """Publish what follows from the newest state, for ever. In a large mesh that takes a while, and while
        the workers load their models a state is soon followed by another: then one snapshot is for many.
        """
        while True:
            await self._news.wait()
            self._news.clear()
            start_s = self._clock()
            self._publish()
            await self._rest_since(start_s)

    async def keep(self) -> None:
        """Write every snapshot with known endpoints to the shelf, for ever."""
        kept: Snapshot | None = None
        while True:
            kept = await self._publication.changed_from(kept)
            if kept.endpoints is None:
                continue
            start_s = self._clock()
            try:
                await self._shelf.keep(self._membership.fleet, self._traffic, kept)
            except UnavailableError as error:
                logger.warning(names.STATE_NOT_KEPT, extra={"reason": error.reason})
            await self._rest_since(start_s)

    def _publish(self) -> None:
        known = self._membership.fleet if self._membership.is_proven else None
        before = self._publication.snapshot
        made = snapshot_of(
            known,
            self._traffic,
            self._neighbours,
            self._policy,
            cuts_before=(1,) if before is None else before.cuts,
        )
        if self._publication.put(made):
            metrics.gauge(names.GATEWAY_SNAPSHOT_REVISION).inc()

    async def _rest_since(self, start_s: float) -> None:
        await asyncio.sleep(REST_PER_WORK * (self._clock() - start_s))
