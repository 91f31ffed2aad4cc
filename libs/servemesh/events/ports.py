"""What services ask of the event bus: announcements that may be lost, and facts that must not be."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One announcement as it came."""

    subject: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishReceipt:
    """What the broker stored. `duplicate` means that a message of this id was there already."""

    stream: str
    sequence: int
    duplicate: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamState:
    """The stream as the broker has it. A new `create_time` or a smaller last sequence is lost history."""

    create_time: datetime
    first_sequence: int
    last_sequence: int


class Link(Protocol):
    """The connection to the broker. It comes and goes; nothing fails to start because it is away."""

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection, as far as this side knows."""

    @property
    def connections(self) -> int:
        """How many connections there have been. A change tells that the broker was away in between."""

    async def connected(self) -> None:
        """Wait until there is a connection."""

    async def ping(self) -> None:
        """Go to the broker and back; UnavailableError if that fails within the request timeout."""


class Announcer(Protocol):
    """Sends what is worth nothing a second later: at most once, never waits, never fails for an outage."""

    async def announce(self, subject: str, data: bytes) -> None:
        """Send to whoever listens now; dropped without a word while the broker is away."""


class Subscription(Protocol):
    """Announcements in the order they came. When the reader is slow the oldest go, and are counted."""

    @property
    def dropped(self) -> int:
        """How many messages went unread."""

    def __aiter__(self) -> AsyncIterator[Message]:
        """Return itself."""

    async def __anext__(self) -> Message:
        """Wait for the next message. It never ends by itself, also not while the broker is away."""


class Listener(Protocol):
    """Hears announcements."""

    def subscribe(self, subject: str, *, queue_max: int = 1024) -> AbstractAsyncContextManager[Subscription]:
        """Listen to a subject (`*` is one token, a last `>` is the rest) for the length of the block."""


class Publisher(Protocol):
    """Stores facts in the stream: at least once, once per message id inside the duplicate window."""

    async def publish(self, subject: str, data: bytes, *, message_id: str) -> PublishReceipt:
        """Return when the broker has stored it.

        UnavailableError: it may or may not be stored; publish again with the same message id.
        InvalidError: the subject is not one of the stream's, or the data is too large.
        """


class StreamInspector(Protocol):
    """Lets the outbox relay see whether the broker still has what it confirmed."""

    async def stream_state(self) -> StreamState:
        """Return the state of the stream; UnavailableError when the broker is away."""

    async def find_message_id(self, sequence: int) -> str | None:
        """Return the id of the message stored at `sequence`; None if there is none (any more)."""


class Delivery(Protocol):
    """One fact given to a durable consumer, to be settled before its ack wait runs out.

    Settling is best effort: when it does not reach the broker the fact comes again. Consumers are idempotent.
    """

    @property
    def subject(self) -> str:
        """The subject it was published on."""

    @property
    def data(self) -> bytes:
        """The payload."""

    @property
    def message_id(self) -> str:
        """The id it was published with."""

    @property
    def sequence(self) -> int:
        """Its place in the stream."""

    @property
    def delivered_count(self) -> int:
        """How many times it was delivered, this one included."""

    async def ack(self) -> None:
        """Done: do not deliver it again. Waits for the broker's confirmation."""

    async def nak(self, *, delay_s: float = 0.0) -> None:
        """Not done: deliver it again, after `delay_s`."""

    async def in_progress(self) -> None:
        """Still working: start the ack wait anew."""


class Consumer(Protocol):
    """Reads facts from the stream, with a place in it that the broker remembers under a name."""

    def consume(
        self, durable: str, *, subjects: Sequence[str], ack_wait_s: float = 30.0, pending_max: int = 256
    ) -> AbstractAsyncContextManager[AsyncIterator[Delivery]]:
        """Iterate deliveries for ever, also over restarts of the broker, for the length of the block.

        At most `pending_max` facts are out unsettled among all that share the name.
        """


class Bus(Link, Announcer, Listener, Publisher, StreamInspector, Consumer, Protocol):
    """All of it: what an adapter offers. Services ask for the part they need."""
