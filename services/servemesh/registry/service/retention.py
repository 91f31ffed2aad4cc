"""Forgets what has served its time: answers kept for repeated calls, and workers that left long ago."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta

from servemesh.errors import UnavailableError
from servemesh.observe import names as telemetry
from servemesh.registry.service.ports import Clock, Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionSettings:
    """How long things are kept."""

    interval_s: float = 300.0
    request_s: float = 24 * 3600.0
    worker_s: float = 24 * 3600.0


class Retention:
    """Runs for the life of the process."""

    def __init__(self, store: Store, clock: Clock, settings: RetentionSettings) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings

    async def run(self) -> None:
        """Forget now and every interval, until cancelled."""
        while True:
            try:
                await self.forget()
            except UnavailableError as error:
                log.warning(telemetry.RETENTION_FAILED, extra={"reason": error.reason})
            await asyncio.sleep(self._settings.interval_s)

    async def forget(self) -> None:
        """Delete what is too old."""
        now, settings = self._clock.now(), self._settings
        async with self._store.writing("retention") as tx:
            await tx.requests.delete(created_before=now - timedelta(seconds=settings.request_s))
            await tx.fleet.delete_leases(expired_before=now - timedelta(seconds=settings.worker_s))
