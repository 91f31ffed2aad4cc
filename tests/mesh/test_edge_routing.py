"""A real Envoy, fed by our ADS server: who answers which call."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import grpc
import pytest

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.gateway.domain.snapshot.values import Split
from tests.harness.edge import Edge, holding, running_edge
from tests.harness.oip_worker import SERVICE, oip_worker
from tests.harness.raw_http2 import INFER, raw_connection


async def test_a_call_goes_to_a_worker_that_holds_what_it_names(tmp_path: Path) -> None:
    async with oip_worker("one") as one, oip_worker("two") as two, running_edge(tmp_path) as edge:
        await edge.publish(
            [
                holding(one, models=["iris"], slots=["iris/1", "iris/prod"]),
                holding(two, models=["mnist"], slots=["mnist/1", "iris/2"]),
            ]
        )
        await edge.until_healthy(3)
        asked = [("iris", ""), ("iris", "1"), ("iris", "prod"), ("iris", "2"), ("mnist", ""), ("mnist", "1")]
        answers = [await edge.answered_by(*names) for names in asked]
        assert answers == ["one", "one", "one", "two", "two", "two"]


async def test_what_nobody_holds_goes_to_the_gateway(tmp_path: Path) -> None:
    async with oip_worker("one") as one, running_edge(tmp_path) as edge:
        await edge.publish([holding(one, models=["iris"], slots=["iris/1"])])
        await edge.until_healthy(2)
        assert await edge.answered_by("unknown") == "gateway"
        assert await edge.answered_by("iris", "9") == "gateway"


async def test_calls_without_version_are_shared_as_the_split_says(tmp_path: Path) -> None:
    async with oip_worker("one") as one, oip_worker("two") as two, running_edge(tmp_path) as edge:
        split = Split(model="iris", slots=("iris/1", "iris/prod"), up_to_percent=(80, 100))
        await edge.publish(
            [holding(one, slots=["iris/1"]), holding(two, slots=["iris/2", "iris/prod"])], [split]
        )
        await edge.until_healthy(3)
        answers = [await edge.infer() for _ in range(300)]
        counts = Counter(answer.id for answer in answers)
        assert 200 < counts["one"] < 275
        assert counts["one"] + counts["two"] == 300
        drawn = {
            answer.parameters["x-servemesh-slot"].string_param for answer in answers if answer.id == "two"
        }
        assert drawn == {"iris/prod"}
        assert await edge.answered_by("iris", "1") == "one"


async def test_the_edge_says_which_model_it_read(tmp_path: Path) -> None:
    async with oip_worker("one") as one, running_edge(tmp_path) as edge:
        await edge.publish([holding(one, models=["iris"], slots=["iris/1"])])
        await edge.until_healthy(2)
        told = (await edge.infer("iris", "1")).parameters
        assert told["x-servemesh-model"].string_param == "iris"
        assert told["x-servemesh-version"].string_param == "1"


async def test_headers_of_ours_that_a_client_sends_are_dropped(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge:
        forged = [("x-servemesh-model", "other"), ("x-servemesh-slot", "other/1"), ("x-servemesh-new", "1")]
        told = (await edge.infer("iris", metadata=forged)).parameters
        assert {key: told[key].string_param for key in told} == {"x-servemesh-model": "iris"}


async def test_the_trace_of_the_caller_passes_through(tmp_path: Path) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with running_edge(tmp_path) as edge:
        told = (await edge.infer(metadata=[("traceparent", parent)])).parameters
        assert told["traceparent"].string_param == parent


async def test_a_compressed_call_is_refused_at_the_edge(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge:
        error = await failing_gzip(edge)
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED
        assert error.details() == "compressed messages are not taken here: send them uncompressed"
        assert edge.gateway.calls == 0


@pytest.mark.parametrize("content", [b"", b"\0\0", b"\0\xff\xff\xff\xffabc", b"\0\0\0\0\1", b"\0\0\0\0\0x"])
async def test_a_message_whose_length_is_a_lie_is_refused_at_the_edge(tmp_path: Path, content: bytes) -> None:
    async with running_edge(tmp_path) as edge, raw_connection(edge.address) as connection, asyncio.timeout(5):
        await connection.begin()
        await connection.call(INFER, content)
        ended = await connection.until_ended()
    assert (ended["grpc-status"], edge.gateway.calls) == ("3", 0)


async def failing_gzip(edge: Edge) -> grpc.aio.AioRpcError:
    call = edge.channel.unary_unary(f"/{SERVICE}/ModelInfer")
    request = pb.ModelInferRequest(model_name="iris", id="x" * 1000).SerializeToString()
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call(request, timeout=5, compression=grpc.Compression.Gzip)
    return failed.value


async def test_other_methods_go_to_the_service_that_owns_them(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge:
        for method in (f"/{SERVICE}/ServerLive", "/servemesh.api.registry.v1.RegistryService/ServerLive"):
            answer = await edge.channel.unary_unary(method)(b"", timeout=5)
            assert pb.ServerLiveResponse.FromString(answer).live


async def test_a_stream_passes_message_by_message(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge:
        call = edge.channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")(timeout=10)
        try:
            for number in range(3):
                await call.write(bytes([number]))
                assert await call.read() == bytes([number])
        finally:
            call.cancel()


async def test_an_upload_is_not_held_back_at_the_edge(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge:
        method = "/servemesh.api.registry.v1.RegistryService/ModelStreamInfer"
        call = edge.channel.stream_stream(method)(timeout=30)
        try:
            for _ in range(100):  # more in sum than any buffer on the way
                await call.write(bytes(1 << 20))
                assert len(await call.read()) == 1 << 20
        finally:
            call.cancel()
