"""A probe served on a free port, with a channel to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import grpc
import pytest

from servemesh.rpc import client
from servemesh.rpc.health import Health
from servemesh.rpc.limits import Limits
from servemesh.rpc.server import Backend, serving
from tests.harness.probe import Probe, ProbeStub
from tests.harness.probe_express import express


class Transport(NamedTuple):
    """What carries the calls: a backend, and whether unary methods have express lanes on it."""

    backend: Backend
    is_express: bool = False


TRANSPORTS = {
    "grpcio": Transport(Backend.GRPCIO),
    "native": Transport(Backend.NATIVE),
    "express": Transport(Backend.NATIVE, is_express=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A probe that is served, and the way to it."""

    probe: Probe
    stub: ProbeStub
    health: Health
    address: str
    channel: grpc.aio.Channel


@asynccontextmanager
async def served_probe(
    transport: Transport, *, grace_s: float = 5.0, client_side: AsyncExitStack | None = None, **limits: Any
) -> AsyncIterator[Served]:
    """Serve a probe under `limits`.

    Its channel closes after the server stopped, or with `client_side` where the last answer of a
    stopping server is awaited: a channel that closes before it cancels the call.
    """
    probe, health = Probe(), Health()
    async with AsyncExitStack() as own:
        client_side = client_side or own
        server = serving(
            "127.0.0.1:0",
            [probe.register],
            health=health,
            limits=Limits(**limits),
            grace_s=grace_s,
            backend=transport.backend,
            express=express(probe) if transport.is_express else None,
        )
        async with server as address:
            channel = await client_side.enter_async_context(client.channel(address))
            stub = ProbeStub(channel)
            yield Served(probe=probe, stub=stub, health=health, address=address, channel=channel)


async def refused(call: Awaitable[Any]) -> grpc.aio.AioRpcError:
    """Return the error that `call` ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value
