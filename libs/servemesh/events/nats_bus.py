"""The event bus on NATS: core messages for announcements, one JetStream stream for facts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as NatsSubscription
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig, StreamInfo

from servemesh.errors import InvalidError, UnavailableError
from servemesh.events.mailbox import Mailbox
from servemesh.events.nats_consumer import consuming
from servemesh.events.nats_link import OUTAGE, NatsLink, away
from servemesh.events.ports import Delivery, Message, PublishReceipt, StreamState, Subscription
from servemesh.events.settings import BusSettings, check_fact
from servemesh.lifecycle import background

_MESSAGE_ID = "Nats-Msg-Id"


class NatsBus:
    """Satisfies ports.Bus. `async with NatsBus.running(settings) as bus` works while NATS is down."""

    def __init__(self, settings: BusSettings) -> None:
        self._settings = settings
        self._link = NatsLink(settings, self._attach_all)
        self._listeners: dict[Mailbox, str] = {}
        self._handles: dict[Mailbox, NatsSubscription] = {}
        self._prepared: Client | None = None  # the client through which the stream was ensured

    @classmethod
    @asynccontextmanager
    async def running(cls, settings: BusSettings) -> AsyncIterator[NatsBus]:
        """Keep connected for the length of the block."""
        bus = cls(settings)
        async with background(bus._link.run):
            yield bus

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection, as far as this side knows."""
        return self._link.find_client() is not None

    @property
    def connections(self) -> int:
        """How many connections there have been."""
        return self._link.connections

    async def connected(self) -> None:
        """Wait until there is a connection."""
        await self._link.wait_client()

    async def ping(self) -> None:
        """Go to the broker and back; UnavailableError if that fails."""
        client = self._link.get_client()
        try:
            await client.flush(timeout=self._settings.request_timeout_s)  # type: ignore[arg-type]
        except OUTAGE as error:
            raise away() from error

    async def announce(self, subject: str, data: bytes) -> None:
        """Send to whoever listens now; dropped while the broker is away."""
        client = self._link.find_client()
        if client is None:
            return
        try:
            await client.publish(subject, data)
        except nats.errors.MaxPayloadError as error:
            raise _too_large(data) from error
        except OUTAGE:
            return

    @asynccontextmanager
    async def subscribe(self, subject: str, *, queue_max: int = 1024) -> AsyncIterator[Subscription]:
        """Listen to a subject for the length of the block."""
        mailbox = Mailbox(queue_max)
        self._listeners[mailbox] = subject
        try:
            client = self._link.find_client()
            if client is not None:
                with suppress(*OUTAGE):  # the next connection attaches it again
                    await self._attach(client, mailbox, subject)
                    await client.flush(timeout=self._settings.request_timeout_s)  # type: ignore[arg-type]
            yield mailbox
        finally:
            del self._listeners[mailbox]
            handle = self._handles.pop(mailbox, None)
            if handle is not None:
                with suppress(*OUTAGE):
                    await handle.unsubscribe()

    async def publish(self, subject: str, data: bytes, *, message_id: str) -> PublishReceipt:
        """Return when the broker has stored it."""
        check_fact(self._settings.stream, subject, data)
        client = await self._prepared_client()
        try:
            ack = await client.jetstream().publish(
                subject,
                data,
                timeout=self._settings.request_timeout_s,
                stream=self._settings.stream.name,
                headers={_MESSAGE_ID: message_id},
            )
        except nats.js.errors.NoStreamResponseError as error:
            self._prepared = None  # somebody removed the stream: the next call makes it again
            raise away() from error
        except OUTAGE as error:
            raise away() from error
        return PublishReceipt(stream=ack.stream, sequence=ack.seq, duplicate=bool(ack.duplicate))

    async def stream_state(self) -> StreamState:
        """Return the state of the stream."""
        client = await self._prepared_client()
        try:
            info = await client.jetstream().stream_info(self._settings.stream.name)
        except OUTAGE as error:
            raise self._stream_lost(error) from error
        if info.created is None:
            raise UnavailableError("the event bus (NATS) does not tell the age of its stream")
        return StreamState(
            create_time=info.created,
            first_sequence=info.state.first_seq,
            last_sequence=info.state.last_seq,
        )

    async def find_message_id(self, sequence: int) -> str | None:
        """Return the id of the message stored at `sequence`; None if there is none."""
        if sequence < 1:
            return None
        client = await self._prepared_client()
        try:
            stored = await client.jetstream().get_msg(self._settings.stream.name, seq=sequence)
        except nats.js.errors.NotFoundError:
            return None
        except OUTAGE as error:
            raise self._stream_lost(error) from error
        return (stored.headers or {}).get(_MESSAGE_ID)

    def consume(
        self, durable: str, *, subjects: Sequence[str], ack_wait_s: float = 30.0, pending_max: int = 256
    ) -> AbstractAsyncContextManager[AsyncIterator[Delivery]]:
        """Iterate deliveries for ever, also over restarts of the broker."""
        return consuming(
            self._link,
            self._prepare,
            self._settings,
            durable,
            subjects=subjects,
            ack_wait_s=ack_wait_s,
            pending_max=pending_max,
        )

    async def _attach_all(self, client: Client) -> None:
        self._handles.clear()
        for mailbox, subject in list(self._listeners.items()):
            await self._attach(client, mailbox, subject)

    async def _attach(self, client: Client, mailbox: Mailbox, subject: str) -> None:
        async def heard(message: Msg) -> None:
            mailbox.put(Message(subject=message.subject, data=message.data))

        self._handles[mailbox] = await client.subscribe(subject, cb=heard)

    async def _prepared_client(self) -> Client:
        client = self._link.get_client()
        try:
            await self._prepare(client)
        except OUTAGE as error:
            raise away() from error
        return client

    async def _prepare(self, client: Client) -> None:
        """Make sure once per connection that the stream is there, as the settings say."""
        if self._prepared is not client:
            await _ensure_stream(client, self._settings)
            self._prepared = client

    def _stream_lost(self, error: Exception) -> UnavailableError:
        if isinstance(error, nats.js.errors.NotFoundError):
            self._prepared = None
        return away()


async def _ensure_stream(client: Client, settings: BusSettings) -> StreamInfo:
    stream = settings.stream
    config = StreamConfig(
        name=stream.name,
        subjects=list(stream.subjects),
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_bytes=stream.size_bytes_max,
        max_msg_size=stream.message_bytes_max + 1024,  # the server counts headers too
        duplicate_window=stream.duplicate_window_s,
        num_replicas=stream.replicas,
    )
    context = client.jetstream(timeout=settings.request_timeout_s)
    try:
        return await context.add_stream(config)
    except nats.js.errors.BadRequestError:  # there is one with other settings
        return await context.update_stream(config)


def _too_large(data: bytes) -> InvalidError:
    return InvalidError(
        f"data has {len(data)} bytes, more than the event bus takes",
        reason="EVENT_TOO_LARGE",
        field="data",
        got=len(data),
    )
