"""One connection to NATS, made again for ever.

nats-py can reconnect by itself, but then pull requests are lost in silence and announcements pile up and come
late. Here each connection is a new client: what depends on it sees the loss at once and starts afresh.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

import nats.errors
from nats.aio.client import Client

from servemesh.errors import UnavailableError
from servemesh.events.settings import BusSettings
from servemesh.observe import names

log = logging.getLogger(__name__)

# What nats-py raises when the server is away, slow or closes the connection.
OUTAGE = (nats.errors.Error, OSError, TimeoutError, asyncio.TimeoutError)


class NatsLink:
    """Keeps a client connected while `run` runs."""

    def __init__(self, settings: BusSettings, attach: Callable[[Client], Awaitable[None]]) -> None:
        self._settings = settings
        self._attach = attach
        self._client: Client | None = None
        self._up = asyncio.Event()
        self._connections = 0

    @property
    def connections(self) -> int:
        """How many connections there have been."""
        return self._connections

    def find_client(self) -> Client | None:
        """Return the connected client, None while there is none."""
        return self._client if self._client is not None and self._client.is_connected else None

    def get_client(self) -> Client:
        """Return the connected client; UnavailableError while there is none."""
        client = self.find_client()
        if client is None:
            raise away()
        return client

    async def wait_client(self) -> Client:
        """Wait until there is a connection."""
        while (client := self.find_client()) is None:
            # The loss may not have reached `run` yet: let it, instead of spinning on a stale event.
            await asyncio.sleep(0)
            await self._up.wait()
        return client

    async def run(self) -> None:
        """Connect, wait for the loss, connect again: until cancelled."""
        wait_s = self._settings.retry_wait_s_min
        while True:
            connections = self._connections
            try:
                await self._hold()
            except OUTAGE as error:
                log.debug(names.NATS_CONNECT_FAILED, extra={"cause": type(error).__name__})
            if self._connections > connections:
                wait_s = self._settings.retry_wait_s_min
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))
            wait_s = min(2 * wait_s, self._settings.retry_wait_s_max)

    async def _hold(self) -> None:
        """Hold one connection until it is lost."""
        lost = asyncio.Event()
        client = Client()

        async def closed() -> None:
            lost.set()

        try:
            await self._connect(client, closed)
            await self._attach(client)
            self._client = client
            self._connections += 1
            self._up.set()
            log.info(names.NATS_CONNECTED)
            await lost.wait()
            log.warning(names.NATS_LOST)
        finally:
            self._up.clear()
            self._client = None
            await self._close(client)

    async def _connect(self, client: Client, closed: Callable[[], Awaitable[None]]) -> None:
        settings = self._settings
        await client.connect(
            settings.url,
            name=settings.client_name,
            allow_reconnect=False,
            # nats-py tries this server this many times more, then raises.
            max_reconnect_attempts=1,
            reconnect_time_wait=settings.retry_wait_s_min,  # type: ignore[arg-type]  # a float will do
            connect_timeout=settings.connect_timeout_s,  # type: ignore[arg-type]
            ping_interval=settings.ping_interval_s,  # type: ignore[arg-type]
            max_outstanding_pings=settings.pings_unanswered_max,
            pending_size=settings.pending_bytes_max,
            flush_timeout=settings.request_timeout_s,
            closed_cb=closed,
            error_cb=_noted,
        )

    async def _close(self, client: Client) -> None:
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                await client.close()
        except OUTAGE as error:
            log.debug(names.NATS_CLOSE_FAILED, extra={"cause": type(error).__name__})


async def _noted(error: Exception) -> None:
    log.debug(names.NATS_ERROR, extra={"cause": type(error).__name__})


def away() -> UnavailableError:
    """Return the error that says that the broker is away."""
    return UnavailableError("the event bus (NATS) is away; try again", reason="EVENT_BUS_AWAY")
