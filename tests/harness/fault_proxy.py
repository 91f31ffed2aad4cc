"""A network that can be cut, in either direction or in both: a TCP proxy in front of one address."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Self

CHUNK_BYTES = 64 * 1024


class FaultProxy:
    """Passes bytes on to `target`, and keeps them where it is cut: they arrive when it heals, as TCP's do."""

    def __init__(self, target: str) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._loop = asyncio.new_event_loop()
        self._inward, self._outward = asyncio.Event(), asyncio.Event()
        self._stopped = asyncio.Event()
        self._is_up = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))
        self.address = ""

    def __enter__(self) -> Self:
        self._thread.start()
        self._is_up.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()
        self._loop.close()

    @contextlib.contextmanager
    def cut(self, *, inward: bool = False, outward: bool = False) -> Iterator[None]:
        """Let nothing through to the target, or from it, for the length of the block."""
        closed = [gate for gate, is_cut in ((self._inward, inward), (self._outward, outward)) if is_cut]
        for gate in closed:
            self._loop.call_soon_threadsafe(gate.clear)
        try:
            yield
        finally:
            for gate in closed:
                self._loop.call_soon_threadsafe(gate.set)

    async def _run(self) -> None:
        self._inward.set()
        self._outward.set()
        async with asyncio.TaskGroup() as group:
            connections: set[asyncio.Task[None]] = set()

            def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                connections.add(group.create_task(self._serve(reader, writer)))

            server = await asyncio.start_server(connected, "127.0.0.1", 0)
            self.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            self._is_up.set()
            await self._stopped.wait()
            server.close()
            for connection in connections:
                connection.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with _closing(writer):
            try:
                there_reader, there_writer = await asyncio.open_connection(self._host, self._port)
            except OSError:
                return
            async with _closing(there_writer), asyncio.TaskGroup() as group:
                group.create_task(_passed(reader, there_writer, self._inward))
                group.create_task(_passed(there_reader, writer, self._outward))


async def _passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK_BYTES):
            await gate.wait()
            writer.write(data)
            await writer.drain()
    await gate.wait()
    writer.close()


@contextlib.asynccontextmanager
async def _closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    try:
        yield
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
