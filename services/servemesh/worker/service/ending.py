"""How a worker comes to its end: told to, replaced by another process, or held by a model."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable

from servemesh.lifecycle import Stop, background
from servemesh.worker.domain.versions import Version
from servemesh.worker.service.residency import Residency

LOOP_WAIT_S = 1.0
EXIT_HELD = 70


class Condemnation:
    """The word of the watchdog to the event loop that the worker is to end because a model holds it."""

    def __init__(self, residency: Residency, *, end_wait_s: float) -> None:
        self._residency = residency
        self._end_wait_s = end_wait_s
        self._loop = asyncio.get_running_loop()
        self.spoken = asyncio.Event()

    def speak(self, version: Version) -> None:
        """Have the worker end in order, within a bound; at once if the model holds the event loop itself."""
        heard = threading.Event()

        def hear() -> None:
            heard.set()
            self._residency.abandon(version.name)
            self.spoken.set()

        self._loop.call_soon_threadsafe(hear)
        end_within(self._end_wait_s if heard.wait(LOOP_WAIT_S) else 0.0, EXIT_HELD)

    async def unless_spoken(self, goodbye: Stop) -> None:
        """Say goodbye, unless the worker comes back at once: it keeps its lease, and what it is assigned.

        Else the Version that it ends for would go to another worker, and be met there by no counts.
        """
        if not self.spoken.is_set():
            await goodbye()


async def until_ended(*causes: Stop) -> None:
    """Return when one of the causes does."""
    ended = asyncio.Event()

    async def ending(cause: Callable[[], Awaitable[object]]) -> None:
        await cause()
        ended.set()

    async with background(*(lambda cause=cause: ending(cause) for cause in causes)):
        await ended.wait()


def end_within(wait_s: float, status: int = 0) -> None:
    """Have the process end soon although a thread hangs in a driver: there is nothing left to lose."""
    timer = threading.Timer(wait_s, os._exit, args=(status,))
    timer.daemon = True
    timer.start()
