"""What the gateway hears of the fleet: announcements over NATS, listings from the registry."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Protocol, Self

import grpc
from google.protobuf.message import DecodeError

from servemesh.api.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from servemesh.api.registry.v1 import registry_pb2, registry_pb2_grpc
from servemesh.errors import InvalidError
from servemesh.events import subjects
from servemesh.events.ports import Link, Listener, Message
from servemesh.gateway.adapters.fleet_messages import traffic_of, worker_of, workers_of
from servemesh.gateway.domain.fleet import Worker
from servemesh.gateway.domain.snapshot.values import parse_address
from servemesh.gateway.domain.traffic import Traffic
from servemesh.gateway.service.fleet_watch import Announcement
from servemesh.observe import names
from servemesh.rpc import client

logger = logging.getLogger(__name__)

PAGE_SIZE = 1000
PAGES_MAX = 100
QUEUE_MAX = 4096


class ListeningBus(Link, Listener, Protocol):
    """The part of the event bus that is needed here."""


class BusFeed:
    """Announcements and registry facts from the event bus."""

    def __init__(self, bus: ListeningBus) -> None:
        self._bus = bus

    @asynccontextmanager
    async def announcements(self) -> AsyncIterator[AsyncIterator[Announcement]]:
        """Listen to workers for the length of the block."""
        async with self._bus.subscribe(subjects.WORKERS_ANNOUNCED, queue_max=QUEUE_MAX) as messages:
            yield _announcements(messages)

    @asynccontextmanager
    async def registry_facts(self) -> AsyncIterator[AsyncIterator[object]]:
        """Listen for whatever changes in the registry."""
        async with self._bus.subscribe(subjects.REGISTRY_FACTS) as messages:
            yield messages

    async def ping(self) -> None:
        """Go to the broker and back; UnavailableError while it is away."""
        await self._bus.ping()


class RegistryListing:
    """Listings of workers and Deployments, over one channel. Open for the length of an `async with`."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._channel: grpc.aio.Channel | None = None

    async def __aenter__(self) -> Self:
        self._channel = client.channel(self._address)
        self._fleet: Any = fleet_pb2_grpc.FleetServiceStub(self._channel)
        self._registry: Any = registry_pb2_grpc.RegistryServiceStub(self._channel)
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._channel is not None
        await self._channel.close()

    async def workers(self, *, timeout_s: float) -> tuple[Worker, ...]:
        """Return every worker with a lease; UnavailableError while the registry is away."""
        found: list[fleet_pb2.Worker] = []
        token = ""
        for _ in range(PAGES_MAX):
            request = fleet_pb2.ListWorkersRequest(page_size=PAGE_SIZE, page_token=token)
            page = await client.call(self._fleet.ListWorkers, request, timeout_s=timeout_s)
            found.extend(page.workers)
            token = page.next_page_token
            if not token:
                break
        return tuple([await _resolved(worker) for worker in workers_of(found)])

    async def traffic(self, *, timeout_s: float) -> Traffic:
        """Return how the calls for each deployed Model are shared; UnavailableError as above."""
        found: list[registry_pb2.Deployment] = []
        token = ""
        for _ in range(PAGES_MAX):
            request = registry_pb2.ListDeploymentsRequest(page_size=PAGE_SIZE, page_token=token)
            page = await client.call(self._registry.ListDeployments, request, timeout_s=timeout_s)
            found.extend(page.deployments)
            token = page.next_page_token
            if not token:
                break
        return traffic_of(found)


async def _announcements(messages: AsyncIterator[Message]) -> AsyncIterator[Announcement]:
    async for message in messages:
        try:
            heard = fleet_pb2.WorkerAnnouncement.FromString(message.data)
            worker = await _resolved(worker_of(heard.worker))
        except (DecodeError, InvalidError):
            logger.warning(names.ANNOUNCEMENT_MALFORMED, extra={"subject": message.subject})
            continue
        yield Announcement(worker=worker, sequence=heard.sequence, is_leaving=heard.leaving)


async def _resolved(worker: Worker) -> Worker:
    """Return the worker with a numeric address: Envoy resolves no names of endpoints."""
    try:
        address = parse_address(worker.address)
        ipaddress.ip_address(address.host)
    except InvalidError:
        return worker
    except ValueError:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                address.host, address.port, type=socket.SOCK_STREAM
            )
        except OSError:
            return worker
        return replace(worker, address=str(replace(address, host=str(found[0][4][0]))))
    return worker
