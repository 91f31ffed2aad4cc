"""Makes sure that there is a bucket, as soon as the object store can be reached."""

from __future__ import annotations

import asyncio
import logging
import random

from servemesh.blobs.ports import BlobStore
from servemesh.errors import ServemeshError
from servemesh.observe import names as telemetry

log = logging.getLogger(__name__)

WAIT_S_MIN = 0.2
WAIT_S_MAX = 10.0


class Bucket:
    """Tries until it is done."""

    def __init__(self, blobs: BlobStore, chances: random.Random) -> None:
        self._blobs = blobs
        self._chances = chances

    async def run(self) -> None:
        """Return when the bucket is there."""
        wait_s = WAIT_S_MIN
        while True:
            try:
                await self._blobs.ensure_bucket()
                return
            except ServemeshError as error:
                log.info(telemetry.BUCKET_WAITING, extra={"reason": error.reason})
            await asyncio.sleep(wait_s * self._chances.uniform(0.5, 1.0))
            wait_s = min(2 * wait_s, WAIT_S_MAX)
