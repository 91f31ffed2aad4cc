"""What Envoy answers itself: gRPC statuses, with texts and reasons of ours."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from servemesh.gateway.domain.snapshot.policy import CallLimits, EdgePolicy
from tests.harness.edge import Edge, holding, running_edge
from tests.harness.oip_worker import oip_worker

LATE = "the deadline of the call passed before a worker had answered"


async def failure(edge: Edge, *arguments: str, **options: object) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await edge.infer(*arguments, **options)  # type: ignore[arg-type]
    return failed.value


def reason(error: grpc.aio.AioRpcError) -> str:
    status = rpc_status.from_call(_Call(error))
    info = error_details_pb2.ErrorInfo()
    assert status is not None
    assert status.details[0].Unpack(info)
    assert info.domain == "servemesh.dev"
    return str(info.reason)


class _Call:
    """The part of a call that grpc_status reads."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self.code, self.details, self.trailing_metadata = error.code, error.details, error.trailing_metadata


async def test_the_largest_message_passes_and_a_larger_one_is_refused(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge:
        assert await edge.answered_by(raw_input_contents=[bytes((64 << 20) - 1000)], timeout_s=20)
        error = await failure(edge, raw_input_contents=[bytes(66 << 20)], timeout_s=20)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert error.details() == f"the message is larger than the limit of {64 << 20} bytes"
        assert reason(error) == "MESSAGE_TOO_LARGE"


async def test_far_too_much_metadata_reaches_nobody(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge:
        assert await edge.answered_by(metadata=[("x-large", "a" * 15_000)]) == "gateway"
        await failure(edge, metadata=[("x-large", "a" * 70_000)])
        assert edge.gateway.calls == 1
        assert await edge.answered_by() == "gateway"


async def test_when_nobody_is_healthy_the_answer_tells_when_to_ask_again(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge:
        await edge.publish([holding("127.0.0.1:1", models=["iris"])])
        error = await failure(edge)
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert reason(error) == "NO_WORKER_AVAILABLE"
        assert ("grpc-retry-pushback-ms", "250") in list(error.trailing_metadata())


async def test_an_unknown_method_is_unimplemented(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await edge.channel.unary_unary("/other.Service/Method")(b"", timeout=5)
        assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert reason(failed.value) == "UNIMPLEMENTED"


async def test_a_call_without_deadline_gets_the_default_one(tmp_path: Path) -> None:
    policy = EdgePolicy(calls=CallLimits(deadline_s_default=0.5))
    async with oip_worker("one") as one, running_edge(tmp_path, policy) as edge:
        await edge.publish([holding(one, models=["iris"])])
        await edge.until_healthy(2)
        async with asyncio.timeout(5):
            error = await failure(edge, id="wait", timeout_s=None)
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        # The worker is told the deadline too, and may be the first to notice.
        assert error.details() in ("Deadline Exceeded", LATE)


async def test_a_deadline_is_cut_to_the_longest_allowed(tmp_path: Path) -> None:
    policy = EdgePolicy(calls=CallLimits(deadline_s_max=0.5))
    async with oip_worker("one") as one, running_edge(tmp_path, policy) as edge:
        await edge.publish([holding(one, models=["iris"])])
        await edge.until_healthy(2)
        async with asyncio.timeout(5):
            error = await failure(edge, id="wait", timeout_s=60)
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_watches_whose_deadline_passes_all_end_with_that_status(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge:
        watch = health_pb2_grpc.HealthStub(edge.channel).Watch
        codes: Counter[grpc.StatusCode] = Counter()

        async def watched() -> None:
            call = watch(health_pb2.HealthCheckRequest(), timeout=0.5)
            assert (await call.read()).status == health_pb2.HealthCheckResponse.SERVING
            codes[await call.code()] += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(50):
                group.create_task(watched())
    assert codes == {grpc.StatusCode.DEADLINE_EXCEEDED: 50}
