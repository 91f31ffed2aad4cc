"""Sweeps up Uploads that nobody goes on with, and staged bytes that no Upload needs any more."""

from __future__ import annotations

import asyncio
import logging

from servemesh import names
from servemesh.errors import MissingError, ServemeshError
from servemesh.observe import names as telemetry
from servemesh.registry.service.ports import Clock
from servemesh.registry.service.uploads import Occupied, Staging, UploadCatalog

log = logging.getLogger(__name__)

PAGE_SIZE = 100


class Sweeper:
    """Runs for the life of the process; a failed round is tried again with the next."""

    def __init__(
        self,
        catalog: UploadCatalog,
        staging: Staging,
        occupied: Occupied,
        clock: Clock,
        *,
        interval_s: float = 60.0,
    ) -> None:
        self._catalog = catalog
        self._staging = staging
        self._occupied = occupied
        self._clock = clock
        self._interval_s = interval_s

    async def run(self) -> None:
        """Sweep now and every interval."""
        while True:
            try:
                await self.sweep()
            except ServemeshError as error:
                log.warning(telemetry.UPLOADS_SWEEP_FAILED, extra={"reason": error.reason})
            await asyncio.sleep(self._interval_s)

    async def sweep(self) -> None:
        """Forget expired Uploads, then bytes that belong to none that is open."""
        expired = await self._catalog.list_expired_uploads(now=self._clock.now(), page_size=PAGE_SIZE)
        for upload in expired:
            if not self._occupied.holds(upload.name):
                await self._staging.remove(upload.model_id, upload.upload_id)
                await self._forget(upload.model_id, upload.upload_id)
        for model_id, upload_id in await self._staging.list_uploads():
            if not await self._is_open(model_id, upload_id):
                await self._staging.remove(model_id, upload_id)

    async def _forget(self, model_id: str, upload_id: str) -> None:
        try:
            await self._catalog.delete_upload(model_id, upload_id)
        except MissingError:
            return  # somebody was faster

    async def _is_open(self, model_id: str, upload_id: str) -> bool:
        if self._occupied.holds(names.upload(model_id, upload_id)):
            return True
        try:
            upload = await self._catalog.get_upload(model_id, upload_id)
        except MissingError:
            return False
        return upload.version_id is None
