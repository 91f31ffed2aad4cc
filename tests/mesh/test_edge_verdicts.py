"""What Envoy makes of the errors that a worker answers: told to the caller, tried elsewhere, or held against it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from servemesh import errors
from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.api.oip.v2 import inference_pb2_grpc as pb_grpc
from servemesh.rpc.health import Health
from servemesh.rpc.server import Backend, serving
from servemesh.rpc.statuses import from_rpc_error
from tests.harness.edge import Edge, holding, running_edge
from tests.harness.oip_worker import oip_worker

EJECTIONS = "cluster.workers.outlier_detection.ejections_enforced_total"
CALLS = 40


class FailingWorker(pb_grpc.GRPCInferenceServiceServicer):
    """Fails every ModelInfer with `error`; takes for ever if there is none."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.calls = 0

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Any) -> pb.ModelInferResponse:
        self.calls += 1
        if self.error is None:
            await asyncio.Event().wait()
        assert self.error is not None
        raise self.error

    def register(self, server: Any) -> None:
        pb_grpc.add_GRPCInferenceServiceServicer_to_server(self, server)


@pytest.fixture(params=list(Backend), ids=lambda backend: backend.value)
def backend(request: pytest.FixtureRequest) -> Backend:
    backend: Backend = request.param
    return backend


@asynccontextmanager
async def beside_a_good_one(
    folder: Path, backend: Backend, error: Exception | None
) -> AsyncIterator[tuple[Edge, FailingWorker]]:
    """Run a failing worker and a good one behind Envoy."""
    failing, health = FailingWorker(), Health()
    failing.error = error
    health.set("", True)
    async with (
        serving("127.0.0.1:0", [failing.register], health=health, grace_s=0.1, backend=backend) as address,
        oip_worker("good") as good,
        running_edge(folder) as edge,
    ):
        await edge.publish([holding(worker, models=["iris"]) for worker in (address, good)])
        await edge.until_healthy(3)
        yield edge, failing


async def outcomes(edge: Edge, **options: Any) -> Counter[str]:
    """Return how calls ended: names of who answered, and codes."""
    ends: Counter[str] = Counter()
    for _ in range(CALLS):
        try:
            ends[await edge.answered_by(**options)] += 1
        except grpc.aio.AioRpcError as error:
            ends[error.code().name] += 1
    return ends


@pytest.mark.parametrize(
    "error",
    [
        errors.OverloadedError("the queue is full", reason="QUEUE_FULL"),
        errors.ServemeshError("the model cannot be run", reason="MODEL_RUN_FAILED"),
        errors.ExpiredError("too late", reason="QUEUE_TIMEOUT"),
        errors.UnsupportedError("not offered here"),
        errors.DamagedError("other bytes"),
        errors.UnavailableError("nobody is there", reason="NO_WORKERS", retry_after_s=0.5),
    ],
    ids=lambda error: error.reason,
)
async def test_what_is_meant_for_the_caller_is_told_as_it_is_and_not_held_against_the_worker(
    tmp_path: Path, backend: Backend, error: errors.ServemeshError
) -> None:
    async with beside_a_good_one(tmp_path, backend, error) as (edge, failing):
        ends = await outcomes(edge)
        assert failing.calls == CALLS - ends["good"]  # nothing was tried again
        assert await asyncio.to_thread(edge.envoy.stat, EJECTIONS) == 0
        async with asyncio.timeout(10):
            told = await refusal(edge)
    got = from_rpc_error(told)
    assert (type(got), got.reason, got.message) == (type(error), error.reason, error.message)
    keys = {key for key, _ in told.trailing_metadata() or ()}
    assert ("grpc-retry-pushback-ms" in keys) == (error.retry_after_s is not None)
    assert not any(key.startswith("x-servemesh") for key in keys)


@pytest.mark.parametrize(
    "error",
    [errors.UnavailableError("leaving", reason="MODEL_DRAINING"), RuntimeError("a bug")],
    ids=["UNAVAILABLE", "unexpected"],
)
async def test_a_worker_that_cannot_work_costs_no_caller_anything_and_gets_no_more_calls(
    tmp_path: Path, backend: Backend, error: Exception
) -> None:
    async with beside_a_good_one(tmp_path, backend, error) as (edge, failing):
        assert await outcomes(edge) == {"good": CALLS}
        assert failing.calls <= CALLS // 4
        assert await asyncio.to_thread(edge.envoy.stat, EJECTIONS) >= 1


@pytest.mark.parametrize("code", ["UNKNOWN", "RESOURCE_EXHAUSTED", "INTERNAL", "UNAVAILABLE"])
async def test_something_else_that_answers_every_call_with_a_bare_status_gets_no_more_calls(
    tmp_path: Path, code: str
) -> None:
    async with (
        oip_worker("bad") as bad,
        oip_worker("good") as good,
        running_edge(tmp_path) as edge,
    ):
        bad.ends = grpc.StatusCode[code]
        await edge.publish([holding(worker, models=["iris"]) for worker in (bad, good)])
        await edge.until_healthy(3)
        assert await outcomes(edge) == {"good": CALLS}
        assert bad.calls <= CALLS // 4


@pytest.mark.parametrize("timeout_ms", [3, 50])
async def test_calls_that_cannot_be_in_time_take_no_worker_from_others(
    tmp_path: Path, backend: Backend, timeout_ms: int
) -> None:
    async with beside_a_good_one(tmp_path, backend, None) as (edge, failing):
        # The client waits for the answer, so that it is the mesh that ends the call.
        ends = await outcomes(edge, timeout_s=None, metadata=[("grpc-timeout", f"{timeout_ms}m")])
        assert set(ends) <= {"good", "DEADLINE_EXCEEDED"}
        assert failing.calls > 5
        assert await asyncio.to_thread(edge.envoy.stat, EJECTIONS) == 0


async def refusal(edge: Edge) -> grpc.aio.AioRpcError:
    """Return the first error that a call meets."""
    while True:
        try:
            await edge.infer()
        except grpc.aio.AioRpcError as error:
            return error
