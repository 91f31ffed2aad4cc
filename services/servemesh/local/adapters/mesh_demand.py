"""What the demand needs, as the metrics service of the mesh tells it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from servemesh.client import AsyncClient, RetryPolicy
from servemesh.errors import ServemeshError

_AHEAD_S = 900.0
"""What is needed so far ahead is started now: a worker takes a while until it helps."""
_CALL_S = 60.0


class MeshDemand:
    """Implements Demand over the public address of a mesh."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    @staticmethod
    @asynccontextmanager
    async def connected(address: str) -> AsyncIterator[MeshDemand]:
        """Ask the mesh at `address` for the length of the block."""
        async with AsyncClient(address, retry=RetryPolicy(attempts_max=1)) as client:
            yield MeshDemand(client)

    async def workers_needed(self) -> int | None:
        """Return what is needed now or will be in a quarter of an hour, whichever is more."""
        try:
            found = await self._client.metrics.capacity(horizon_s=_AHEAD_S, timeout_s=_CALL_S)
        except ServemeshError:
            return None
        return max(found.needed_now, found.needed_at_peak)
