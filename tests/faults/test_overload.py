"""More calls than the mesh can answer: what it cannot answer is refused at once, and the rest is answered."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.api.oip.v2 import inference_pb2_grpc as pb_grpc
from servemesh.client import Client
from servemesh.rpc.server import Backend
from tests.harness import models
from tests.harness.faults import FaultMesh, lasting
from tests.harness.health_prober import probing
from tests.harness.marks import Marks
from tests.harness.served_probe import Transport, served_probe
from tests.harness.steady_caller import CHANNEL_OPTIONS

MODEL = "slow-counter"
LOOPS = 40_000
"""Runs of the loop model that take tens of milliseconds: too few calls a second for the client to be the bottleneck."""
DEADLINE_S = 20.0
BURST = 5_000
BIG_BYTES = 48 << 20
URGENT_EVERY = 10


@pytest.fixture(scope="module")
def slow_mesh(fault_mesh: FaultMesh, tmp_path_factory: pytest.TempPathFactory) -> FaultMesh:
    """The mesh of faults with a model that is slow enough to be offered too much."""
    path = models.saved(models.counter(), tmp_path_factory.mktemp("counter"))
    with Client(fault_mesh.address) as client:
        client.push(MODEL, path)
        client.deploy(MODEL, replicas=len(fault_mesh.workers), wait_s=60)
    return fault_mesh


@asynccontextmanager
async def calling(address: str) -> AsyncIterator[pb_grpc.GRPCInferenceServiceStub]:
    """Open a fresh channel."""
    options = [*CHANNEL_OPTIONS, ("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        yield pb_grpc.GRPCInferenceServiceStub(channel)


def a_request(priority: int = 0) -> pb.ModelInferRequest:
    """Return a call of the slow model."""
    tensor = pb.ModelInferRequest.InferInputTensor(name="times", datatype="INT64", shape=[])
    request = pb.ModelInferRequest(
        model_name=MODEL, inputs=[tensor], raw_input_contents=[np.array(LOOPS, np.int64).tobytes()]
    )
    if priority:
        request.parameters["priority"].int64_param = priority
    return request


async def outcome(stub: Any, request: pb.ModelInferRequest) -> tuple[str, float, bool]:
    """Return how a call ended, how long it took, and whether it was told when to come back."""
    start_s = time.monotonic()
    try:
        await stub.ModelInfer(request, timeout=DEADLINE_S)
    except grpc.aio.AioRpcError as error:
        keys = {key for key, _ in error.trailing_metadata() or ()}
        return error.code().name, time.monotonic() - start_s, "grpc-retry-pushback-ms" in keys
    return "OK", time.monotonic() - start_s, False


async def saturated(stub: Any, length_s: float) -> float:
    """Return how many calls a second are answered while a few are always under way."""
    start_s, answered = time.monotonic(), 0

    async def caller() -> None:
        nonlocal answered
        while time.monotonic() < start_s + length_s:
            code, _, _ = await outcome(stub, a_request())
            answered += code == "OK"

    async with asyncio.TaskGroup() as group:
        for _ in range(64):
            group.create_task(caller())
    return answered / (time.monotonic() - start_s)


@pytest.mark.timeout(300)
async def test_three_times_the_capacity_is_answered_up_to_the_capacity(
    slow_mesh: FaultMesh, marks: Marks
) -> None:
    async with calling(slow_mesh.address) as stub:
        await saturated(stub, 1)  # the first calls are slow
        capacity = await saturated(stub, lasting(3, 10))
        length_s, ends = lasting(7, 60), list[tuple[bool, str, float, bool]]()

        async def one(number: int) -> None:
            is_urgent = number % URGENT_EVERY == 0
            ends.append((is_urgent, *await outcome(stub, a_request(priority=int(is_urgent)))))

        start_s, number = time.monotonic(), 0
        async with asyncio.TaskGroup() as group:
            while (due_s := start_s + number / (3 * capacity)) < start_s + length_s:
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                group.create_task(one(number))
                number += 1
            in_time = list(ends)
            stopped_s = time.monotonic()
            while (await outcome(stub, a_request()))[0] != "OK":
                await asyncio.sleep(0.1)
            back_s = time.monotonic() - stopped_s
    codes = Counter(code for _, code, _, _ in ends)
    print(f"capacity {capacity:.0f}/s, offered {number / length_s:.0f}/s: {codes}")
    assert set(codes) <= {"OK", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}
    marks.told("R10", "calls that were taken and not answered in time", codes["DEADLINE_EXCEEDED"], at_most=0)
    sheds = sorted(took_s for _, code, took_s, _ in ends if code == "RESOURCE_EXHAUSTED")
    urgent = [code for is_urgent, code, _, _ in ends if is_urgent]
    goodput = sum(1 for _, code, _, _ in in_time if code == "OK") / length_s
    told_when = [told for _, code, _, told in ends if code == "RESOURCE_EXHAUSTED"]
    marks.must("R10", "refusals that say when to come back", 100 * _share(told_when), unit="%", at_least=100)
    served = 100 * _share([code == "OK" for code in urgent])
    marks.told("R10", "calls of high priority served at 3 times the capacity", served, unit="%", at_least=99)
    marks.told("R10", "goodput ÷ capacity at 3 times the capacity", goodput / capacity, at_least=0.9)
    if sheds:
        median_ms = 1000 * sheds[len(sheds) // 2]
        marks.told("R10", "refused within (median)", median_ms, unit="ms", at_most=20)
    marks.told("R10", "answered again after the load's end", back_s, unit="s", at_most=5)


@pytest.mark.parametrize("backend", list(Backend), ids=lambda backend: backend.value)
async def test_calls_at_once_on_a_fresh_channel_are_answered_by_a_server(
    backend: Backend, marks: Marks
) -> None:
    async with served_probe(Transport(backend)) as served:
        for count in (1_500, BURST):
            codes = await _burst(lambda: served.stub.echo(_word(), timeout=DEADLINE_S), count)
            strange = count - codes["OK"] - codes["RESOURCE_EXHAUSTED"]
            marks.must("R11", f"of {count} at once at a worker ({backend.value}): lost", strange, at_most=0)


async def test_calls_at_once_on_a_fresh_channel_are_answered_through_the_mesh(
    fault_mesh: FaultMesh, net: Path, marks: Marks
) -> None:
    array = np.zeros((1, 512), np.float32)
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=array.shape)
    request = pb.ModelInferRequest(model_name="net", inputs=[tensor], raw_input_contents=[array.tobytes()])
    for count in (1_500, BURST):
        async with calling(fault_mesh.address) as stub:
            codes = await _burst(lambda stub=stub: stub.ModelInfer(request, timeout=DEADLINE_S), count)
        strange = count - codes["OK"] - codes["RESOURCE_EXHAUSTED"]
        marks.must("R11", f"of {count} at once through the mesh: lost", strange, at_most=0)


async def test_health_is_answered_while_every_slot_is_busy_and_messages_are_huge(
    slow_mesh: FaultMesh, marks: Marks
) -> None:
    before = slow_mesh.ejections()
    address = slow_mesh.processes[slow_mesh.workers[0]]["address"]
    end_s = time.monotonic() + lasting(4, 20)
    huge = a_request()
    huge.raw_input_contents[0] = bytes(BIG_BYTES)  # refused, but only once it has been read

    async def caller(stub: Any, request: pb.ModelInferRequest) -> None:
        while time.monotonic() < end_s:
            await outcome(stub, request)

    async with (
        calling(slow_mesh.address) as stub,
        probing(address) as probes,
        asyncio.TaskGroup() as group,
    ):
        for request in [a_request()] * 64 + [huge]:
            group.create_task(caller(stub, request))
    p99_ms = 1000 * sorted(probes)[int(0.99 * (len(probes) - 1))]
    marks.must("R16", "workers ejected while all were busy", slow_mesh.ejections() - before, at_most=0)
    marks.told("R16", "health answered within (p99)", p99_ms, unit="ms", at_most=100)


async def _burst(call: Any, count: int) -> Counter[str]:
    async def one() -> str:
        try:
            await call()
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return "OK"

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one()) for _ in range(count)]
    return Counter(task.result() for task in tasks)


def _word() -> Any:
    from google.protobuf.wrappers_pb2 import StringValue

    return StringValue(value="hello")


def _share(values: list[bool]) -> float:
    return sum(values) / len(values) if values else 1.0
