"""How a server stops, says how it is, and describes itself, on every transport."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpc_health.v1 import health_pb2, health_pb2_grpc

from servemesh.api.oip.v2 import inference_pb2_grpc as oip_grpc
from servemesh.api.registry.v1 import registry_pb2_grpc
from servemesh.errors import MissingError, OverloadedError
from servemesh.rpc import client
from servemesh.rpc.edge import PUSHBACK_KEY
from servemesh.rpc.health import Health
from servemesh.rpc.server import Backend, serving
from servemesh.rpc.statuses import from_rpc_error
from tests.harness import raw_http2
from tests.harness.probe import SERVICE
from tests.harness.served_probe import TRANSPORTS, Served, Transport, refused, served_probe

HELLO = StringValue(value="hello")
MEDIUM = StringValue(value="x" * 1_000_000)
LARGE = StringValue(value="x" * 30_000_000)
Status = health_pb2.HealthCheckResponse
Held = Awaitable[StringValue]


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> Transport:
    return TRANSPORTS[request.param]


@pytest.fixture
def backend(transport: Transport) -> Backend:
    return transport.backend


@asynccontextmanager
async def stopping(
    transport: Transport, *, grace_s: float = 5.0, ended_within_s: float = 20.0
) -> AsyncIterator[tuple[Served, asyncio.Event]]:
    """Serve a probe that begins to stop when the event is set, beside the test's own block."""
    stop, started = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def serve() -> None:
        async with served_probe(transport, grace_s=grace_s, client_side=client_side) as served:
            started.set_result(served)
            await stop.wait()

    async with AsyncExitStack() as client_side, asyncio.timeout(ended_within_s), asyncio.TaskGroup() as group:
        group.create_task(serve())
        try:
            yield await started, stop
        finally:
            stop.set()


async def draining(served: Served) -> None:
    """Return once health says NOT_SERVING on a watch."""
    watch = health_pb2_grpc.HealthStub(served.channel).Watch(health_pb2.HealthCheckRequest())
    try:
        while (await watch.read()).status != Status.NOT_SERVING:
            pass
    finally:
        watch.cancel()


@asynccontextmanager
async def held_while_draining(
    transport: Transport, message: StringValue
) -> AsyncIterator[tuple[Served, Held]]:
    """Stop a server that has yet to answer `message`: with an echo of it, once `go` is set."""
    async with stopping(transport) as (served, stop):
        served.health.set("", True)
        held = served.stub.hold(message, timeout=30)
        await served.probe.arrived.wait()
        stop.set()
        await draining(served)
        yield served, held


async def test_calls_in_flight_are_answered_and_new_ones_sent_away(transport: Transport, backend: Backend):
    async with held_while_draining(transport, HELLO) as (served, held):
        error = await refused(served.stub.echo(HELLO, timeout=5))
        served.probe.go.set()
        assert await held == HELLO
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert from_rpc_error(error).reason == "DRAINING"
    if backend is Backend.GRPCIO:
        assert dict(error.trailing_metadata())[PUSHBACK_KEY] == "0"


async def test_a_large_answer_given_while_stopping_arrives_whole(transport: Transport):
    async with held_while_draining(transport, LARGE) as (served, held):
        served.probe.go.set()
        assert await held == LARGE


@asynccontextmanager
async def unread(served: Served) -> AsyncIterator[None]:
    """Call, and leave the answer that was given unread for the length of the block."""
    served.probe.response_bytes = len(MEDIUM.value)
    async with raw_http2.raw_connection(served.address) as connection, asyncio.timeout(20):
        await connection.begin(window_bytes=0)
        await connection.call(f"/{SERVICE}/Grow", raw_http2.message(HELLO.SerializeToString()))
        while (found := await connection.read()) is not None and found[0] != raw_http2.HEADERS:
            pass
        assert found is not None
        yield


async def test_a_client_that_does_not_read_its_answer_does_not_hold_up_a_stop(transport: Transport):
    # The server's pings would find it dead after a quarter of a minute.
    within = stopping(transport, grace_s=60, ended_within_s=10)
    async with AsyncExitStack() as afterwards, within as (served, stop):
        await afterwards.enter_async_context(unread(served))
        stop.set()


async def test_a_stream_that_ends_while_stopping_gets_its_last_message_and_status(transport: Transport):
    async with stopping(transport) as (served, stop):
        served.health.set("", True)
        chat = served.stub.chat(timeout=30)
        await chat.write(HELLO)
        assert await chat.read() == HELLO
        stop.set()
        await draining(served)
        await chat.write(MEDIUM)
        await chat.done_writing()
        assert await chat.read() == MEDIUM
        assert await chat.code() is grpc.StatusCode.OK


