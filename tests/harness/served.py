"""A service's `serve` for the length of a block, on whatever adapters a test gives it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from servemesh.lifecycle import background

READY_S = 20.0


@asynccontextmanager
async def served(serve: Callable[..., Awaitable[None]], *parts: Any) -> AsyncIterator[str]:
    """Serve with `parts`, yield "host:port" once it is ready, then stop as a signal would."""
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    stopping, ended = asyncio.Event(), asyncio.Event()

    async def run() -> None:
        await serve(*parts, stopping.wait, ready=address.set_result)
        ended.set()

    async with background(run):
        async with asyncio.timeout(READY_S):
            bound = await address
        try:
            yield bound
        finally:
            stopping.set()
            await ended.wait()
