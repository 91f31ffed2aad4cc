"""Forgets what has served its time: old jobs, Sources that nobody uses, answers to repeated calls, blobs of nobody."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from servemesh.blobs.ports import BlobStore
from servemesh.errors import ServemeshError
from servemesh.lifecycle import Clock
from servemesh.observe import names as telemetry
from servemesh.optimizer.domain.records import BLOBS
from servemesh.optimizer.service.storage import Store

PAGE_SIZE = 200

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSettings:
    """How often, and how long things are kept. `blob_grace_s` is longer than any upload takes."""

    interval_s: float = 3_600.0
    source_s: float = 7 * 24 * 3_600.0
    request_s: float = 24 * 3_600.0
    job_s: float = 90 * 24 * 3_600.0
    blob_grace_s: float = 24 * 3_600.0


class Sweeper:
    """Runs for the life of the process. A blob whose owner has no row was left by an upload, or by a row that went."""

    def __init__(self, store: Store, blobs: BlobStore, clock: Clock, settings: SweepSettings) -> None:
        self._store = store
        self._blobs = blobs
        self._clock = clock
        self._settings = settings

    async def run(self) -> None:
        """Sweep now and every interval, until cancelled."""
        while True:
            try:
                await self.sweep()
            except ServemeshError as error:
                log.warning(telemetry.OPTIMIZER_SWEEP_FAILED, extra={"reason": error.reason})
            await asyncio.sleep(self._settings.interval_s)

    async def sweep(self) -> None:
        """Forget what is too old."""
        now = self._clock.now()
        async with self._store.writing("requests") as tx:
            await tx.requests.delete(created_before=now - timedelta(seconds=self._settings.request_s))
        swept = {
            "jobs": await self._forget_jobs(),
            "sources": await self._forget_sources(),
            "blobs": await self._delete_blobs(),
        }
        if any(swept.values()):
            log.info(telemetry.OPTIMIZER_SWEPT, extra=swept)

    async def _forget_jobs(self) -> int:
        horizon, count = self._clock.now() - timedelta(seconds=self._settings.job_s), 0
        while True:
            async with self._store.writing("jobs") as tx:
                ended = await tx.jobs.list_ended(ended_before=horizon, limit=PAGE_SIZE)
                for name in ended:
                    await tx.jobs.delete(name)
            count += len(ended)
            if len(ended) < PAGE_SIZE:
                return count

    async def _forget_sources(self) -> int:
        horizon = self._clock.now() - timedelta(seconds=self._settings.source_s)
        async with self._store.reading() as tx:
            unused = await tx.sources.list_unused(used_before=horizon, limit=PAGE_SIZE)
        count = 0
        for source in unused:
            async with self._store.writing(source.name, "jobs") as tx:
                kept = await tx.sources.find(source.digest)
                if kept is None or kept.use_time >= horizon:
                    continue
                if await tx.jobs.users_of(source.name) or await tx.datasets.is_made_of(source.name):
                    continue
                await tx.sources.delete(source.digest)
                await tx.blob_owners.delete(source.owner)
                count += 1
        return count

    async def _delete_blobs(self) -> int:
        """Delete blobs of nobody, once they are so old that no upload can still be about to claim them."""
        horizon = self._clock.now() - timedelta(seconds=self._settings.blob_grace_s)
        count, page = 0, list[str]()
        async for blob in self._blobs.list_blobs(BLOBS):
            if blob.modify_time < horizon:
                page.append(blob.key)
            if len(page) == PAGE_SIZE:
                count, page = count + await self._delete_unowned(page), []
        return count + await self._delete_unowned(page)

    async def _delete_unowned(self, keys: Sequence[str]) -> int:
        owners = {key: key.removeprefix(BLOBS).partition("/")[0] for key in keys}
        async with self._store.reading() as tx:
            known = await tx.blob_owners.known(sorted(set(owners.values())))
        unowned = [key for key, owner in owners.items() if owner not in known]
        for key in unowned:
            await self._blobs.delete(key)
        return len(unowned)
