"""Keeps the table of the fleet: hears announcements, asks the registry, and lets nobody go without proof."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from servemesh.errors import ServemeshError, UnavailableError
from servemesh.gateway.domain.fleet import Worker
from servemesh.gateway.domain.membership import Membership, Patience
from servemesh.gateway.domain.traffic import Traffic
from servemesh.observe import names

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """What a worker said of itself."""

    worker: Worker
    sequence: int
    is_leaving: bool


class Feed(Protocol):
    """The event bus, as far as the fleet is concerned."""

    def announcements(self) -> AbstractAsyncContextManager[AsyncIterator[Announcement]]:
        """Listen to workers for the length of the block; it goes on over outages."""
        ...

    def registry_facts(self) -> AbstractAsyncContextManager[AsyncIterator[object]]:
        """Listen for whatever changes in the registry."""
        ...

    async def ping(self) -> None:
        """Go to the broker and back; UnavailableError while it is away."""
        ...


class Listing(Protocol):
    """The registry, as far as the edge is concerned. Both raise UnavailableError while it is away."""

    async def workers(self, *, timeout_s: float) -> tuple[Worker, ...]:
        """Return every worker with a lease."""
        ...

    async def traffic(self, *, timeout_s: float) -> Traffic:
        """Return how the calls for each deployed Model are shared."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchLimits:
    """How often to ask, and how long to wait for an answer."""

    patience: Patience
    ping_interval_s: float = 0.5
    listing_interval_s: float = 5.0
    timeout_s: float = 2.0


class FleetWatch:
    """Runs the membership's state machine on what comes in; `changed` is told of every new state."""

    def __init__(
        self,
        feed: Feed,
        listing: Listing,
        *,
        membership: Membership,
        traffic: Traffic,
        limits: WatchLimits,
        clock: Callable[[], float],
        changed: Callable[[Membership, Traffic], None],
    ) -> None:
        self._feed = feed
        self._listing = listing
        self._membership = membership
        self._traffic = traffic
        self._limits = limits
        self._clock = clock
        self._changed = changed
        self._nudged = asyncio.Event()
        self._is_bus_up: bool | None = None
        self._is_registry_up: bool | None = None

    async def hear(self) -> None:
        """Take in what workers say, for ever."""
        async with self._feed.announcements() as announcements:
            async for heard in announcements:
                worker = heard.worker
                if heard.is_leaving:
                    state = self._membership.left(worker.worker_id, worker.incarnation)
                else:
                    state = self._membership.announced(
                        worker,
                        sequence=heard.sequence,
                        now=self._clock(),
                        patience=self._limits.patience,
                    )
                self._become(state)

    async def probe(self) -> None:
        """Find out whether the bus carries messages, and who fell silent on it, for ever."""
        patience = self._limits.patience
        while True:
            try:
                async with asyncio.timeout(self._limits.timeout_s):
                    await self._feed.ping()
            except (UnavailableError, TimeoutError):
                self._become(self._membership.bus_lost())
                self._bus_is(False)
            else:
                self._bus_is(True)
                self._become(self._membership.bus_heard(now=self._clock(), patience=patience))
                self._become(self._membership.without_the_silent(now=self._clock(), patience=patience))
            await asyncio.sleep(self._limits.ping_interval_s)

    async def ask(self) -> None:
        """Ask the registry for workers and traffic, for ever: every few seconds and when it tells of a change,
        and as often as the bus is tried while it carries no such word.
        """
        while True:
            self._nudged.clear()
            await self._ask_once()
            try:
                async with asyncio.timeout(self._pause_s):
                    await self._nudged.wait()
            except TimeoutError:
                continue

    @property
    def _pause_s(self) -> float:
        if self._is_bus_up is False:
            return min(self._limits.ping_interval_s, self._limits.listing_interval_s)
        return self._limits.listing_interval_s if self._is_registry_up else 1.0

    async def listen(self) -> None:
        """Ask at once when something changed in the registry, for ever."""
        async with self._feed.registry_facts() as facts:
            async for _ in facts:
                self._nudged.set()

    async def _ask_once(self) -> None:
        limits = self._limits
        try:
            workers = await self._listing.workers(timeout_s=limits.timeout_s)
            now = self._clock()
            self._become(self._membership.listed(workers, now=now, patience=limits.patience))
            traffic = await self._listing.traffic(timeout_s=limits.timeout_s)
        except ServemeshError as error:
            self._registry_is(False, error.reason)
            return
        self._registry_is(True, "")
        if traffic != self._traffic:
            self._traffic = traffic
            self._changed(self._membership, traffic)

    def _become(self, membership: Membership) -> None:
        before, self._membership = self._membership, membership
        if before.fleet.revision != membership.fleet.revision or before.is_proven != membership.is_proven:
            self._changed(membership, self._traffic)

    def _bus_is(self, up: bool) -> None:
        if up is not self._is_bus_up:
            logger.info(names.BUS_BACK if up else names.BUS_AWAY)
            self._nudged.set()
        self._is_bus_up = up

    def _registry_is(self, up: bool, reason: str) -> None:
        if up is not self._is_registry_up:
            logger.info(names.REGISTRY_BACK if up else names.REGISTRY_AWAY, extra={"reason": reason})
        self._is_registry_up = up
