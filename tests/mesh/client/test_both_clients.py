"""Both clients over real gRPC, one suite: failing over, pushback, deadlines, typed errors."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import grpc
import numpy as np
import pytest

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.api.oip.v2 import inference_pb2_grpc as pb_grpc
from servemesh.client import AsyncClient, Client, InferRequest, RetryPolicy
from servemesh.errors import ExpiredError, InvalidError, MissingError, ServemeshError, UnavailableError
from servemesh.rpc import stream_errors
from servemesh.rpc.edge import to_status

Answer = Callable[[], Awaitable[None]]
INPUT = {"x": np.array([[1.0, 2.0]], dtype=np.float32)}


class ScriptedModel(pb_grpc.GRPCInferenceServiceServicer):
    """Doubles x, after whatever the test has put in its way."""

    def __init__(self) -> None:
        self.calls = 0
        self.obstacles: list[ServemeshError | float] = []

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Any) -> pb.ModelInferResponse:
        self.calls += 1
        if self.obstacles:
            obstacle = self.obstacles.pop(0)
            if isinstance(obstacle, ServemeshError):
                await context.abort_with_status(to_status(obstacle))
            else:
                await asyncio.wait([asyncio.current_task()], timeout=obstacle)  # type: ignore[list-item]
        x = np.frombuffer(request.raw_input_contents[0], np.float32)
        response = pb.ModelInferResponse(model_name=request.model_name, model_version="1", id=request.id)
        response.outputs.add(name="y", datatype="FP32", shape=request.inputs[0].shape)
        response.raw_output_contents.append((x * 2).tobytes())
        return response

    async def ModelStreamInfer(
        self, requests: AsyncIterator[pb.ModelInferRequest], context: Any
    ) -> AsyncIterator[pb.ModelStreamInferResponse]:
        """Answers two at a time, the later first; `broken` ends the stream."""
        held: list[pb.ModelStreamInferResponse] = []
        async for request in requests:
            if request.model_name == "broken":
                return
            response = await self.ModelInfer(request, context)
            answer = pb.ModelStreamInferResponse(infer_response=response)
            if request.model_name == "refused":
                error = MissingError(
                    "Request for unknown model: 'refused' is not found", reason="MODEL_UNKNOWN"
                )
                answer = pb.ModelStreamInferResponse(
                    error_message=error.message, infer_response=pb.ModelInferResponse(id=request.id)
                )
                stream_errors.mark(answer.infer_response, error)
            held.append(answer)
            if len(held) == 2:
                yield held.pop()
                yield held.pop()
        for answer in held:
            yield answer


class Blocking:
    """`Client` behind the face of `AsyncClient`, so that one suite covers both."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._client = Client(*arguments, **options)

    async def __aenter__(self) -> "Blocking":
        return self

    async def __aexit__(self, *_: object) -> None:
        self._client.close()

    async def infer(self, *arguments: Any, **options: Any) -> Any:
        return await asyncio.to_thread(self._client.infer, *arguments, **options)

    async def infer_stream(self, *arguments: Any, **options: Any) -> AsyncIterator[Any]:
        outcomes = self._client.infer_stream(*arguments, **options)
        try:
            while (outcome := await asyncio.to_thread(next, outcomes, None)) is not None:
                yield outcome
        finally:
            await asyncio.to_thread(outcomes.close)  # type: ignore[attr-defined]


