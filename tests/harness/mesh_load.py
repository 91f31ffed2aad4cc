"""Calls at a steady rate to one model of a mesh in this process, each by itself and none sent twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from servemesh.client import AsyncClient
from servemesh.errors import ServemeshError
from servemesh.lifecycle import background

ROW = np.arange(4, dtype=np.float32).reshape(1, 4)
CALL_S = 15.0


class Load:
    """What became of the calls: answers by version, and the failures with their text."""

    def __init__(self, client: AsyncClient, model: str, version: str = "") -> None:
        self._client = client
        self._model = model
        self._version = version
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self._ended = asyncio.Condition()

    async def call(self) -> None:
        """Make one call and write down how it ends."""
        try:
            result = await self._client.infer(
                self._model, {"x": ROW}, version=self._version, timeout_s=CALL_S
            )
        except ServemeshError as error:
            self.failures.append(f"{error.reason}: {error.message}")
        else:
            self.answers[result.version] += 1
        async with self._ended:
            self._ended.notify_all()

    async def run(self, interval_s: float) -> None:
        """Start a call every `interval_s`, however many are under way."""
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(self.call())
                await asyncio.sleep(interval_s)

    async def until_answered(self, count: int, version: Any = None) -> None:
        """Wait until so many more calls were answered, by `version` if one is given."""

        def answered() -> int:
            return self.answers.total() if version is None else self.answers[str(version)]

        enough = answered() + count
        async with asyncio.timeout(CALL_S), self._ended:
            await self._ended.wait_for(lambda: answered() >= enough or bool(self.failures))


@asynccontextmanager
async def steadily_called(
    client: AsyncClient, model: str, version: str = "", *, interval_s: float = 0.02
) -> AsyncIterator[Load]:
    """Call for the length of the block; AssertionError if a single call fails."""
    load = Load(client, model, version)
    async with background(lambda: load.run(interval_s)):
        yield load
    assert not load.failures, f"{len(load.failures)} calls failed, first: {load.failures[:3]}"
