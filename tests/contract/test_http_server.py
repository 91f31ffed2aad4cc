"""The HTTP server keeps its bounds against clients that do not keep to theirs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from servemesh.errors import UnavailableError
from servemesh.web.http_server import HttpLimits, serving_http
from tests.harness.waiting import eventually


async def answering(scope: Any, receive: Any, send: Any) -> None:
    """Answer at once."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def connected(application: Any = answering, **limits: Any) -> AsyncIterator[Any]:
    async with serving_http("127.0.0.1:0", application, HttpLimits(grace_s=5, **limits)) as address:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            yield reader, writer
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def test_a_request_is_answered_and_the_connection_kept() -> None:
    async with connected() as (reader, writer):
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("beginning", [b"", b"GET / HTTP/1.1\r\nhost: x\r\n"])
async def test_headers_that_do_not_come_are_not_waited_for(beginning: bytes) -> None:
    async with connected(headers_timeout_s=0.05) as (reader, writer):
        writer.write(beginning)
        async with asyncio.timeout(5):
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)


async def test_headers_above_the_bound_are_refused() -> None:
    async with connected(headers_bytes_max=1024) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nlong: " + b"x" * 2_000)
        async with asyncio.timeout(5):
            assert (await reader.readline()).startswith(b"HTTP/1.1 400")


async def test_a_taken_address_is_a_clear_error() -> None:
    async with serving_http("127.0.0.1:0", answering, HttpLimits()) as address:
        with pytest.raises(UnavailableError) as refused:
            async with serving_http(address, answering, HttpLimits()):
                pass
    assert refused.value.reason == "ADDRESS_TAKEN"


async def test_a_request_in_flight_is_answered_before_the_server_ends() -> None:
    started, may_end, stopping = asyncio.Event(), asyncio.Event(), asyncio.Event()
    bound: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        started.set()
        await may_end.wait()
        await answering(scope, receive, send)

    async def serve() -> None:
        async with serving_http("127.0.0.1:0", slow, HttpLimits(grace_s=5)) as address:
            bound.set_result(address)
            await stopping.wait()

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(serve())
        host, _, port = (await bound).rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await started.wait()
        stopping.set()
        await eventually(lambda: _refuses(host, int(port)))
        may_end.set()
        assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200 OK")
        writer.close()
        await writer.wait_closed()


async def _refuses(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return True
    writer.close()
    await writer.wait_closed()
    return False
