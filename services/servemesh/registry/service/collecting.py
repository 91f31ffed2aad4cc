"""Deletes blobs that nobody needs: of uploads that were given up, and of Versions that are no more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from servemesh.blobs.keys import PREFIX, blob_key, find_sha256
from servemesh.blobs.ports import BlobStore
from servemesh.errors import ServemeshError
from servemesh.observe import names as telemetry
from servemesh.registry.domain.collecting import Verdict, judged
from servemesh.registry.service.ports import Clock, Store, Transaction

log = logging.getLogger(__name__)

# Whoever condemns a blob and whoever puts one in use take turns by this lock, each with one short transaction.
BLOBS_LOCK = "blobs"
PAGE_SIZE = 200


class Duty(Protocol):
    """Says who of several registries collects."""

    async def holds(self) -> bool:
        """Whether it is this one now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectingSettings:
    """How often to look, how long an orphan is left alone, and when to try again after a failure."""

    interval_s: float = 3_600.0
    grace_s: float = 24 * 3_600.0
    retry_s: float = 30.0


class Collector:
    """Runs for the life of the process.

    The order is what makes it safe. (1) A commit claims its blobs before it looks whether the store has them; the
    claim is a row, made in one transaction with the check that none of them is condemned. (2) The collector
    condemns in one transaction with the check that nobody has claimed. Both name one lock, so of the two one comes
    first and the other sees it. (3) Only then is the blob deleted, and only when the store has confirmed that is the
    row taken away, so a commit that waits meets a store without the blob and puts it there again. Cut off
    anywhere, the condemned row stays and the next round goes on from it.
    """

    def __init__(
        self, store: Store, blobs: BlobStore, clock: Clock, duty: Duty, settings: CollectingSettings
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._clock = clock
        self._duty = duty
        self._settings = settings

    async def run(self) -> None:
        """Collect now and every interval; sooner after a round that could not be finished."""
        while True:
            is_done = False
            try:
                is_done = await self.collect()
            except ServemeshError as error:
                log.info(telemetry.BLOBS_COLLECT_WAITING, extra={"reason": error.reason})
            await asyncio.sleep(self._settings.interval_s if is_done else self._settings.retry_s)

    async def collect(self) -> bool:
        """One round: delete what is condemned, then look for orphans; False if another registry has the duty."""
        if not await self._delete_condemned():
            return False
        async for page in self._pages():
            await self._judge(page)
        return await self._delete_condemned()

    async def _delete_condemned(self) -> bool:
        count = 0
        while sha256s := await self._condemned():
            for sha256 in sha256s:
                # Asked anew before each: a deletion that comes after another registry has taken over could
                # meet a blob that was put there again in the meantime.
                if not await self._duty.holds():
                    return False
                await self._blobs.delete(blob_key(sha256))
                async with self._store.writing(BLOBS_LOCK) as tx:
                    await tx.blobs.forget_orphans([sha256])
                count += 1
        if count:
            log.info(telemetry.BLOBS_COLLECTED, extra={"count": count})
        return await self._duty.holds()

    async def _condemned(self) -> Sequence[str]:
        async with self._store.reading() as tx:
            return await tx.blobs.list_condemned(limit=PAGE_SIZE)

    async def _pages(self) -> AsyncIterator[list[str]]:
        page: list[str] = []
        async for info in self._blobs.list_blobs(PREFIX):
            sha256 = find_sha256(info.key)
            if sha256 is not None:  # what we did not put there is not ours to delete
                page.append(sha256)
            if len(page) == PAGE_SIZE:
                yield page
                page = []
        if page:
            yield page

    async def _judge(self, page: Sequence[str]) -> None:
        # Nearly always there is nothing to write, and then no writer has to wait for us.
        async with self._store.reading() as tx:
            if (await self._verdict(tx, page)).is_empty:
                return
        async with self._store.writing(BLOBS_LOCK) as tx:
            verdict = await self._verdict(tx, page)
            await tx.blobs.put_orphans([*verdict.orphaned, *verdict.condemned])
            await tx.blobs.forget_orphans(verdict.cleared)

    async def _verdict(self, tx: Transaction, page: Sequence[str]) -> Verdict:
        return judged(
            page,
            used=await tx.blobs.used(page),
            known={orphan.sha256: orphan for orphan in await tx.blobs.find_orphans(page)},
            now=self._clock.now(),
            grace=timedelta(seconds=self._settings.grace_s),
        )
