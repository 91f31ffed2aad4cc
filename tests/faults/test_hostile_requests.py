"""Requests that nothing can be made of: each is refused with what is wrong with it, and harms nobody else."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import grpc
import pytest

from servemesh.api.oip.v2 import inference_pb2_grpc as pb_grpc
from servemesh.client import Client
from servemesh.rpc.client import channel
from servemesh.rpc.server import Backend
from servemesh.rpc.statuses import from_rpc_error
from tests.harness import models
from tests.harness.bad_requests import MODEL, Bad, bad, good, is_answer, pair
from tests.harness.faults import SEED, FaultMesh, lasting
from tests.harness.marks import Marks
from tests.harness.worker_server import worker_server

CALL_S = 20.0
ABREAST = 16
GOOD_EVERY = 4


@pytest.fixture(scope="module")
def mesh_with_pair(fault_mesh: FaultMesh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultMesh]:
    """The mesh, with a model that takes two inputs and gives both back."""
    with Client(fault_mesh.address) as client:
        client.push(MODEL, models.saved(pair(), tmp_path_factory.mktemp(MODEL)))
        client.deploy(MODEL, replicas=1, wait_s=60)
        yield fault_mesh
        client.undeploy(MODEL)


class Refusals:
    """Sends requests, one in `GOOD_EVERY` of them right, and keeps what was answered otherwise than it must be."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub
        self.wrong: list[str] = []
        self.harmed: list[str] = []
        self.kinds: Counter[str] = Counter()
        self._lasted_s = 0.0

    async def send(self, count: int, seed: int) -> None:
        """Send `count` bad requests, several at a time."""
        chance = Random(seed)
        cases = iter([bad(chance) for _ in range(count)])

        async def caller(own: Random) -> None:
            for number, case in enumerate(cases):
                await self._refused(case)
                if number % GOOD_EVERY == 0:
                    await self._answered(own)

        start_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(ABREAST):
                group.create_task(caller(Random(seed + number)))
        self._lasted_s = time.monotonic() - start_s

    async def _refused(self, case: Bad) -> None:
        try:
            await self._stub.ModelInfer(case.request, timeout=CALL_S)
        except grpc.aio.AioRpcError as error:
            self.kinds[case.kind] += 1
            if fault := _wrong(case, error):
                self.wrong.append(f"{case.kind}: {fault}")
        else:
            self.wrong.append(f"{case.kind}: answered, {case.request}"[:300])

    async def _answered(self, chance: Random) -> None:
        request = good(chance)
        try:
            answer = await self._stub.ModelInfer(request, timeout=CALL_S)
        except grpc.aio.AioRpcError as error:
            self.harmed.append(f"{error.code()}: {error.details()}")
        else:
            if not is_answer(request, answer):
                self.harmed.append("a wrong answer")

    def tell(self, marks: Marks, where: str) -> None:
        """Keep the figures."""
        print(f"{where}: {dict(self.kinds)}; wrong: {self.wrong[:5]}; harmed: {self.harmed[:5]}")
        marks.must("R30", f"bad requests not refused as they must be, {where}", len(self.wrong), at_most=0)
        marks.must("R30", f"right requests beside them that fail, {where}", len(self.harmed), at_most=0)
        each_ms = 1000 * self._lasted_s / max(1, self.kinds.total())
        marks.told("R30", f"time for each, the caller's included, {where}", each_ms, unit="ms", at_most=5)


def _wrong(case: Bad, error: grpc.aio.AioRpcError) -> str:
    """Say what is wrong with a refusal; empty if nothing is."""
    found = from_rpc_error(error)
    if not case.field:
        return "" if error.code() is grpc.StatusCode.NOT_FOUND else f"{error.code()} {error.details()}"
    if error.code() is not grpc.StatusCode.INVALID_ARGUMENT:
        return f"{error.code()} {error.details()}"
    told = found.metadata
    if not (told.get("field", "").startswith(case.field) and "expected" in told and "got" in told):
        return f"{case.field} is at fault, told was {told}"
    return ""


@asynccontextmanager
async def _stub(address: str) -> AsyncIterator[Any]:
    async with channel(address) as connection:
        yield pb_grpc.GRPCInferenceServiceStub(connection)


@pytest.mark.parametrize("backend", list(Backend), ids=lambda backend: backend.value)
async def test_bad_requests_are_refused_by_a_worker(tmp_path: Path, marks: Marks, backend: Backend) -> None:
    async with worker_server(tmp_path, {MODEL: pair()}, backend=backend) as worker:
        refusals = Refusals(worker.oip)
        await refusals.send(int(lasting(1_500, 10_000)), SEED)
    refusals.tell(marks, f"a worker on {backend.value} (seed {SEED})")


async def test_bad_requests_are_refused_through_the_mesh(mesh_with_pair: FaultMesh, marks: Marks) -> None:
    async with _stub(mesh_with_pair.address) as stub:
        refusals = Refusals(stub)
        await refusals.send(int(lasting(1_500, 10_000)), SEED)
    refusals.tell(marks, f"the mesh (seed {SEED})")
