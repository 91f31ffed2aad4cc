"""The place of a durable consumer in the stream of the bus in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass

from servemesh.events.subjects import is_streamed


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFact:
    """One fact of the stream."""

    subject: str
    data: bytes
    message_id: str


class Place:
    """Which facts were settled, which are out, and when those come again."""

    def __init__(self, facts: Mapping[int, StoredFact]) -> None:
        self._facts = facts
        self._subjects: tuple[str, ...] = ()
        self._ack_wait_s = 30.0
        self._pending_max = 256
        self._read_to = 0  # facts up to here were delivered at least once
        self._due_at: dict[int, float] = {}  # unsettled facts, and when they come again
        self._counts: dict[int, int] = {}
        self._woken = asyncio.Event()

    def configure(self, subjects: Sequence[str], *, ack_wait_s: float, pending_max: int) -> None:
        """Take over the settings of whoever consumes now."""
        self._subjects = tuple(subjects)
        self._ack_wait_s = ack_wait_s
        self._pending_max = pending_max

    def reset(self) -> None:
        """Start at the beginning."""
        self._read_to = 0
        self._due_at.clear()
        self._counts.clear()

    def wake(self) -> None:
        """Look again: something changed."""
        self._woken.set()

    async def deliveries(self, up: asyncio.Event) -> AsyncGenerator[MemoryDelivery, None]:
        """Yield what is due, for ever."""
        while True:
            await up.wait()
            self._woken.clear()
            sequence = self._next()
            if sequence is None:
                await self._wait()
            else:
                self._counts[sequence] = self._counts.get(sequence, 0) + 1
                self._lend(sequence, self._ack_wait_s)
                yield MemoryDelivery(self, sequence, self._facts[sequence], self._counts[sequence])

    def settle(self, sequence: int) -> None:
        """Never deliver this one again."""
        self._due_at.pop(sequence, None)
        self._counts.pop(sequence, None)
        self.wake()

    def postpone(self, sequence: int, delay_s: float | None = None) -> None:
        """Deliver this one again after `delay_s`, after the ack wait if None."""
        if sequence in self._due_at:  # else it is settled
            self._lend(sequence, self._ack_wait_s if delay_s is None else delay_s)
            self.wake()

    def _lend(self, sequence: int, wait_s: float) -> None:
        self._due_at[sequence] = asyncio.get_running_loop().time() + wait_s

    def _next(self) -> int | None:
        now = asyncio.get_running_loop().time()
        for sequence, due_at in sorted(self._due_at.items()):
            if sequence not in self._facts:  # the stream dropped it
                self.settle(sequence)
            elif due_at <= now:
                return sequence
        if len(self._due_at) >= self._pending_max:
            return None
        for sequence, fact in self._facts.items():
            if sequence > self._read_to:
                self._read_to = sequence
                if is_streamed(fact.subject, self._subjects):
                    return sequence
        return None

    async def _wait(self) -> None:
        """Wait until something changes or a fact is due again."""
        due_at = min(self._due_at.values(), default=None)
        try:
            async with asyncio.timeout_at(due_at):
                await self._woken.wait()
        except TimeoutError:
            return


class MemoryDelivery:
    """Satisfies ports.Delivery."""

    def __init__(self, place: Place, sequence: int, fact: StoredFact, delivered_count: int) -> None:
        self._place = place
        self._fact = fact
        self.sequence = sequence
        self.delivered_count = delivered_count

    @property
    def subject(self) -> str:
        """The subject it was published on."""
        return self._fact.subject

    @property
    def data(self) -> bytes:
        """The payload."""
        return self._fact.data

    @property
    def message_id(self) -> str:
        """The id it was published with."""
        return self._fact.message_id

    async def ack(self) -> None:
        """Done: do not deliver it again."""
        self._place.settle(self.sequence)

    async def nak(self, *, delay_s: float = 0.0) -> None:
        """Not done: deliver it again, after `delay_s`."""
        self._place.postpone(self.sequence, delay_s)

    async def in_progress(self) -> None:
        """Still working: start the ack wait anew."""
        self._place.postpone(self.sequence)
