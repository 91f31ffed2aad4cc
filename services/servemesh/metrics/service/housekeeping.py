"""Rolls up, deletes what has served its time, and shows how full the store is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from servemesh.errors import UnavailableError
from servemesh.lifecycle import Clock
from servemesh.metrics.domain.points import Series
from servemesh.metrics.domain.retention import Retained, Retention
from servemesh.observe import metrics, names

_log = logging.getLogger(__name__)


class Kept(Protocol):
    """What is kept in order."""

    async def roll_up(self, now_ms: int) -> None:
        """Bring what is complete into roll-ups."""
        ...

    async def retain(self, now_ms: int, retention: Retention) -> Retained:
        """Delete what is too old or too much."""
        ...

    async def forget_series(self) -> tuple[Series, ...]:
        """Forget the series of which there are no points any more, and return them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HousekeepingSettings:
    """How often, and what is kept."""

    roll_up_s: float = 15.0
    retain_s: float = 300.0
    forget_s: float = 3_600.0
    retention: Retention = field(default_factory=Retention)


class Housekeeping:
    """Works at its intervals; what fails now is done the next time."""

    def __init__(
        self,
        store: Kept,
        clock: Clock,
        forgotten: Callable[[Sequence[Series]], None],
        settings: HousekeepingSettings,
    ) -> None:
        self._store = store
        self._clock = clock
        self._forgotten = forgotten
        self._settings = settings

    async def run(self) -> None:
        """Keep order until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._every(self._settings.roll_up_s, self.roll_up))
            group.create_task(self._every(self._settings.retain_s, self.retain))
            group.create_task(self._every(self._settings.forget_s, self.forget))

    async def roll_up(self) -> None:
        """Roll up what is complete."""
        await self._store.roll_up(self._now_ms())

    async def retain(self) -> None:
        """Delete what is too old or too much."""
        retention = self._settings.retention
        retained = await self._store.retain(self._now_ms(), retention)
        for resolution, until_ms in retained.trimmed:
            _log.warning(
                names.METRICS_STORE_TRIMMED,
                extra={"resolution": resolution.name.lower(), "until": until_ms / 1000},
            )
        metrics.gauge(names.METRICS_STORE_SIZE).set(retained.size_bytes)
        metrics.gauge(names.METRICS_STORE_SIZE_MAX).set(retention.size_bytes_max)

    async def forget(self) -> None:
        """Make room for series that are new."""
        self._forgotten(await self._store.forget_series())

    async def _every(self, interval_s: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._clock.sleep(interval_s)
            try:
                await work()
            except UnavailableError as error:
                _log.warning(names.METRICS_STORE_FAILED, extra={"reason": error.reason})

    def _now_ms(self) -> int:
        return round(self._clock.now().timestamp() * 1000)
