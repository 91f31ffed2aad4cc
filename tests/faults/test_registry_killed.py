"""kill -9 of the registry while it writes: every acknowledged change is there afterwards, with its event."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from servemesh.api.events.v1 import events_pb2
from servemesh.api.registry.v1 import registry_pb2 as pb
from servemesh.api.registry.v1 import registry_pb2_grpc as pb_grpc
from servemesh.events.nats_bus import NatsBus
from servemesh.events.settings import BusSettings
from servemesh.lifecycle import background
from servemesh.rpc import client
from tests.harness.nats_server import NatsServer
from tests.harness.processes import Child, accepts, free_ports
from tests.harness.waiting import eventually

SEED = 20_261_121
KILLS = 8
WRITERS = 8


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


@pytest.fixture
def registry(tmp_path: Path, port: int, own_nats_server: NatsServer) -> Iterator[Child]:
    settings = {
        "SERVEMESH_REGISTRY_ADDRESS": f"127.0.0.1:{port}",
        "SERVEMESH_REGISTRY_DATA_DIR": str(tmp_path / "registry"),
        "SERVEMESH_REGISTRY_NATS_URL": own_nats_server.url,
        "SERVEMESH_REGISTRY_S3_ENDPOINT": f"127.0.0.1:{free_ports(1)[0]}",
    }
    command = [sys.executable, "-m", "servemesh.registry.main"]
    child = Child(command, log=tmp_path / "registry.log", env={**os.environ, **settings})
    yield child
    child.stop()


async def write(address: str, writer: int, attempt: int, acknowledged: set[str]) -> None:
    """Create Models until the registry is gone."""
    async with client.channel(address) as channel:
        stub = pb_grpc.RegistryServiceStub(channel)
        number = 0
        while True:
            model_id = f"m-{attempt}-{writer}-{number}"
            try:
                await stub.CreateModel(pb.CreateModelRequest(model_id=model_id), timeout=20)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                return
            acknowledged.add(f"models/{model_id}")
            number += 1


async def listed(address: str) -> set[str]:
    found: set[str] = set()
    async with client.channel(address) as channel:
        stub = pb_grpc.RegistryServiceStub(channel)
        token = ""
        while True:
            request = pb.ListModelsRequest(page_size=1_000, page_token=token)
            page = await stub.ListModels(request, timeout=20, wait_for_ready=True)
            found |= {model.name for model in page.models}
            token = page.next_page_token
            if not token:
                return found


async def test_no_acknowledged_change_and_no_event_is_lost(
    registry: Child, port: int, own_nats_server: NatsServer
) -> None:
    chances = random.Random(SEED)
    address = f"127.0.0.1:{port}"
    acknowledged: set[str] = set()
    told: set[str] = set()

    async def listen() -> None:
        bus_settings = BusSettings(url=own_nats_server.url)
        async with (
            NatsBus.running(bus_settings) as bus,
            bus.consume("test", subjects=["servemesh.v1.registry.>"]) as deliveries,
        ):
            async for delivery in deliveries:
                told.add(events_pb2.Event.FromString(delivery.data).resource)
                await delivery.ack()

    async with background(listen):
        for attempt in range(KILLS):
            await start(registry, port)
            goal = len(acknowledged) + chances.randrange(1, 60)
            async with asyncio.TaskGroup() as group:
                for writer in range(WRITERS):
                    group.create_task(write(address, writer, attempt, acknowledged))
                await eventually(lambda goal=goal: len(acknowledged) >= goal)  # type: ignore[misc]
                registry.kill()
        await start(registry, port)
        models = await listed(address)
        assert acknowledged <= models
        assert len(acknowledged) > KILLS
        await eventually(lambda: told == models, timeout_s=20)
    assert await asyncio.to_thread(registry.stop) == 0


async def start(registry: Child, port: int) -> None:
    registry.start()
    await asyncio.to_thread(registry.wait_ready, lambda: accepts(port))


def test_settings_that_are_wrong_end_it_with_64_and_one_line(registry: Child, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "servemesh.registry.main"]
    child = Child(command, log=tmp_path / "log", env={**os.environ, "SERVEMESH_REGISTRY_LEASE_S": "soon"})
    child.start()
    assert child.wait() == 64
    assert child.output.count("\n") == 1
    assert "SERVEMESH_REGISTRY_LEASE_S" in child.output
