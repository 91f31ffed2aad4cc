"""Tells waiters in this process that something in the store has changed."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Changes:
    """Counts changes. Many changes at once are one; waiters look at the store, not at the change."""

    def __init__(self) -> None:
        self._count = 0
        self._changed = asyncio.Event()

    @property
    def count(self) -> int:
        """Changes so far."""
        return self._count

    def notify(self) -> None:
        """Say that something has changed."""
        self._count += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self, seen: int, *, timeout_s: float) -> int:
        """Return the count once it differs from `seen`, or after `timeout_s`: others change the store too."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._count == seen:
                    await self._changed.wait()
        return self._count
