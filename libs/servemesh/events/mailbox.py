"""A bounded queue between a broker that does not wait and a reader that may be slow."""

from __future__ import annotations

import asyncio
from collections import deque

from servemesh.events.ports import Message


class Mailbox:
    """Keeps the newest `queue_max` messages: the oldest are dropped and counted. Satisfies Subscription."""

    def __init__(self, queue_max: int) -> None:
        self._messages: deque[Message] = deque()
        self._queue_max = queue_max
        self._filled = asyncio.Event()
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """How many messages went unread."""
        return self._dropped

    def put(self, message: Message) -> None:
        """Add a message; never waits."""
        if len(self._messages) >= self._queue_max:
            self._messages.popleft()
            self._dropped += 1
        self._messages.append(message)
        self._filled.set()

    def __aiter__(self) -> Mailbox:
        """Return itself."""
        return self

    async def __anext__(self) -> Message:
        """Wait for the next message."""
        while not self._messages:
            self._filled.clear()
            await self._filled.wait()
        return self._messages.popleft()
