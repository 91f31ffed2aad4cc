"""The answers of a stream that its client has not taken yet, within bounds of number and bytes."""

from __future__ import annotations

import asyncio

from servemesh.api.oip.v2 import inference_pb2 as pb


class Answers:
    """Answers in the order in which they came; None is the end. Whoever puts more than there is room for waits."""

    def __init__(self, *, answers_max: int, bytes_max: int) -> None:
        self._queue: asyncio.Queue[tuple[pb.ModelStreamInferResponse | None, int]] = asyncio.Queue(
            answers_max
        )
        self._bytes_max = bytes_max
        self._bytes = 0
        self._taken = asyncio.Event()

    async def put(self, answer: pb.ModelStreamInferResponse | None) -> int:
        """Add an answer, whose size is returned. One may always wait, however large."""
        size_bytes = 0 if answer is None else answer.ByteSize()
        while self._bytes and self._bytes + size_bytes > self._bytes_max:
            self._taken.clear()
            await self._taken.wait()
        self._bytes += size_bytes
        await self._queue.put((answer, size_bytes))
        return size_bytes

    async def get(self) -> pb.ModelStreamInferResponse | None:
        """Take the next answer."""
        answer, size_bytes = await self._queue.get()
        self._bytes -= size_bytes
        self._taken.set()
        return answer
