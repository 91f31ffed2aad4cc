"""An event bus in memory, for tests and for meshes that live in one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta

from servemesh.errors import UnavailableError
from servemesh.events.mailbox import Mailbox
from servemesh.events.memory_consumer import Place, StoredFact
from servemesh.events.ports import Delivery, Message, PublishReceipt, StreamState, Subscription
from servemesh.events.settings import StreamSettings, check_fact
from servemesh.events.subjects import matches

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class MemoryBus:
    """Satisfies ports.Bus. `disconnect`, `reconnect` and `lose_history` do what befalls a real broker.

    The duplicate window never ends: facts are told apart by message id for as long as they are stored.
    """

    def __init__(self, settings: StreamSettings | None = None) -> None:
        self._settings = settings or StreamSettings()
        self._listeners: dict[Mailbox, str] = {}
        self._facts: dict[int, StoredFact] = {}
        self._sequences: dict[str, int] = {}  # by message id
        self._size_bytes = 0
        self._last_sequence = 0
        self._create_time = _EPOCH
        self._places: dict[str, Place] = {}
        self._connections = 1
        self._up = asyncio.Event()
        self._up.set()

    def disconnect(self) -> None:
        """Be away until `reconnect`."""
        self._up.clear()

    def reconnect(self) -> None:
        """Be there again."""
        self._connections += 1
        self._up.set()

    def lose_history(self) -> None:
        """Forget every fact and every place, as a broker whose disk was replaced."""
        self._create_time += timedelta(seconds=1)
        self._facts.clear()
        self._sequences.clear()
        self._last_sequence = self._size_bytes = 0
        for place in self._places.values():
            place.reset()

    @property
    def is_connected(self) -> bool:
        """Whether the bus is there."""
        return self._up.is_set()

    @property
    def connections(self) -> int:
        """How many connections there have been."""
        return self._connections

    async def connected(self) -> None:
        """Wait until there is a connection."""
        await self._up.wait()

    async def ping(self) -> None:
        """UnavailableError while the bus is away."""
        self._check()

    async def announce(self, subject: str, data: bytes) -> None:
        """Send to whoever listens now; dropped while the bus is away."""
        if self._up.is_set():
            for mailbox, pattern in self._listeners.items():
                if matches(pattern, subject):
                    mailbox.put(Message(subject=subject, data=data))

    @asynccontextmanager
    async def subscribe(self, subject: str, *, queue_max: int = 1024) -> AsyncIterator[Subscription]:
        """Listen to a subject for the length of the block."""
        mailbox = Mailbox(queue_max)
        self._listeners[mailbox] = subject
        try:
            yield mailbox
        finally:
            del self._listeners[mailbox]

    async def publish(self, subject: str, data: bytes, *, message_id: str) -> PublishReceipt:
        """Store a fact."""
        check_fact(self._settings, subject, data)
        self._check()
        sequence = self._sequences.get(message_id)
        duplicate = sequence is not None
        if sequence is None:
            sequence = self._store(StoredFact(subject=subject, data=data, message_id=message_id))
            await self.announce(subject, data)  # listeners hear facts too
        return PublishReceipt(stream=self._settings.name, sequence=sequence, duplicate=duplicate)

    async def stream_state(self) -> StreamState:
        """Return the state of the stream."""
        self._check()
        return StreamState(
            create_time=self._create_time,
            first_sequence=next(iter(self._facts), self._last_sequence + 1),
            last_sequence=self._last_sequence,
        )

    async def find_message_id(self, sequence: int) -> str | None:
        """Return the id of the message stored at `sequence`; None if there is none."""
        self._check()
        fact = self._facts.get(sequence)
        return fact.message_id if fact else None

    @asynccontextmanager
    async def consume(
        self, durable: str, *, subjects: Sequence[str], ack_wait_s: float = 30.0, pending_max: int = 256
    ) -> AsyncIterator[AsyncIterator[Delivery]]:
        """Iterate deliveries for ever."""
        place = self._places.setdefault(durable, Place(self._facts))
        place.configure(subjects, ack_wait_s=ack_wait_s, pending_max=pending_max)
        async with aclosing(place.deliveries(self._up)) as deliveries:
            yield deliveries

    def _store(self, fact: StoredFact) -> int:
        self._last_sequence += 1
        self._facts[self._last_sequence] = fact
        self._sequences[fact.message_id] = self._last_sequence
        self._size_bytes += len(fact.data)
        while self._size_bytes > self._settings.size_bytes_max:
            oldest = self._facts.pop(next(iter(self._facts)))
            self._sequences.pop(oldest.message_id, None)
            self._size_bytes -= len(oldest.data)
        for place in self._places.values():
            place.wake()
        return self._last_sequence

    def _check(self) -> None:
        if not self._up.is_set():
            raise UnavailableError("the event bus (NATS) is away; try again", reason="EVENT_BUS_AWAY")
