"""Callers that leave: what they waited for is stopped, and what they had queued is never begun."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.api.oip.v2 import inference_pb2_grpc as pb_grpc
from servemesh.client import Client
from tests.harness import models
from tests.harness.faults import FaultMesh
from tests.harness.marks import Marks
from tests.harness.waiting import blocking_until

MODEL = "counter"
ENDLESS = 2**40
QUEUED = 5
FREE_S = 5.0


@pytest.fixture(scope="module")
def counting_mesh(fault_mesh: FaultMesh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultMesh]:
    """The mesh, with a model on one worker that runs as long as its caller says, one call at a time."""
    with Client(fault_mesh.address) as client:
        client.push(MODEL, models.saved(models.counter(), tmp_path_factory.mktemp("counter")))
        client.deploy(MODEL, replicas=1, wait_s=60)
        yield fault_mesh
        client.undeploy(MODEL)


@pytest.fixture
def stub(counting_mesh: FaultMesh) -> Iterator[Any]:
    with grpc.insecure_channel(counting_mesh.address, [("grpc.enable_retries", 0)]) as channel:
        yield pb_grpc.GRPCInferenceServiceStub(channel)


def counting(times: int) -> pb.ModelInferRequest:
    tensor = pb.ModelInferRequest.InferInputTensor(name="times", datatype="INT64", shape=[])
    return pb.ModelInferRequest(
        model_name=MODEL, inputs=[tensor], raw_input_contents=[times.to_bytes(8, "little")]
    )


def begun(stub: Any) -> int:
    """How many calls of the model have left the queue to be run, in the whole mesh."""
    answer = stub.ModelStatistics(pb.ModelStatisticsRequest(name=MODEL), timeout=5)
    return sum(found.inference_stats.queue.count for found in answer.model_stats)


def answered_after_s(stub: Any) -> float:
    """How long one small call takes now."""
    start_s = time.monotonic()
    stub.ModelInfer(counting(1), timeout=FREE_S)
    return time.monotonic() - start_s


def test_a_cancelled_call_frees_its_place_and_what_was_queued_never_begins(
    counting_mesh: FaultMesh, stub: Any, marks: Marks
) -> None:
    answered_after_s(stub)
    before = begun(stub)
    running = stub.ModelInfer.future(counting(ENDLESS), timeout=60)
    blocking_until(lambda: begun(stub) == before + 1)
    queued = [stub.ModelInfer.future(counting(ENDLESS), timeout=60) for _ in range(QUEUED)]
    blocking_until(lambda: counting_mesh.under_way() == 1 + QUEUED)
    for call in (*queued, running):
        call.cancel()
    _tell(marks, "cancelled", answered_after_s(stub), begun(stub) - before - 2)


def test_at_its_deadline_a_call_frees_its_place_and_what_was_queued_never_begins(
    stub: Any, marks: Marks
) -> None:
    answered_after_s(stub)
    before = begun(stub)
    running = stub.ModelInfer.future(counting(ENDLESS), timeout=1.5)
    blocking_until(lambda: begun(stub) == before + 1)
    queued = [stub.ModelInfer.future(counting(ENDLESS), timeout=0.3) for _ in range(QUEUED)]
    codes = {call.code() for call in (*queued, running)}
    assert codes == {grpc.StatusCode.DEADLINE_EXCEEDED}
    _tell(marks, "expired", answered_after_s(stub), begun(stub) - before - 2)


def _tell(marks: Marks, how: str, free_after_s: float, begun_in_vain: int) -> None:
    marks.told("R12", f"{how}: until the next call is answered", free_after_s * 1000, unit="ms", at_most=100)
    marks.must("R12", f"{how}: queued calls that began all the same", begun_in_vain, at_most=0)
