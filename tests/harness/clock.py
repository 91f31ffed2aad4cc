"""A clock that stands still until the test moves it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, tzinfo=UTC)


class SteppedClock:
    """Implements lifecycle.Clock; `advance` wakes those whose sleep is over, in order."""

    def __init__(self) -> None:
        self._elapsed_s = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []

    def now(self) -> datetime:
        """Return START plus what `advance` added."""
        return START + timedelta(seconds=self._elapsed_s)

    def monotonic_s(self) -> float:
        """Return the seconds that `advance` added."""
        return self._elapsed_s

    async def sleep(self, span_s: float) -> None:
        """Return once the clock was moved by `span_s`."""
        if span_s <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.Event()
        heapq.heappush(self._sleepers, (self._elapsed_s + span_s, next(self._order), woken))
        await woken.wait()

    async def advance(self, span_s: float) -> None:
        """Move the clock, and let everything that wakes on the way run."""
        until_s = self._elapsed_s + span_s
        await asyncio.sleep(0)
        while self._sleepers and self._sleepers[0][0] <= until_s:
            self._elapsed_s, _, woken = heapq.heappop(self._sleepers)
            woken.set()
            for _ in range(3):
                await asyncio.sleep(0)
        self._elapsed_s = until_s
