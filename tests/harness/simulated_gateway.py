"""A gateway's watch over a simulated fleet, and what it keeps from one life to the next."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from servemesh.gateway.domain.fleet import Fleet, Worker
from servemesh.gateway.domain.membership import Membership, restored
from servemesh.gateway.domain.traffic import Traffic
from servemesh.gateway.service.fleet_watch import FleetWatch, WatchLimits
from servemesh.lifecycle import background
from tests.harness.simulated_fleet import PATIENCE, World


class _Listing:
    def __init__(self, world: World) -> None:
        self._world = world

    async def workers(self, *, timeout_s: float) -> tuple[Worker, ...]:
        return await self._world.workers_listed()

    async def traffic(self, *, timeout_s: float) -> Traffic:
        return Traffic()


class GatewayLife:
    """One life of a gateway; the next one begins with the table that this one has kept."""

    def __init__(
        self,
        world: World,
        changed: Callable[[Membership, Traffic], None],
        kept: Fleet | None = None,
    ) -> None:
        self._world = world
        self._told = changed
        self.fleet = Fleet()
        membership = Membership()
        if kept is not None:
            membership = restored(kept.workers, now=world.now_s)
            self.fleet = membership.fleet
        world.forget(self.fleet)
        self._watch = FleetWatch(
            world,
            _Listing(world),
            membership=membership,
            traffic=Traffic(),
            limits=WatchLimits(patience=PATIENCE),
            clock=world.loop.time,
            changed=self._changed,
        )

    def next(self) -> GatewayLife:
        """Return the gateway that starts after this one."""
        return GatewayLife(self._world, self._told, self.fleet)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Watch the fleet for the length of the block."""
        watch = self._watch
        async with (
            background(watch.hear),
            background(watch.probe),
            background(watch.ask),
            background(watch.listen),
        ):
            yield

    def _changed(self, membership: Membership, traffic: Traffic) -> None:
        self.fleet = membership.fleet
        self._told(membership, traffic)