@pytest.fixture(params=[Blocking, AsyncClient])
def client_type(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
async def model() -> ScriptedModel:
    return ScriptedModel()


@asynccontextmanager
async def serving(model: ScriptedModel) -> AsyncIterator[str]:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    pb_grpc.add_GRPCInferenceServiceServicer_to_server(model, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def test_numpy_goes_in_and_comes_out(client_type: Any, model: ScriptedModel):
    async with serving(model) as address, client_type(address) as client:
        result = await client.infer("m", INPUT)
    np.testing.assert_array_equal(result["y"], [[2.0, 4.0]])


async def test_unavailable_is_sent_again(client_type: Any, model: ScriptedModel):
    model.obstacles = [UnavailableError("away"), UnavailableError("away")]
    async with serving(model) as address, client_type(address) as client:
        await client.infer("m", INPUT)
    assert model.calls == 3


async def test_pushback_is_waited_for(client_type: Any, model: ScriptedModel):
    error = UnavailableError("away")
    error.retry_after_s = 0.3
    model.obstacles = [error]
    async with serving(model) as address, client_type(address) as client:
        start_s = time.monotonic()
        await client.infer("m", INPUT)
    assert time.monotonic() - start_s >= 0.3


async def test_a_refusal_is_typed_and_not_sent_again(client_type: Any, model: ScriptedModel):
    model.obstacles = [InvalidError("x has 2 columns, expected 3", reason="SHAPE_WRONG", field="x")]
    async with serving(model) as address, client_type(address) as client:
        with pytest.raises(InvalidError, match="expected 3") as raised:
            await client.infer("m", INPUT)
    assert (raised.value.reason, raised.value.metadata["field"], model.calls) == ("SHAPE_WRONG", "x", 1)


async def test_a_call_ends_at_its_deadline(client_type: Any, model: ScriptedModel):
    model.obstacles = [30.0]
    async with serving(model) as address, client_type(address) as client:
        start_s = time.monotonic()
        with pytest.raises(ExpiredError):
            await client.infer("m", INPUT, timeout_s=0.3)
    assert time.monotonic() - start_s < 15


async def test_the_next_address_is_used_when_nobody_listens_at_the_first(
    client_type: Any, model: ScriptedModel
):
    async with serving(model) as address, client_type(["127.0.0.1:9", address]) as client:
        await client.infer("m", INPUT, timeout_s=10)
        await client.infer("m", INPUT, timeout_s=10)
    assert model.calls == 2


async def test_where_nobody_answers_the_address_is_named(client_type: Any):
    async with client_type("127.0.0.1:9", retry=RetryPolicy(unreachable_s_max=0.1)) as client:
        with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:9") as raised:
            await client.infer("m", INPUT)
    assert raised.value.reason == "NO_ANSWER"


def asks(*models: str) -> list[InferRequest]:
    """One request each, whose input is its number."""
    return [
        InferRequest(model=model, inputs={"x": np.array([[number]], dtype=np.float32)})
        for number, model in enumerate(models)
    ]


async def test_a_stream_answers_in_the_order_of_its_requests(client_type: Any, model: ScriptedModel):
    async with serving(model) as address, client_type(address) as client:
        results = [result async for result in client.infer_stream(asks(*"m" * 51), ahead_max=4)]
    assert [float(result["y"][0, 0]) for result in results] == [2.0 * number for number in range(51)]


async def test_a_request_that_fails_leaves_the_stream_whole(client_type: Any, model: ScriptedModel):
    requests = asks("m", "refused", "m", "m")
    requests[2] = InferRequest(model="m", inputs={"x": np.array([1j])})
    async with serving(model) as address, client_type(address) as client:
        outcomes = [outcome async for outcome in client.infer_stream(requests)]
    assert [type(outcome).__name__ for outcome in outcomes] == [
        "InferResult",
        "MissingError",
        "InvalidError",
        "InferResult",
    ]
    assert outcomes[1].reason == "MODEL_UNKNOWN"


async def test_a_stream_that_breaks_is_an_error(client_type: Any, model: ScriptedModel):
    async with serving(model) as address, client_type(address) as client:
        with pytest.raises(UnavailableError) as raised:
            async for _ in client.infer_stream(asks("m", "m", "broken")):
                pass
    assert raised.value.reason == "STREAM_ENDED"


async def test_where_nobody_answers_a_stream_says_so(client_type: Any):
    async with client_type("127.0.0.1:9") as client:
        with pytest.raises(UnavailableError) as raised:
            async for _ in client.infer_stream(asks("m")):
                pass
    assert raised.value.reason == "NO_ANSWER"


async def test_a_stream_can_be_left_early(client_type: Any, model: ScriptedModel):
    async with serving(model) as address, client_type(address) as client:
        async with aclosing(client.infer_stream(asks(*"m" * 20), ahead_max=4)) as outcomes:
            async for _ in outcomes:
                break
        assert float((await client.infer("m", INPUT))["y"][0, 0]) == 2.0
