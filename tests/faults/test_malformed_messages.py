"""What is no request at all: bytes that are no message, lies about length, methods that are not there."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from random import Random

import grpc
import psutil
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from servemesh.rpc.client import channel
from servemesh.rpc.server import Backend
from tests.harness import raw_http2
from tests.harness.bad_requests import MODEL, good, pair
from tests.harness.faults import SEED, FaultMesh, lasting
from tests.harness.marks import Marks
from tests.harness.probe import SECRET
from tests.harness.raw_http2 import INFER, raw_connection
from tests.harness.served_probe import Transport, served_probe
from tests.harness.worker_server import worker_server

Code = grpc.StatusCode
REFUSALS = {
    Code.OK,  # a mutation may be harmless
    Code.INVALID_ARGUMENT,
    Code.NOT_FOUND,
    Code.RESOURCE_EXHAUSTED,
    Code.UNIMPLEMENTED,
}
LEAK = re.compile(r"Traceback|Error\b|Exception|<class|google\.protobuf|\.py\b|/home|/root|0x[0-9a-f]{6}")
ABREAST = 16
CALL_S = 20.0
CUT_OFF = "Unexpected%20EOF%20decoding%20stream."
"""What pygrpc-native itself says of a message that ends early, to those who go round the edge."""
FOUR_GIB = 2**32 - 1
MEBIBYTE = 1 << 20
NO_GRPC = (("text/plain", INFER), ("application/json", INFER))
NO_METHOD = tuple(("application/grpc", path) for path in (INFER + "s", "/no.such.Service/Method", "/"))
Serving = Callable[[], AbstractAsyncContextManager[str]]


@pytest.fixture(params=["mesh", *Backend], ids=lambda where: getattr(where, "value", where))
def serving(request: pytest.FixtureRequest, tmp_path: Path) -> Serving:
    """An address of the whole mesh, or of a worker alone."""

    @asynccontextmanager
    async def served() -> AsyncIterator[str]:
        if request.param == "mesh":
            mesh: FaultMesh = request.getfixturevalue("fault_mesh")
            yield mesh.address
        else:
            async with worker_server(tmp_path, {MODEL: pair()}, backend=request.param) as worker:
                yield worker.address

    return served


def mutated(chance: Random) -> bytes:
    """Return the bytes of a right request after some accidents."""
    data = bytearray(good(chance).SerializeToString())
    for _ in range(chance.choice((1, 1, 2, 8))):
        place = chance.randrange(len(data))
        match chance.randrange(5):
            case 0:
                data[place] ^= 1 << chance.randrange(8)
            case 1:
                del data[place : place + chance.randrange(1, 20)]
            case 2:
                data[place:place] = chance.randbytes(chance.randrange(1, 20))
            case 3:
                data[place : place + 10] = b"\xff" * 10  # a number without end
            case _:
                data[place:place] = data[: chance.randrange(len(data) + 1)]
        data = data or bytearray(b"\0")
    return bytes(data)


async def test_mutated_messages_are_refused_in_fixed_words(
    serving: Serving, marks: Marks, request: pytest.FixtureRequest
) -> None:
    chance = Random(SEED)
    messages = iter([mutated(chance) for _ in range(int(lasting(2_000, 40_000)))])
    seen: Counter[grpc.StatusCode] = Counter()
    strange: list[str] = []
    async with serving() as address, channel(address) as connection:
        infer = connection.unary_unary(INFER)

        async def caller() -> None:
            for content in messages:
                code, text = await _ended(infer, content)
                seen[code] += 1
                if code not in REFUSALS or LEAK.search(text):
                    strange.append(f"{code.name}: {text}")

        async with asyncio.TaskGroup() as group:
            for _ in range(ABREAST):
                group.create_task(caller())
    where = request.node.callspec.id
    print(f"{where} (seed {SEED}): {dict(seen)}; strange: {strange[:5]}")
    what = f"mutated messages of {seen.total()} answered with other codes or words, {where}"
    marks.must("R33", what, len(strange), at_most=0)


async def _ended(call: Callable[..., grpc.aio.UnaryUnaryCall], content: bytes) -> tuple[grpc.StatusCode, str]:
    answer = call(content, timeout=CALL_S)
    return await answer.code(), await answer.details() or ""


async def test_a_length_that_is_a_lie_is_refused_and_takes_no_memory(
    serving: Serving, marks: Marks, request: pytest.FixtureRequest
) -> None:
    where = request.node.callspec.id
    async with serving() as address:
        process = _process(request, where)
        before = process.memory_info().rss
        for _ in range(10):
            async with raw_connection(address) as connection, asyncio.timeout(CALL_S):
                await connection.begin()
                lie = raw_http2.message(b"abc", declared_bytes=FOUR_GIB)
                await connection.call(INFER, lie)
                ended = await connection.until_ended()
            assert _is_refused(ended), ended
        grown = (process.memory_info().rss - before) / MEBIBYTE
        marks.must("R33", f"memory for ten messages of 4 GiB, {where}", grown, unit="MiB", at_most=16)


async def test_what_is_not_grpc_and_methods_that_are_not_there_are_refused(
    serving: Serving, marks: Marks, request: pytest.FixtureRequest
) -> None:
    strange, where = [], request.node.callspec.id
    async with serving() as address:
        # Servers behind the edge do not look at the type.
        for content_type, path in (NO_GRPC if where == "mesh" else ()) + NO_METHOD:
            async with raw_connection(address) as connection, asyncio.timeout(CALL_S):
                await connection.begin()
                await connection.call(
                    path, raw_http2.message(good(Random(SEED)).SerializeToString()), content_type=content_type
                )
                ended = await connection.until_ended()
            print(f"{content_type} {path}: {ended}")
            if not _is_refused(ended):
                strange.append(f"{content_type} {path}: {ended}")
    what = f"calls of no method, or of no gRPC, that are not refused, {where}"
    assert not strange, strange
    marks.must("R33", what, len(strange), at_most=0)


@pytest.mark.parametrize("backend", list(Backend), ids=lambda backend: backend.value)
async def test_an_exception_with_a_secret_tells_the_caller_nothing(backend: Backend, marks: Marks) -> None:
    async with served_probe(Transport(backend)) as served:
        served.probe.raises = RuntimeError(SECRET)
        call = served.stub.echo(StringValue(value="hello"), timeout=5)
        code, text, trailers = await call.code(), await call.details(), await call.trailing_metadata()
    assert code is Code.INTERNAL
    assert "error id" in text
    told = SECRET in text or SECRET in str(trailers) or bool(LEAK.search(text))
    marks.must("R33", f"secrets told by an exception, {backend.value}", int(told), at_most=0)


def _is_refused(ended: dict[str, str]) -> bool:
    """Whether a call ended with a status of ours, or was none of gRPC's and ended with one of HTTP's."""
    if LEAK.search(str(ended)):
        return False
    if ended.get("grpc-message") == CUT_OFF:
        return True
    refusals = {str(code.value[0]) for code in REFUSALS - {Code.OK}}
    return ended.get("grpc-status") in refusals or ended.get(":status") in {"400", "404", "415"}


def _process(request: pytest.FixtureRequest, where: str) -> psutil.Process:
    if where != "mesh":
        return psutil.Process()
    mesh: FaultMesh = request.getfixturevalue("fault_mesh")
    return psutil.Process(mesh.processes["envoy"]["pid"])
