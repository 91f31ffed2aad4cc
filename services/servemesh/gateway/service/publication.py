"""The newest snapshot of the edge, and who waits for it."""

from __future__ import annotations

import asyncio

from servemesh.gateway.domain.snapshot.values import Snapshot


class Publication:
    """Holds what the edge shall do now. Before the first snapshot there is nothing to say, and nothing is said."""

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self._snapshot = snapshot
        self._changed = asyncio.Event()

    @property
    def snapshot(self) -> Snapshot | None:
        """The snapshot as it stands."""
        return self._snapshot

    def put(self, snapshot: Snapshot) -> bool:
        """Publish `snapshot`; return whether it says anything new."""
        if snapshot == self._snapshot:
            return False
        self._snapshot = snapshot
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        return True

    async def changed_from(self, seen: Snapshot | None) -> Snapshot:
        """Return the first snapshot that is not the one `seen`."""
        while self._snapshot is None or self._snapshot is seen:
            await self._changed.wait()
        return self._snapshot
