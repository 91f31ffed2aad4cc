"""The gateway's side of ADS: gives every Envoy that asks the newest tables, and keeps giving them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, Protocol

from envoy.service.discovery.v3 import ads_pb2_grpc

from servemesh.gateway.adapters.xds_messages import Tables, tables_of
from servemesh.gateway.adapters.xds_subscriptions import Refusal, Request, Response, Subscriptions
from servemesh.gateway.domain.snapshot.values import Snapshot
from servemesh.observe import metrics, names

logger = logging.getLogger(__name__)


class Snapshots(Protocol):
    """Where the snapshots come from."""

    @property
    def snapshot(self) -> Snapshot | None:
        """The newest; None while nothing is known."""

    async def changed_from(self, seen: Snapshot | None) -> Snapshot:
        """Return the first snapshot that is not the one `seen`."""
        ...


class XdsServer(ads_pb2_grpc.AggregatedDiscoveryServiceServicer):  # type: ignore[misc]
    """Serves the state of the world over aggregated streams."""

    def __init__(
        self,
        snapshots: Snapshots,
        *,
        debounce_s: float = 0.02,
        refused: Callable[[Refusal], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._snapshots = snapshots
        self._debounce_s = debounce_s
        self._refused = refused
        self._clock = clock
        self._cache: tuple[Snapshot, Tables] | None = None

    def register(self, server: Any) -> None:
        """Add the service to a server."""
        ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(self, server)

    async def StreamAggregatedResources(  # noqa: N802
        self, requests: AsyncIterator[Request], context: Any
    ) -> AsyncIterator[Response]:
        subscriptions = Subscriptions()
        # Asked once: it belongs to the connection, and asking after that has gone crashes the process (grpc#29927).
        peer = context.peer()
        metrics.gauge(names.GATEWAY_XDS_STREAMS).inc()
        logger.info(names.XDS_CONNECTED, extra={"peer": peer})
        try:
            async with aclosing(self._occasions(requests, subscriptions)) as occasions:
                async for tables in occasions:
                    for response in subscriptions.due(tables, now=self._clock()):
                        yield response
        finally:
            metrics.gauge(names.GATEWAY_XDS_STREAMS).dec()
            logger.info(names.XDS_DISCONNECTED, extra={"peer": peer})

    async def _occasions(
        self, requests: AsyncIterator[Request], subscriptions: Subscriptions
    ) -> AsyncGenerator[Tables, None]:
        """Yield the tables whenever there may be something to tell, until Envoy hangs up."""
        seen: Snapshot | None = None
        async with asyncio.TaskGroup() as group:
            request = group.create_task(_next(requests))
            change = group.create_task(self._snapshots.changed_from(seen))
            try:
                while True:
                    await asyncio.wait(
                        (request, change),
                        return_when=asyncio.FIRST_COMPLETED,
                        timeout=subscriptions.due_in_s(now=self._clock()),
                    )
                    if request.done():
                        if (received := request.result()) is None:
                            return
                        self._note(subscriptions.received(received, self._tables()))
                        request = group.create_task(_next(requests))
                    if change.done():
                        await asyncio.sleep(self._debounce_s)  # several changes in a row are one
                        seen = self._snapshots.snapshot
                        change = group.create_task(self._snapshots.changed_from(seen))
                    yield self._tables()
            finally:
                request.cancel()
                change.cancel()

    def _tables(self) -> Tables:
        snapshot = self._snapshots.snapshot
        if snapshot is None:
            return {}
        if self._cache is None or self._cache[0] is not snapshot:
            self._cache = (snapshot, tables_of(snapshot))
        return self._cache[1]

    def _note(self, refusal: Refusal | None) -> None:
        if refusal is None:
            return
        logger.error(
            names.XDS_REFUSED,
            extra={"type_url": refusal.type_url, "version": refusal.version, "detail": refusal.reason},
        )
        metrics.counter(names.GATEWAY_XDS_REFUSALS).labels(type=refusal.type_url.rpartition(".")[2]).inc()
        if self._refused is not None:
            self._refused(refusal)


async def _next(requests: AsyncIterator[Request]) -> Request | None:
    return await anext(requests, None)
