"""Outputs of finished steps, kept so that a job that is taken up again does not start over."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from servemesh.blobs.ports import BlobStore
from servemesh.errors import DamagedError, MissingError, ServemeshError
from servemesh.lifecycle import Clock
from servemesh.observe import names as telemetry
from servemesh.optimizer.domain.records import KeptPass, StoredFile, blob_key
from servemesh.optimizer.service import model_files
from servemesh.optimizer.service.model_files import ModelFile
from servemesh.optimizer.service.storage import Store

log = logging.getLogger(__name__)

CACHE_LOCK = "passes"
PAGE_SIZE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class PassCacheSettings:
    """How much is kept and for how long. What was used just now is left alone: a job may be about to need it."""

    bytes_max: int = 20 * 1024**3
    unused_s_max: float = 7 * 24 * 3_600.0
    grace_s: float = 3_600.0
    sweep_interval_s: float = 600.0


class KeptPasses:
    """Satisfies ports.PassCache. Rows say what is kept, longest unused goes first; the bytes lie in the blob store."""

    def __init__(self, store: Store, blobs: BlobStore, clock: Clock, settings: PassCacheSettings) -> None:
        self._store = store
        self._blobs = blobs
        self._clock = clock
        self._settings = settings

    async def get(self, key: str, target: Path) -> dict[str, Any] | None:
        """Write the model kept under `key` to the new file `target` and return what its step answered.

        None if nothing is kept, or if what was kept is lost or damaged: it is forgotten then and made again.
        """
        async with self._store.reading() as tx:
            kept = await tx.passes.find(key)
        if kept is None or not await self._fetched(kept, target):
            return None
        return dict(kept.answer)

    async def put(self, key: str, source: Path, answer: Mapping[str, Any]) -> str:
        """Keep a model with what its step answered, and return the model's digest."""
        files, owner = await asyncio.to_thread(model_files.files_of, source), f"p{uuid.uuid4().hex}"
        kept = KeptPass(
            cache_key=key,
            sha256=model_files.joint_digest(files),
            size_bytes=sum(file.size_bytes for file in files),
            owner=owner,
            files=tuple(_stored(file, blob_key(owner, number)) for number, file in enumerate(files)),
            answer=dict(answer),
            use_time=self._clock.now(),
        )
        # The blobs are nobody's until the row is there, and such blobs are left alone for long enough.
        for file in kept.files:
            path = model_files.beside(source, file.path)
            await self._blobs.put_file(file.key, path, sha256=file.sha256)
        async with self._store.writing(CACHE_LOCK) as tx:
            former = await tx.passes.find(key)
            if former is not None:
                await tx.blob_owners.delete(former.owner)
            await tx.blob_owners.add(kept.owner)
            await tx.passes.put(kept)
        return kept.sha256

    async def fetch(self, sha256: str, target: Path) -> None:
        """Write the kept model with that digest to the new file `target`; MissingError if it is not kept."""
        while True:
            async with self._store.reading() as tx:
                kept = await tx.passes.find_model(sha256)
            if kept is None:
                raise MissingError(
                    "the output of a step is kept no more; start the job again",
                    reason="PASS_OUTPUT_LOST",
                    sha256=sha256,
                )
            if await self._fetched(kept, target):
                return

    async def run(self) -> None:
        """Sweep now and every interval, until cancelled."""
        while True:
            try:
                await self.sweep()
            except ServemeshError as error:
                log.info(telemetry.PASSES_SWEEP_WAITING, extra={"reason": error.reason})
            await asyncio.sleep(self._settings.sweep_interval_s)

    async def sweep(self) -> int:
        """Forget what nobody has used for too long, and the longest unused while there is too much; how many."""
        count = 0
        while forgotten := await self._swept_page():
            count += forgotten
        if count:
            log.info(telemetry.PASSES_SWEPT, extra={"count": count})
        return count

    async def _swept_page(self) -> int:
        now = self._clock.now()
        too_old = now - timedelta(seconds=self._settings.unused_s_max)
        too_new = now - timedelta(seconds=self._settings.grace_s)
        async with self._store.writing(CACHE_LOCK) as tx:
            size_bytes = await tx.passes.size_bytes()
            gone = []
            for kept in await tx.passes.list_oldest(limit=PAGE_SIZE):
                is_too_much = size_bytes > self._settings.bytes_max and kept.use_time < too_new
                if kept.use_time >= too_old and not is_too_much:
                    break
                size_bytes -= kept.size_bytes
                gone.append(kept)
            await tx.passes.delete([kept.cache_key for kept in gone])
            for kept in gone:
                await tx.blob_owners.delete(kept.owner)
        return len(gone)

    async def _fetched(self, kept: KeptPass, target: Path) -> bool:
        """Whether the model was there, whole. It counts as used then, and is forgotten otherwise."""
        try:
            for file in kept.files:
                path = model_files.beside(target, file.path)
                await self._blobs.fetch_file(file.key, path, sha256=file.sha256, size_bytes=file.size_bytes)
        except (MissingError, DamagedError) as error:
            log.warning(telemetry.PASS_LOST, extra={"reason": error.reason})
            # Where only the weights beside it are lost, the model is there.
            await asyncio.to_thread(target.unlink, missing_ok=True)
            await self._forget(kept)
            return False
        async with self._store.writing(CACHE_LOCK) as tx:
            if await tx.passes.find(kept.cache_key) == kept:
                await tx.passes.put(replace(kept, use_time=self._clock.now()))
        return True

    async def _forget(self, kept: KeptPass) -> None:
        async with self._store.writing(CACHE_LOCK) as tx:
            found = await tx.passes.find(kept.cache_key)
            if found is not None and found.owner == kept.owner:
                await tx.passes.delete([kept.cache_key])
                await tx.blob_owners.delete(kept.owner)


def _stored(file: ModelFile, key: str) -> StoredFile:
    return StoredFile(path=file.suffix, size_bytes=file.size_bytes, sha256=file.sha256, key=key)
