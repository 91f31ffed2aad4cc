"""kill -9 of an optimizer during a job, and two optimizers on one database: each job is committed once."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest

import servemesh.registry.main as registry_main
from servemesh.api.optimizer.v1 import optimizer_pb2 as pb
from servemesh.api.registry.v1 import registry_pb2, registry_pb2_grpc
from servemesh.blobs.minio_store import MinioStore, StoreSettings
from servemesh.events.nats_bus import NatsBus
from servemesh.events.settings import BusSettings
from servemesh.registry.settings import Settings as RegistrySettings
from servemesh.rpc import client
from tests.harness.faults import SEED, lasting
from tests.harness.nats_server import NatsServer
from tests.harness.optimizer_calls import a_program, optimizer_at
from tests.harness.processes import Child, accepts, free_ports
from tests.harness.seaweed import SeaweedServer
from tests.harness.served import served

KILLS = int(lasting(1, 8))
JOBS = int(lasting(2, 6))
BUCKET = "killed-optimizer"
State = pb.Job.State


class OptimizerProcess(Child):
    """An optimizer as it is run, on an address that it keeps."""

    address = ""

    def serve(self) -> None:
        """Start it and wait until it answers."""
        self.start()
        self.wait_ready(lambda: accepts(int(self.address.rpartition(":")[2])), timeout_s=40.0)


class World:
    """A registry, and optimizers that share one database."""

    def __init__(self, folder: Path, settings: dict[str, str], registry_address: str) -> None:
        self._folder = folder
        self._settings = settings
        self.registry_address = registry_address

    def optimizer(self, name: str) -> OptimizerProcess:
        """Return an optimizer that is not started."""
        address = f"127.0.0.1:{free_ports(1)[0]}"
        settings = {**self._settings, "ADDRESS": address, "INSTANCE": name}
        env = {**os.environ, **{f"SERVEMESH_OPTIMIZER_{key}": value for key, value in settings.items()}}
        command = [sys.executable, "-m", "servemesh.optimizer.main"]
        process = OptimizerProcess(command, log=self._folder / f"{name}.log", env=env)
        process.address = address
        return process

    async def versions(self, model: str) -> int:
        """How many Versions a Model has."""
        async with client.channel(self.registry_address) as channel:
            stub = registry_pb2_grpc.RegistryServiceStub(channel)
            request = registry_pb2.ListModelVersionsRequest(parent=f"models/{model}")
            return len((await stub.ListModelVersions(request)).model_versions)


@pytest.fixture
async def world(
    tmp_path: Path, nats_server: NatsServer, seaweed_server: SeaweedServer
) -> AsyncIterator[World]:
    access = seaweed_server.access
    store = StoreSettings(
        endpoint=access.endpoint,
        access_key=access.access_key,
        secret_key=access.secret_key,
        bucket=BUCKET,
    )
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        bus = await enter(NatsBus.running(BusSettings(url=nats_server.url)))
        blobs = await enter(MinioStore.running(store))
        await blobs.ensure_bucket()
        settings = RegistrySettings(data_dir=tmp_path / "registry", grace_s=2)
        registry_address = await enter(served(registry_main.serve, settings, bus, blobs, ""))
        yield World(
            tmp_path,
            {
                "DATA_DIR": str(tmp_path / "optimizer"),
                "REGISTRY_ADDRESS": registry_address,
                "NATS_URL": nats_server.url,
                "S3_ENDPOINT": access.endpoint,
                "S3_ACCESS_KEY": access.access_key,
                "S3_SECRET_KEY": access.secret_key,
                "S3_BUCKET": BUCKET,
                "LEASE_S": "2",
                "BEAT_S": "0.2",
                "POLL_S": "0.3",
                "LOSSES_MAX": "20",
            },
            registry_address,
        )


@pytest.mark.timeout(300)
async def test_jobs_go_on_after_each_kill_and_commit_once(world: World) -> None:
    chance = random.Random(SEED)
    optimizer = world.optimizer("optimizer")
    try:
        await asyncio.to_thread(optimizer.serve)
        async with optimizer_at(optimizer.address) as calls:
            name = await calls.converting("killed", a_program())
        assert (await _done_under_kills(optimizer, name, chance)).epoch > 1
        assert await world.versions("killed") == 1
        wish = pb.Optimization(
            source_version="models/killed/versions/1",
            steps=[a_step("simplify"), a_step("int8_dynamic")],
            gate=pb.Gate(metric_loss_max=1.0),
            measurement=pb.MeasurementPlan(batch_sizes=[1], rounds=5),
        )
        async with optimizer_at(optimizer.address) as calls:
            request = pb.CreateOptimizationRequest(optimization=wish)
            made = await calls.stub.CreateOptimization(request)
        assert (await _done_under_kills(optimizer, made.optimization.name, chance)).epoch > 1
        assert await world.versions("killed") == 2
    finally:
        optimizer.stop()


@pytest.mark.timeout(300)
async def test_two_optimizers_do_each_job_once(world: World) -> None:
    optimizers = [world.optimizer("one"), world.optimizer("two")]
    try:
        async with asyncio.TaskGroup() as group:
            for optimizer in optimizers:
                group.create_task(asyncio.to_thread(optimizer.serve))
        names = []
        for number in range(JOBS):
            async with optimizer_at(optimizers[number % 2].address) as calls:
                names.append(await calls.converting(f"shared-{number}", a_program()))
        async with optimizer_at(optimizers[0].address) as calls:
            jobs = [(await calls.states(name))[-1] for name in names]
        assert [(job.state, job.epoch) for job in jobs] == [(State.STATE_SUCCEEDED, 1)] * JOBS
        assert [await world.versions(f"shared-{number}") for number in range(JOBS)] == [1] * JOBS
    finally:
        for optimizer in optimizers:
            optimizer.stop()


async def _done_under_kills(optimizer: OptimizerProcess, name: str, chance: random.Random) -> pb.Job:
    """Kill the optimizer at random moments of its job, each time start it again, and return the job at its end."""
    for _ in range(KILLS):
        if await _has_ended(optimizer.address, name, after_s=chance.uniform(0.3, 2.5)):
            break
        optimizer.kill()
        await asyncio.to_thread(optimizer.serve)
    async with optimizer_at(optimizer.address) as calls:
        job = (await calls.states(name))[-1]
    assert job.state == State.STATE_SUCCEEDED, job
    return job


def a_step(name: str) -> pb.PassStep:
    """A step with the defaults of its pass."""
    step = pb.PassStep()
    setattr(step, "pass", name)  # a word of Python
    return step


async def _has_ended(address: str, name: str, *, after_s: float) -> bool:
    """Watch for so long; whether the job has ended by then."""
    async with optimizer_at(address) as calls:
        call = calls.stub.WatchJob(pb.WatchJobRequest(name=name), timeout=after_s)
        try:
            async for _ in call:
                pass
        except grpc.aio.AioRpcError as error:
            assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED  # noqa: PT017 - it is still at work
            return False
        return True
