"""Serves an ASGI application over HTTP/1.1 with uvicorn, with the bounds that it has no setting for."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from servemesh.errors import UnavailableError
from servemesh.lifecycle import background

BACKLOG = 2_048


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """Bounds of one HTTP server, in bytes and seconds."""

    headers_bytes_max: int = 16 * 1024
    headers_timeout_s: float = 10.0
    idle_timeout_s: int = 300
    connections_max: int = 4_096
    grace_s: float = 30.0


@asynccontextmanager
async def serving_http(address: str, application: Any, limits: HttpLimits) -> AsyncIterator[str]:
    """Serve for the length of the block; yield the bound "host:port".

    Leaving drains: no new connections, requests in flight get `grace_s`.
    UnavailableError(ADDRESS_TAKEN) if somebody has the address.
    """
    with _bound(address) as listener:
        config = uvicorn.Config(
            application,
            http=_protocol(limits.headers_timeout_s),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=limits.connections_max,
            h11_max_incomplete_event_size=limits.headers_bytes_max,
            timeout_keep_alive=limits.idle_timeout_s,
            timeout_graceful_shutdown=max(1, round(limits.grace_s)),
        )
        server = _Server(config)
        host = address.rpartition(":")[0]

        async def serve() -> None:
            try:
                await server.serve(sockets=[listener])
            finally:
                server.ended.set()

        async with background(serve):
            await server.ready.wait()
            try:
                yield f"{host}:{listener.getsockname()[1]}"
            finally:
                server.should_exit = True
                await server.ended.wait()


class _Server(uvicorn.Server):
    """Leaves signals to the process, and says when it serves."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready, self.ended = asyncio.Event(), asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.ready.set()


def _protocol(headers_timeout_s: float) -> type[H11Protocol]:
    class PatientProtocol(H11Protocol):
        """Closes connections whose next request has begun, or was to begin, and does not come whole."""

        _late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._late = self.loop.call_later(headers_timeout_s, transport.abort)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.conn.their_state is not h11.IDLE:
                self._on_time()
            elif self._late is None:
                self._late = self.loop.call_later(headers_timeout_s, self.transport.abort)

        def connection_lost(self, exc: Exception | None) -> None:
            self._on_time()
            super().connection_lost(exc)

        def _on_time(self) -> None:
            if self._late is not None:
                self._late.cancel()
                self._late = None

    return PatientProtocol


@contextmanager
def _bound(address: str) -> Iterator[socket.socket]:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, int(port)), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        raise UnavailableError(
            f"cannot listen on {address} for HTTP: another process has it, or it is no address of this machine",
            reason="ADDRESS_TAKEN",
            address=address,
        ) from error
    with listener:
        yield listener