async def test_a_call_that_outlasts_the_grace_is_unavailable(transport: Transport):
    async with stopping(transport, grace_s=0.05) as (served, stop):
        held = served.stub.hold(HELLO, timeout=30)
        await served.probe.arrived.wait()
        stop.set()
        error = await refused(held)
    assert served.probe.cancelled.is_set()
    assert error.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_watcher_does_not_hold_up_a_stop(transport: Transport):
    async with stopping(transport, grace_s=60) as (served, stop):
        watch = health_pb2_grpc.HealthStub(served.channel).Watch(health_pb2.HealthCheckRequest())
        await watch.read()
        stop.set()


async def test_health_starts_not_serving_and_follows_each_service(transport: Transport):
    async with served_probe(transport) as served:
        stub = health_pb2_grpc.HealthStub(served.channel)
        assert await status_of(stub.Check(health_pb2.HealthCheckRequest())) == Status.NOT_SERVING
        served.health.set("", True)
        served.health.set("models/m", True)
        assert await status_of(stub.Check(health_pb2.HealthCheckRequest())) == Status.SERVING
        served.health.set("models/m", False)
        named = health_pb2.HealthCheckRequest(service="models/m")
        assert await status_of(stub.Check(named)) == Status.NOT_SERVING
        listed = await stub.List(health_pb2.HealthListRequest(), timeout=5)
        assert set(listed.statuses) == {"", "models/m"}
        served.health.remove("models/m")
        with pytest.raises(MissingError):
            await client.call(stub.Check, named, timeout_s=5)


async def test_a_watch_of_an_unknown_service_stays_open_until_it_is_known(transport: Transport):
    async with served_probe(transport) as served, asyncio.timeout(10):
        watch = health_pb2_grpc.HealthStub(served.channel).Watch(health_pb2.HealthCheckRequest(service="m"))
        assert (await watch.read()).status == Status.SERVICE_UNKNOWN
        served.health.set("m", True)
        assert (await watch.read()).status == Status.SERVING
        served.health.remove("m")
        assert (await watch.read()).status == Status.SERVICE_UNKNOWN
        watch.cancel()


async def test_watchers_beyond_the_bound_are_refused(backend: Backend):
    health = Health(watchers_max=1)
    request = health_pb2.HealthCheckRequest()
    async with (
        serving("127.0.0.1:0", [], health=health, backend=backend) as address,
        client.channel(address) as channel,
        asyncio.timeout(10),
    ):
        stub = health_pb2_grpc.HealthStub(channel)
        first = stub.Watch(request)
        await first.read()
        error = await refused(stub.Watch(request).read())
        first.cancel()
    assert isinstance(from_rpc_error(error), OverloadedError)


async def test_buf_curl_lists_and_describes_and_calls_what_a_server_offers(backend: Backend):
    def register(server: object) -> None:
        registry = registry_pb2_grpc.RegistryServiceServicer()
        registry_pb2_grpc.add_RegistryServiceServicer_to_server(registry, server)
        oip = oip_grpc.GRPCInferenceServiceServicer()
        oip_grpc.add_GRPCInferenceServiceServicer_to_server(oip, server)

    own, oip = "servemesh.api.registry.v1.RegistryService", "inference.GRPCInferenceService"
    async with serving("127.0.0.1:0", [register], health=Health(), backend=backend) as address:
        listed = await buf_curl(f"http://{address}", "--list-methods")
        called = await buf_curl(f"http://{address}/grpc.health.v1.Health/Check", "-d", "{}")
        not_offered = [
            await buf_curl(f"http://{address}/{method}", "-d", "{}")
            for method in (f"{own}/GetModel", f"{oip}/ModelInfer")
        ]
    assert {f"{own}/GetModel", f"{oip}/ModelInfer", f"{oip}/ModelStreamInfer"} <= set(listed.split())
    assert "NOT_SERVING" in called
    assert all("unimplemented" in answer for answer in not_offered)


async def buf_curl(url: str, *arguments: str) -> str:
    """Return what `buf curl` prints, on both streams."""
    buf = shutil.which("buf", path=str(Path(sys.executable).parent))
    assert buf is not None
    command = [buf, "curl", "--protocol", "grpc", "--http2-prior-knowledge", *arguments, url]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return output.decode()


async def status_of(call: Awaitable[health_pb2.HealthCheckResponse]) -> int:
    return (await call).status
