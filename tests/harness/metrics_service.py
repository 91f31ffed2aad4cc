"""A metrics service in this process, over real gRPC and a real store, with bus and object store in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc

from servemesh.blobs.memory import MemoryStore
from servemesh.events.memory import MemoryBus
from servemesh.metrics.main import serve
from servemesh.metrics.settings import Settings


@asynccontextmanager
async def metrics_service(folder: Path, **settings: object) -> AsyncIterator[tuple[grpc.aio.Channel, str]]:
    """Serve for the length of the block; yield a channel to it, and its address. What comes is stored every 50 ms."""
    asked = Settings(data_dir=folder, flush_s=0.05, **settings)  # type: ignore[arg-type]
    stopped: asyncio.Event = asyncio.Event()
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        group.create_task(
            serve(asked, MemoryBus(), MemoryStore(), "", stopped.wait, ready=address.set_result)
        )
        try:
            async with grpc.aio.insecure_channel(await address) as channel:
                yield channel, await address
        finally:
            stopped.set()
