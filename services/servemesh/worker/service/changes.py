"""Tells several waiting tasks that something changed; changes that come together are told once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Changes:
    """Wakes everybody who watches."""

    def __init__(self) -> None:
        self._watchers: set[asyncio.Event] = set()

    def notify(self) -> None:
        """Something changed."""
        for watcher in self._watchers:
            watcher.set()

    @contextmanager
    def watched(self) -> Iterator[asyncio.Event]:
        """Offer an event that is set at each change, for the length of the block; the watcher clears it."""
        watcher = asyncio.Event()
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)


async def awoken(event: asyncio.Event, timeout_s: float | None) -> bool:
    """Wait until the event is set, `timeout_s` at most (None is for ever), and clear it; False if time passed."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return False
    finally:
        event.clear()
    return True
