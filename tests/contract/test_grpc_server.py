"""What every server of the mesh promises its callers, on every transport."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc import error_details_pb2, status_pb2

from servemesh import errors
from servemesh.rpc import client
from servemesh.rpc.edge import HELD_BYTES_MAX, LONG_KEY, PUSHBACK_KEY
from servemesh.rpc.health import Health
from servemesh.rpc.server import Backend, serving
from servemesh.rpc.statuses import from_rpc_error
from tests.harness.probe import SECRET, Probe, ProbeStub
from tests.harness.served_probe import TRANSPORTS, Served, Transport, refused, served_probe
from tests.harness.waiting import eventually

HELLO = StringValue(value="hello")
LEAVING_TURNS = range(0, 2_000, 40)  # of the event loop: such a call is answered within 6 to 1,800
Serve = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> Transport:
    return TRANSPORTS[request.param]


@pytest.fixture
def backend(transport: Transport) -> Backend:
    return transport.backend


@pytest.fixture
def serve(transport: Transport) -> Serve:
    return partial(served_probe, transport)


async def test_all_four_kinds_of_methods_answer(serve: Serve):
    words = [StringValue(value=word) for word in ("a", "b", "c")]
    async with serve() as served:
        assert await served.stub.echo(HELLO, timeout=5) == HELLO
        assert [m.value async for m in served.stub.count(StringValue(value="3"), timeout=5)] == [
            "0",
            "1",
            "2",
        ]
        assert (await served.stub.join(iter(words), timeout=5)).value == "abc"
        assert [m.value async for m in served.stub.chat(iter(words), timeout=5)] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidError("inputs[0] is FP32", reason="DATATYPE", field="inputs[0]", got="FP32"),
        errors.MissingError("no model 'm'", model="m"),
        errors.ConflictError("is not draft", state="ACTIVE"),
        errors.ExistsError("is there already"),
        errors.StaleError("changed since"),
        errors.OverloadedError("queue is full", reason="QUEUE_FULL", retry_after_s=0.25),
        errors.UnavailableError("the store is away", reason="STORE_AWAY"),
        errors.UnsupportedError("not offered"),
        errors.DamagedError("digest differs", sha256="00"),
        errors.ExpiredError("too late"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_typed_error_reaches_the_caller_as_it_was_raised(serve: Serve, error: errors.ServemeshError):
    async with serve() as served:
        served.probe.raises = error
        with pytest.raises(type(error)) as raised:
            await client.call(served.stub.echo, HELLO, timeout_s=5)
    got = raised.value
    assert type(got) is type(error)
    assert (got.message, got.reason, got.metadata) == (error.message, error.reason, error.metadata)
    assert got.retry_after_s == error.retry_after_s


async def test_a_status_carries_one_error_info_and_the_details_of_its_kind(serve: Serve, backend: Backend):
    async with serve() as served:
        served.probe.raises = errors.InvalidError("rank is 3", reason="RANK", field="inputs[1].shape")
        invalid = await refused(served.stub.echo(HELLO, timeout=5))
        served.probe.raises = errors.OverloadedError("queue is full", retry_after_s=0.25)
        overloaded = await refused(served.stub.echo(HELLO, timeout=5))
    assert detail_names(invalid) == ["google.rpc.ErrorInfo", "google.rpc.BadRequest"]
    info = unpacked(invalid, error_details_pb2.ErrorInfo())
    assert (info.reason, info.domain) == ("RANK", "servemesh.dev")
    bad_request = unpacked(invalid, error_details_pb2.BadRequest())
    assert bad_request.field_violations[0].field == "inputs[1].shape"
    assert detail_names(overloaded) == ["google.rpc.ErrorInfo", "google.rpc.RetryInfo"]
    if backend is Backend.GRPCIO:  # the native transport keeps this trailer for itself
        assert dict(overloaded.trailing_metadata())[PUSHBACK_KEY] == "250"


async def test_a_stream_that_fails_ends_with_the_typed_error(serve: Serve):
    async with serve() as served:
        served.probe.raises = errors.MissingError("gone", reason="GONE")
        call = served.stub.count(StringValue(value="2"), timeout=5)
        got = [(await call.read()).value for _ in range(2)]
        error = await refused(call.read())
    assert got == ["0", "1"]
    assert from_rpc_error(error).reason == "GONE"


@pytest.mark.parametrize("streaming", [False, True], ids=["unary", "stream"])
async def test_the_text_of_an_unexpected_error_is_logged_and_never_told(
    serve: Serve, streaming: bool, caplog: pytest.LogCaptureFixture
):
    async with serve() as served:
        served.probe.raises = PermissionError(SECRET)
        with caplog.at_level(logging.ERROR, logger="servemesh.rpc.edge"):
            call = (
                served.stub.count(StringValue(value="0"), timeout=5).read()
                if streaming
                else served.stub.echo(HELLO, timeout=5)
            )
            error = await refused(call)
    assert error.code() is grpc.StatusCode.INTERNAL
    told = f"{error.details()} {error.trailing_metadata()} {error.debug_error_string()}"
    assert SECRET not in told
    assert "PermissionError" not in told
    logged = [record for record in caplog.records if record.name == "servemesh.rpc.edge"]
    assert len(logged) == 1
    assert SECRET in str(logged[0].exc_info[1])
    assert logged[0].error_id in error.details()


@pytest.mark.parametrize("payload", [b"\xff\xff\xff", b"\x0a\xff", b"\x0a\x02\xff\xfe"])
async def test_bytes_that_are_no_message_are_invalid(serve: Serve, payload: bytes):
    async with serve() as served:
        error = await refused(served.stub.echo_bytes(payload, timeout=5))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert from_rpc_error(error).reason == "MESSAGE_MALFORMED"


async def test_a_method_without_code_is_unimplemented(serve: Serve):
    async with serve() as served:
        error = await refused(served.stub.missing(HELLO, timeout=5))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_client_that_leaves_cancels_the_handler(serve: Serve):
    async with serve() as served:
        call = served.stub.hold(HELLO, timeout=30)
        async with asyncio.timeout(5):
            await served.probe.arrived.wait()
            call.cancel()
            await served.probe.cancelled.wait()


async def test_the_clients_deadline_cancels_the_handler(serve: Serve):
    async with serve() as served:
        error = await refused(served.stub.hold(HELLO, timeout=0.2))
        async with asyncio.timeout(5):
            await served.probe.cancelled.wait()
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("timeout_s", [None, 60.0], ids=["none", "too long"])
async def test_a_call_ends_at_the_servers_deadline_when_the_client_gave_none_or_more(
    serve: Serve, timeout_s: float | None
):
    async with serve(deadline_s_default=0.05, deadline_s_max=0.05) as served:
        error = await refused(served.stub.hold(HELLO, timeout=timeout_s))
        assert served.probe.cancelled.is_set()
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert from_rpc_error(error).reason == "DEADLINE_IMPOSED"


async def test_a_handler_cancelled_from_within_is_unavailable_not_silent(serve: Serve):
    async with serve() as served:
        served.probe.raises = asyncio.CancelledError()
        error = await refused(served.stub.echo(HELLO, timeout=5))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert from_rpc_error(error).reason == "INTERRUPTED"


async def test_a_client_may_leave_at_any_moment_of_a_long_answer(
    serve: Serve, caplog: pytest.LogCaptureFixture
):
    async with serve(calls_max=1) as served:
        served.probe.response_bytes = 2 * HELD_BYTES_MAX
        with caplog.at_level(logging.ERROR):
            for after in LEAVING_TURNS:
                call = served.stub.grow(HELLO, timeout=20)
                for _ in range(after):
                    await asyncio.sleep(0)
                call.cancel()

            async def the_only_place_is_free() -> bool:
                try:
                    return len((await served.stub.grow(HELLO, timeout=20)).value) == 2 * HELD_BYTES_MAX
                except grpc.aio.AioRpcError as error:
                    if from_rpc_error(error).reason != "CALLS_IN_FLIGHT":
                        raise
                    return False

            await eventually(the_only_place_is_free)
    assert not caplog.records


async def test_metadata_beyond_the_bound_is_refused(serve: Serve):
    async with serve() as served:
        fits = (("x-big", "y" * 15_000),)
        assert await served.stub.echo(HELLO, timeout=5, metadata=fits) == HELLO
        error = await refused(served.stub.echo(HELLO, timeout=5, metadata=(("x-big", "y" * 17_000),)))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_request_beyond_the_bound_is_refused(serve: Serve):
    async with serve(message_bytes_max=100_000) as served:
        assert len((await served.stub.echo(StringValue(value="x" * 99_000), timeout=5)).value) == 99_000
        error = await refused(served.stub.echo(StringValue(value="x" * 100_001), timeout=5))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_response_beyond_the_bound_is_a_typed_error(serve: Serve):
    async with serve(message_bytes_max=100_000) as served:
        served.probe.response_bytes = 100_001
        error = await refused(served.stub.grow(HELLO, timeout=5))
    assert from_rpc_error(error).reason == "RESPONSE_TOO_LARGE"


async def test_grpcio_refuses_compressed_requests():
    # The native transport expands them instead, up to the message bound: see Backend.
    probe = Probe()
    async with (
        serving("127.0.0.1:0", [probe.register], health=Health()) as address,
        client.channel(address) as channel,
    ):
        call = ProbeStub(channel).echo(
            StringValue(value="x" * 5_000), timeout=5, compression=grpc.Compression.Gzip
        )
        error = await refused(call)
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_calls_beyond_the_bound_in_flight_are_refused_with_a_wait(serve: Serve):
    async with serve(calls_max=1) as served:
        held = served.stub.hold(HELLO, timeout=30)
        await served.probe.arrived.wait()
        error = await refused(served.stub.echo(HELLO, timeout=5))
        served.probe.go.set()
        assert await held == HELLO
        assert await served.stub.echo(HELLO, timeout=5) == HELLO
    assert from_rpc_error(error).reason == "CALLS_IN_FLIGHT"
    assert from_rpc_error(error).retry_after_s == 0.1


async def test_five_thousand_calls_on_a_fresh_channel_are_answered_or_refused_in_words(serve: Serve):
    async with serve(calls_max=4_000) as served:
        calls = [served.stub.echo(HELLO, timeout=50) for _ in range(5_000)]
        codes = Counter([await call.code() for call in calls])
    assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert codes[grpc.StatusCode.OK] >= 4_000


async def test_a_taken_port_is_a_clear_error(serve: Serve, backend: Backend):
    async with serve() as served:
        with pytest.raises(errors.UnavailableError, match=served.address) as raised:
            async with serving(served.address, [], health=Health(), backend=backend):
                pass
    assert raised.value.reason == "ADDRESS_TAKEN"


def details_of(error: grpc.aio.AioRpcError) -> list[object]:
    value = dict(error.trailing_metadata())["grpc-status-details-bin"]
    return list(status_pb2.Status.FromString(value).details)


def detail_names(error: grpc.aio.AioRpcError) -> list[str]:
    return [detail.TypeName() for detail in details_of(error)]


def unpacked(error: grpc.aio.AioRpcError, message: object) -> object:
    assert any(detail.Unpack(message) for detail in details_of(error))
    return message


@pytest.mark.parametrize(("size_bytes", "is_long"), [(1_000_000, False), (2_000_000, True)])
async def test_the_headers_of_a_long_answer_say_so(transport: Transport, size_bytes: int, is_long: bool):
    async with served_probe(transport) as served:
        served.probe.response_bytes = size_bytes
        call = served.stub.grow(StringValue(value="hello"), timeout=10)
        assert len((await call).value) == size_bytes
        assert (LONG_KEY in dict(await call.initial_metadata())) == is_long
