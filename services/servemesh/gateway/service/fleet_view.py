"""The fleet as a value that changes: everybody may read it and wait for the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from servemesh.gateway.domain.fleet import Fleet


class FleetView(Protocol):
    """What the gateway's use cases need to know of the fleet."""

    @property
    def fleet(self) -> Fleet:
        """The fleet as it stands."""
        ...

    async def changed_from(self, revision: int) -> Fleet:
        """Return the fleet as soon as its revision differs from `revision`; the caller sets the deadline."""
        ...


class LiveFleet:
    """Holds the newest fleet and wakes those who wait for it."""

    def __init__(self, fleet: Fleet | None = None) -> None:
        self._fleet = fleet or Fleet()
        self._changed = asyncio.Event()

    @property
    def fleet(self) -> Fleet:
        """The fleet as it stands."""
        return self._fleet

    def put(self, fleet: Fleet) -> None:
        """Make `fleet` the newest; nobody is woken if its revision is the one known."""
        if fleet.revision == self._fleet.revision:
            return
        self._fleet = fleet
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def changed_from(self, revision: int) -> Fleet:
        """Return the fleet as soon as its revision differs from `revision`."""
        while self._fleet.revision == revision:
            await self._changed.wait()
        return self._fleet

    async def until(self, condition: Callable[[Fleet], bool]) -> Fleet:
        """Return the first fleet from now on that meets `condition`; the caller sets the deadline."""
        while not condition(self._fleet):
            await self.changed_from(self._fleet.revision)
        return self._fleet
