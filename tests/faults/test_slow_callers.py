"""Callers that are slow on purpose, or by bad luck: they cost the mesh little, and the others nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import psutil
import pytest

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.client import Client
from tests.harness import hostile_models, models, raw_http2
from tests.harness.faults import FULL, FaultMesh, lasting
from tests.harness.marks import Marks
from tests.harness.raw_http2 import RawConnection, raw_connection
from tests.harness.steady_load import SteadyLoad

CUT_S = 20.0
MODEL = "burst"
ANSWER_BYTES = 256 << 10
REQUESTS = 200
A_SECOND_BYTES = 1024
MEBIBYTE = 1 << 20


async def silent(connection: RawConnection) -> None:
    """Connect, and say nothing."""


async def half_a_greeting(connection: RawConnection) -> None:
    """Begin to say hello."""
    await connection.send(raw_http2.PREFACE[:10])


async def half_headers(connection: RawConnection) -> None:
    """Begin a call whose headers never end."""
    await connection.begin()
    block = raw_http2.headers(raw_http2.INFER)
    await connection.send(raw_http2.frame(raw_http2.HEADERS, 0, 1, block[: len(block) // 2]))


async def three_bytes(connection: RawConnection) -> None:
    """Begin a call whose message never comes."""
    await connection.begin()
    await connection.call(raw_http2.INFER, b"\0\0\0", ends=False)


WAYS: tuple[Callable[[RawConnection], Awaitable[None]], ...] = (
    (silent, half_a_greeting, half_headers, three_bytes) if FULL else (silent, half_headers)
)


async def cut_after_s(address: str, way: Callable[[RawConnection], Awaitable[None]]) -> float:
    """Return how long such a caller is let be."""
    async with raw_connection(address) as connection:
        start_s = time.monotonic()
        await way(connection)
        await connection.until_closed()
        return time.monotonic() - start_s


@pytest.mark.timeout(180)
async def test_callers_that_never_finish_are_cut_off_and_the_others_notice_nothing(
    fault_mesh: FaultMesh, load: SteadyLoad, marks: Marks
) -> None:
    envoy = psutil.Process(fault_mesh.processes["envoy"]["pid"])
    count = int(lasting(200, 2_000))
    files, before, since_s = envoy.num_fds(), load.figures(), time.monotonic()
    with load.unharmed_by(f"{count} callers that never finish"):
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(cut_after_s(fault_mesh.address, WAYS[number % len(WAYS)]))
                for number in range(count)
            ]
    during = load.figures(since_s)
    longest = {
        way.__name__: max(task.result() for task in tasks[index :: len(WAYS)])
        for index, way in enumerate(WAYS)
    }
    for name, longest_s in longest.items():
        marks.told("R13", f"longest until cut off: {name}", longest_s, unit="s", at_most=CUT_S)
    marks.must("R13", "failed calls of others", len(during.faults), at_most=0)
    marks.told("R13", "p99 of others during ÷ before", during.p99_s / before.p99_s, at_most=1.2)
    left = envoy.num_fds() - files
    marks.must("R13", "file descriptors that Envoy keeps of them", left, at_most=50)


@pytest.fixture(scope="module")
def bursting_mesh(fault_mesh: FaultMesh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultMesh]:
    """The mesh, with a model whose answers are as large as its caller says."""
    with Client(fault_mesh.address) as client:
        client.push(MODEL, models.saved(hostile_models.bursting(), tmp_path_factory.mktemp(MODEL)))
        client.deploy(MODEL, replicas=1, wait_s=60)
        yield fault_mesh
        client.undeploy(MODEL)


def asking() -> bytes:
    """Return a request whose answer is a thousand times as large."""
    tensor = pb.ModelInferRequest.InferInputTensor(name="size", datatype="INT64", shape=[1])
    request = pb.ModelInferRequest(
        model_name=MODEL,
        inputs=[tensor],
        raw_input_contents=[(ANSWER_BYTES // 4).to_bytes(8, "little")],
    )
    return raw_http2.message(request.SerializeToString())


@asynccontextmanager
async def slow_reader(address: str) -> AsyncIterator[RawConnection]:
    """A stream with many requests, whose answers are let in by a kilobyte a second."""
    async with raw_connection(address) as connection:
        await connection.begin(window_bytes=A_SECOND_BYTES)
        await connection.call(raw_http2.STREAM, asking() * REQUESTS, ends=False)

        async def granting() -> None:
            with suppress(ConnectionError):  # it may be cut off for being so slow
                while True:
                    await asyncio.sleep(1)
                    await connection.grant(A_SECOND_BYTES)

        async def reading() -> None:
            while await connection.read() is not None:
                pass

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(granting()), group.create_task(reading())]
            yield connection
            for task in tasks:
                task.cancel()


def memory_bytes(mesh: FaultMesh) -> dict[str, int]:
    """Return what each process on the way has in memory."""
    names = ("envoy", "gateway", *mesh.workers)
    return {name: int(psutil.Process(mesh.processes[name]["pid"]).memory_info().rss) for name in names}


@pytest.mark.timeout(240)
async def test_streams_whose_readers_are_slow_are_held_back_and_the_others_notice_nothing(
    bursting_mesh: FaultMesh, load: SteadyLoad, marks: Marks
) -> None:
    count = int(lasting(30, 100))
    before, memory, since_s = load.figures(), memory_bytes(bursting_mesh), time.monotonic()
    with load.unharmed_by(f"{count} streams read at 1 KB/s"):
        async with AsyncExitStack() as stack:
            readers = [
                await stack.enter_async_context(slow_reader(bursting_mesh.address)) for _ in range(count)
            ]
            await asyncio.sleep(lasting(6, 40))
            grown = {name: size - memory[name] for name, size in memory_bytes(bursting_mesh).items()}
            going_on = sum(reader.received_bytes > A_SECOND_BYTES for reader in readers)
    during = load.figures(since_s)
    print({name: f"{size / MEBIBYTE:.1f} MiB" for name, size in grown.items()})
    # All share the edge's one connection to the gateway: were it cut, all would end.
    marks.must("R15", f"slow streams of {count} that go on", going_on, at_least=count)
    each = sum(max(0, size) for size in grown.values()) / count / MEBIBYTE
    marks.told("R15", "memory of the whole mesh for each slow stream", each, unit="MiB", at_most=4)
    for name in ("envoy", "gateway"):
        each = max(0, grown[name]) / count / MEBIBYTE
        marks.told("R15", f"memory of {name} for each slow stream", each, unit="MiB", at_most=2)
    marks.must("R15", "failed calls of others", len(during.faults), at_most=0)
    marks.told("R15", "p99 of others during ÷ before", during.p99_s / before.p99_s, at_most=1.2)
