"""Serves gRPC for the length of a block: on grpcio, or on pygrpc-native where every microsecond counts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from enum import Enum
from typing import TYPE_CHECKING, Any

import grpc

from servemesh.errors import UnavailableError
from servemesh.observe import names
from servemesh.rpc import health as health_service
from servemesh.rpc import reflection
from servemesh.rpc.calls import CallsInFlight, Deadlines
from servemesh.rpc.health import Health
from servemesh.rpc.limits import Limits
from servemesh.rpc.options import server_options
from servemesh.rpc.registration import Layers, Registration

if TYPE_CHECKING:
    from servemesh.rpc.express import ExpressHandler

Registrar = Callable[[Any], None]
# Of the native server, beside the event loop's. One is ahead of any event loop in Python; two hand calls to and fro.
IO_THREADS = 1
FLUSH_S = 2.0  # for the last answers to leave, once no call is in flight

_log = logging.getLogger(__name__)


class Backend(Enum):
    """What speaks HTTP/2. Both pass the same contract suite, with these differences.

    NATIVE costs a fifth of GRPCIO's CPU a call. It takes whole messages into memory before their size is
    checked, expands compressed ones without a bound, and sends no `grpc-retry-pushback-ms` (RetryInfo says the
    same): keep it behind Envoy, which checks both, or on addresses that only the mesh can reach.
    """

    GRPCIO = "grpcio"
    NATIVE = "native"


@asynccontextmanager
async def serving(
    address: str,
    registrars: Sequence[Registrar],
    *,
    health: Health,
    limits: Limits | None = None,
    grace_s: float = 30.0,
    backend: Backend = Backend.GRPCIO,
    express: Mapping[str, ExpressHandler] | None = None,
) -> AsyncIterator[str]:
    """Serve what `registrars` add, with health and reflection; yield the bound "host:port".

    Leaving the block drains: health turns NOT_SERVING, after `limits.drain_wait_s` new calls are refused
    UNAVAILABLE, calls in flight get `grace_s` to end and are then interrupted with UNAVAILABLE.
    Streaming handlers are async generators. `express` has handlers by the path of their method, which the native
    server shows each call before its servicer. UnavailableError(ADDRESS_TAKEN) if the address is in use.
    """
    limits = limits or Limits()
    calls = CallsInFlight(limits.calls_max)
    deadlines = Deadlines(limits.deadline_s_default, limits.deadline_s_max)
    layers = Layers(calls=calls, deadlines=deadlines, limits=limits, sends_pushback=backend is Backend.GRPCIO)
    server = _server(backend, layers, express or {})
    registration = Registration(server, layers, exempt=reflection.SERVICES | {health_service.SERVICE})
    for register in (*registrars, health.register):
        register(registration)
    reflection.register(registration)
    bound = _bound(server, address)
    await server.start()
    try:
        yield bound
    finally:
        await _stopped(server, health, calls, limits.drain_wait_s, grace_s)
        deadlines.close()


def _server(backend: Backend, layers: Layers, express: Mapping[str, ExpressHandler]) -> Any:
    options = server_options(layers.limits)
    if backend is Backend.NATIVE:
        from servemesh.rpc.express import ExpressServer, Lane  # optional: only the worker's extra brings it

        lanes = {method: Lane(method, handler, layers) for method, handler in express.items()}
        return ExpressServer(lanes, options=options, io_threads=IO_THREADS)
    return grpc.aio.server(options=options)


def _bound(server: Any, address: str) -> str:
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise UnavailableError(
            f"cannot listen on {address}: another process has it, or it is not an address of this machine",
            reason="ADDRESS_TAKEN",
            address=address,
        ) from error
    return f"{address.rpartition(':')[0]}:{port}"


async def _stopped(
    server: Any, health: Health, calls: CallsInFlight, drain_wait_s: float, grace_s: float
) -> None:
    try:
        health.drain()
        await asyncio.sleep(drain_wait_s)
        interrupted = await calls.drain(grace_s)
        if interrupted:
            _log.warning(names.RPC_INTERRUPTED, extra={"calls": interrupted})
    finally:
        health.end()
        await server.stop(FLUSH_S)
