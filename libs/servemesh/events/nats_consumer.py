"""A durable JetStream consumer that goes on after the server restarted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig

from servemesh.events.nats_link import OUTAGE, NatsLink
from servemesh.events.ports import Delivery
from servemesh.events.settings import BusSettings
from servemesh.observe import names

log = logging.getLogger(__name__)

_FETCH_WAIT_S = 5.0  # one pull request waits this long at the server for a message
_HEARTBEAT_S = 1.0
Prepare = Callable[[Client], Awaitable[None]]


@asynccontextmanager
async def consuming(
    link: NatsLink,
    prepare: Prepare,
    settings: BusSettings,
    durable: str,
    *,
    subjects: Sequence[str],
    ack_wait_s: float,
    pending_max: int,
) -> AsyncIterator[AsyncIterator[Delivery]]:
    """Iterate deliveries of a durable consumer; a lost connection is waited out, and the place is kept."""
    config = ConsumerConfig(
        durable_name=durable,
        filter_subjects=list(subjects),
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ack_wait_s,
        max_ack_pending=pending_max,
        max_deliver=-1,
    )
    async with aclosing(_deliveries(link, prepare, settings, config)) as deliveries:
        yield deliveries


async def _deliveries(
    link: NatsLink, prepare: Prepare, settings: BusSettings, config: ConsumerConfig
) -> AsyncGenerator[Delivery, None]:
    while True:
        client = await link.wait_client()
        try:
            await prepare(client)
            async with aclosing(_pulled(client, settings, config)) as messages:
                async for message in messages:
                    yield NatsDelivery(message, settings.request_timeout_s)
        except OUTAGE as error:
            _pass_cancellation()
            log.warning(names.NATS_CONSUMER_INTERRUPTED, extra={"cause": type(error).__name__})
            await asyncio.sleep(settings.retry_wait_s_min)


async def _pulled(client: Client, settings: BusSettings, config: ConsumerConfig) -> AsyncGenerator[Msg, None]:
    """Pull one message at a time, so that no ack wait runs for a message that sits in a queue of ours."""
    context = client.jetstream(timeout=settings.request_timeout_s)
    await context.add_consumer(settings.stream.name, config)
    pull = await context.pull_subscribe_bind(durable=config.durable_name, stream=settings.stream.name)
    try:
        while True:
            try:
                messages = await pull.fetch(1, timeout=_FETCH_WAIT_S, heartbeat=_HEARTBEAT_S)
            except nats.errors.TimeoutError:
                _pass_cancellation()
                continue
            for message in messages:
                yield message
    finally:
        with suppress(*OUTAGE):
            await pull.unsubscribe()


def _pass_cancellation() -> None:
    """nats-py turns a cancellation during a disconnect into an error of its own: turn it back."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class NatsDelivery:
    """Satisfies ports.Delivery."""

    def __init__(self, message: Msg, timeout_s: float) -> None:
        self._message = message
        self._timeout_s = timeout_s

    @property
    def subject(self) -> str:
        """The subject it was published on."""
        return str(self._message.subject)

    @property
    def data(self) -> bytes:
        """The payload."""
        return bytes(self._message.data)

    @property
    def message_id(self) -> str:
        """The id it was published with."""
        return str((self._message.headers or {}).get("Nats-Msg-Id", ""))

    @property
    def sequence(self) -> int:
        """Its place in the stream."""
        return int(self._message.metadata.sequence.stream)

    @property
    def delivered_count(self) -> int:
        """How many times it was delivered, this one included."""
        return int(self._message.metadata.num_delivered)

    async def ack(self) -> None:
        """Done: waits for the server's confirmation; without one the message comes again."""
        with suppress(*OUTAGE):
            await self._message.ack_sync(timeout=self._timeout_s)

    async def nak(self, *, delay_s: float = 0.0) -> None:
        """Not done: deliver it again, after `delay_s`."""
        with suppress(*OUTAGE):
            await self._message.nak(delay=delay_s)

    async def in_progress(self) -> None:
        """Still working: start the ack wait anew."""
        with suppress(*OUTAGE):
            await self._message.in_progress()
