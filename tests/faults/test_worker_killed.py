"""A worker process with a real store and a real broker: killed, left alone, and told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from pathlib import Path

import grpc
import numpy as np
import onnx
import pytest

from servemesh.api.fleet.v1 import fleet_pb2
from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.api.oip.v2 import inference_pb2_grpc as pb_grpc
from servemesh.blobs.minio_store import MinioStore, StoreSettings
from servemesh.rpc.client import channel
from servemesh.worker.adapters.run_marks import standing
from tests.harness import models
from tests.harness.nats_server import NatsServer
from tests.harness.processes import Child, free_ports
from tests.harness.seaweed import SeaweedServer
from tests.harness.waiting import eventually
from tests.harness.worker_fleet import ScriptedFleet, an_assigned_slot, pushed

READY = fleet_pb2.Slot.STATE_READY


class WorkerProcess:
    """One worker, started as the supervisor does."""

    def __init__(
        self, folder: Path, registry: str, nats: NatsServer, store: SeaweedServer, bucket: str
    ) -> None:
        self.address, self.metrics_address = (f"127.0.0.1:{port}" for port in free_ports(2))
        self.cache = folder / "cache"
        self.settings = {
            "INSTANCE": "worker-1",
            "ADDRESS": self.address,
            "METRICS_ADDRESS": self.metrics_address,
            "REGISTRY_ADDRESS": registry,
            "NATS_URL": nats.url,
            "S3_ENDPOINT": store.access.endpoint,
            "S3_ACCESS_KEY": store.access.access_key,
            "S3_SECRET_KEY": store.access.secret_key,
            "S3_BUCKET": bucket,
            "CACHE_DIR": str(self.cache),
            "LEASE_INTERVAL_S": "0.1",
            "DRAIN_WAIT_S": "0.1",
        }
        self._log = folder / "worker.log"

    @property
    def half_done(self) -> list[Path]:
        """What lies in the cache unfinished."""
        incoming = self.cache / "incoming"
        return list(incoming.iterdir()) if incoming.exists() else []

    def child(self, **changes: str) -> Child:
        """Return the process, not started."""
        variables = {f"SERVEMESH_WORKER_{name}": value for name, value in (self.settings | changes).items()}
        command = [sys.executable, "-P", "-m", "servemesh.worker.main"]
        return Child(command, log=self._log, env=dict(os.environ) | variables)


@pytest.fixture
def children() -> Iterator[ExitStack]:
    """Stops what a test has started."""
    with ExitStack() as stack:
        yield stack


@asynccontextmanager
async def around(
    folder: Path, nats: NatsServer, store: SeaweedServer, model: onnx.ModelProto | None = None
) -> AsyncIterator[tuple[ScriptedFleet, WorkerProcess]]:
    """A registry that assigns a model (the identity if none is given), and a worker that knows where all is."""
    fleet, bucket = ScriptedFleet(), "worker-killed"
    access = store.access
    settings = StoreSettings(
        endpoint=access.endpoint, access_key=access.access_key, secret_key=access.secret_key, bucket=bucket
    )
    async with MinioStore.running(settings) as blobs:
        version = await pushed(blobs, folder / "pushed", model or models.identity(), batchable=model is None)
    fleet.assign(an_assigned_slot(version))
    async with AsyncExitStack() as stack:
        registry = await stack.enter_async_context(fleet.serving())
        yield fleet, WorkerProcess(folder, registry, nats, store, bucket)


async def answers(address: str) -> bool:
    request = pb.ModelInferRequest(
        model_name="digits",
        inputs=[pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 4])],
        raw_input_contents=[np.zeros(4, np.float32).tobytes()],
    )
    async with channel(address) as connection:
        try:
            await pb_grpc.GRPCInferenceServiceStub(connection).ModelInfer(request, timeout=1)
        except grpc.aio.AioRpcError:
            return False
    return True


def on(address: str) -> Callable[[], Awaitable[bool]]:
    return lambda: answers(address)


async def test_a_worker_serves_what_it_is_assigned_and_ends_in_order(
    tmp_path: Path, nats_server: NatsServer, seaweed_server: SeaweedServer, children: ExitStack
) -> None:
    async with around(tmp_path, nats_server, seaweed_server) as (fleet, worker):
        child = worker.child()
        children.callback(child.stop)
        child.start()
        await eventually(on(worker.address), 20, child.output)
        assert '"event": "ready"' in child.output
        await eventually(lambda: [slot.state for slot in fleet.renewals[-1].slots] == [READY], 5)
        assert await asyncio.to_thread(child.stop) == 0
        assert fleet.ended == [fleet.renewals[-1].incarnation]


async def test_killed_and_started_with_everything_away_it_serves_from_its_cache(
    tmp_path: Path, nats_server: NatsServer, seaweed_server: SeaweedServer, children: ExitStack
) -> None:
    async with around(tmp_path, nats_server, seaweed_server) as (_, worker):
        child = worker.child()
        children.callback(child.stop)
        child.start()
        await eventually(on(worker.address), 20, child.output)
        child.kill()
    nowhere = f"127.0.0.1:{free_ports(1)[0]}"
    child = worker.child(REGISTRY_ADDRESS=nowhere, NATS_URL=f"nats://{nowhere}", S3_ENDPOINT=nowhere)
    children.callback(child.stop)
    child.start()
    await eventually(on(worker.address), 20, child.output)


async def test_killed_while_it_fetches_it_leaves_nothing_that_stays(
    tmp_path: Path, nats_server: NatsServer, seaweed_server: SeaweedServer, children: ExitStack
) -> None:
    async with around(tmp_path, nats_server, seaweed_server) as (_, worker):
        silent = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        async with silent:
            port = silent.sockets[0].getsockname()[1]
            child = worker.child(S3_ENDPOINT=f"127.0.0.1:{port}")
            children.callback(child.stop)
            child.start()
            await eventually(lambda: bool(worker.half_done), 20, child.output)
            child.kill()
        child = worker.child()
        children.callback(child.stop)
        child.start()
        await eventually(on(worker.address), 20, child.output)
        assert worker.half_done == []


async def test_a_version_that_it_crashes_of_three_times_is_given_up(
    tmp_path: Path, nats_server: NatsServer, seaweed_server: SeaweedServer, children: ExitStack
) -> None:
    async with around(tmp_path, nats_server, seaweed_server, models.counter()) as (fleet, worker):
        child = worker.child()
        children.callback(child.stop)
        for _ in range(3):
            child.start()
            async with channel(worker.address) as connection, asyncio.TaskGroup() as group:
                await eventually(lambda: str(READY) in _states(fleet), 20, child.output)
                group.create_task(endless(connection))
                await eventually(lambda: bool(standing((worker.cache / "marks").read_bytes())), 5)
                child.send(signal.SIGSEGV)
                await asyncio.to_thread(child.wait)
            fleet.renewals.clear()
        child.start()
        await eventually(lambda: "CRASHED_WORKER" in _states(fleet), 20, child.output)


def _states(fleet: ScriptedFleet) -> str:
    slots = [slot for worker in fleet.renewals[-1:] for slot in worker.slots]
    return " ".join(f"{slot.state} {slot.reason}" for slot in slots)


async def endless(connection: grpc.aio.Channel) -> None:
    """Make a call that runs until the worker ends."""
    times = pb.ModelInferRequest.InferInputTensor(name="times", datatype="INT64", shape=[])
    request = pb.ModelInferRequest(
        model_name="digits", inputs=[times], raw_input_contents=[(2**40).to_bytes(8, "little")]
    )
    with suppress(grpc.aio.AioRpcError):
        await pb_grpc.GRPCInferenceServiceStub(connection).ModelInfer(request, timeout=20)


def test_settings_that_make_no_sense_end_it_with_one_line(tmp_path: Path) -> None:
    environment = dict(os.environ) | {"SERVEMESH_WORKER_BATCH_ROWS_MAX": "0"}
    child = Child([sys.executable, "-m", "servemesh.worker.main"], log=tmp_path / "log", env=environment)
    child.start()
    assert child.wait() == 64
    assert child.output.count("\n") == 1
    assert child.output.startswith("SERVEMESH_WORKER_BATCH_ROWS_MAX: ")


async def test_it_ends_soon_although_the_store_does_not_answer(
    tmp_path: Path, nats_server: NatsServer, seaweed_server: SeaweedServer, children: ExitStack
) -> None:
    async with around(tmp_path, nats_server, seaweed_server) as (_, worker):
        silent = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        async with silent:
            port = silent.sockets[0].getsockname()[1]
            child = worker.child(S3_ENDPOINT=f"127.0.0.1:{port}")
            children.callback(child.stop)
            child.start()
            await eventually(lambda: bool(worker.half_done) and '"event": "ready"' in child.output, 20)
            child.send(signal.SIGTERM)
            assert await asyncio.to_thread(child.wait, 5.0) == 0
