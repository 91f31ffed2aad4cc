"""A worker with a registry around it: leases, loading, health, and leaving."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from servemesh.api.fleet.v1 import fleet_pb2
from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.api.oip.v2 import inference_pb2_grpc as pb_grpc
from servemesh.api.worker.v1 import worker_pb2, worker_pb2_grpc
from servemesh.blobs.keys import blob_key
from servemesh.blobs.memory import MemoryStore
from servemesh.events import subjects
from servemesh.events.memory import MemoryBus
from servemesh.rpc.client import channel
from servemesh.worker import main
from servemesh.worker.settings import Settings
from tests.harness import models
from tests.harness.processes import free_ports
from tests.harness.waiting import eventually
from tests.harness.worker_fleet import ScriptedFleet, an_assigned_slot, pushed


@dataclass(slots=True, kw_only=True)
class Around:
    """What is around the worker of a test, and what is heard of it."""

    folder: Path
    fleet: ScriptedFleet = field(default_factory=ScriptedFleet)
    bus: MemoryBus = field(default_factory=MemoryBus)
    blobs: MemoryStore = field(default_factory=MemoryStore)
    heard: list[fleet_pb2.WorkerAnnouncement] = field(default_factory=list)
    registry_address: str = "127.0.0.1:1"
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def last(self) -> fleet_pb2.Worker:
        return self.heard[-1].worker if self.heard else fleet_pb2.Worker()

    def state(self, version: str) -> str:
        """The last announced state of a slot, without its prefix."""
        states = {slot.version: slot.state for slot in self.last.slots}
        return fleet_pb2.Slot.State.Name(states.get(version, 0)).removeprefix("STATE_")

    async def listen(self) -> None:
        async with self.bus.subscribe(subjects.WORKERS_ANNOUNCED) as messages:
            async for message in messages:
                self.heard.append(fleet_pb2.WorkerAnnouncement.FromString(message.data))

    @asynccontextmanager
    async def registry(self) -> AsyncIterator[None]:
        async with self.fleet.serving() as self.registry_address:
            yield

    @asynccontextmanager
    async def worker(self, **settings: Any) -> AsyncIterator[grpc.aio.Channel]:
        """Run a worker until the block ends, and offer a channel to it."""
        self.stop.clear()
        self.heard.clear()
        given = {
            "instance": "w1",
            "registry_address": self.registry_address,
            "cache_dir": self.folder / "cache",
            "lease_interval_s": 0.05,
            "lease_timeout_s": 0.5,
            "announce_interval_s": 0.05,
            "drain_wait_s": 0.05,
            "retry_first_s": 0.05,
            "server": "grpcio",
        } | settings
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(self.listen())
            running = group.create_task(
                main.serve(Settings(**given), self.bus, self.blobs, "", self.stop.wait)
            )
            await eventually(lambda: bool(self.last.address) or running.done())
            async with channel(self.last.address) as connection:
                try:
                    yield connection
                finally:
                    self.stop.set()
                    await running
                    listening.cancel()


@pytest.fixture
async def around(tmp_path: Path) -> Around:
    return Around(folder=tmp_path)


async def infer(
    connection: grpc.aio.Channel, model: str = "digits", version: str = ""
) -> pb.ModelInferResponse:
    request = pb.ModelInferRequest(
        model_name=model,
        model_version=version,
        inputs=[pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 4])],
        raw_input_contents=[np.arange(4, dtype=np.float32).tobytes()],
    )
    return await pb_grpc.GRPCInferenceServiceStub(connection).ModelInfer(request, timeout=5)


async def health(connection: grpc.aio.Channel, service: str = "") -> int:
    request = health_pb2.HealthCheckRequest(service=service)
    return (await health_pb2_grpc.HealthStub(connection).Check(request, timeout=5)).status


async def test_an_assigned_version_is_loaded_and_answers_by_every_name(around: Around) -> None:
    version = await pushed(around.blobs, around.folder, models.identity(), version_id=3)
    around.fleet.assign(an_assigned_slot(version, aliases=["prod"]))
    async with around.registry(), around.worker() as connection:
        await eventually(lambda: around.state(version.name) == "READY")
        for name in ("", "3", "prod"):
            answer = await infer(connection, version=name)
            assert np.frombuffer(answer.raw_output_contents[0], np.float32).tolist() == [0, 1, 2, 3]
        for service in (*main.SERVICES, "digits"):
            assert await health(connection, service) == health_pb2.HealthCheckResponse.SERVING
        slot = around.last.slots[0]
        assert (slot.is_default, list(slot.aliases), slot.memory_bytes > 0) == (True, ["prod"], True)


async def test_a_worker_that_stops_says_so_then_ends_its_lease(around: Around) -> None:
    version = await pushed(around.blobs, around.folder, models.identity())
    around.fleet.assign(an_assigned_slot(version))
    async with around.registry():
        async with around.worker():
            await eventually(lambda: around.state(version.name) == "READY")
            around.stop.set()
            await eventually(lambda: around.last.state == fleet_pb2.Worker.STATE_DRAINING)
            await eventually(lambda: around.heard[-1].leaving)
        assert around.fleet.ended == [around.last.incarnation]
        sequences = [message.sequence for message in around.heard]
        assert sequences == sorted(set(sequences))


async def test_calls_are_answered_while_gateways_look_away(around: Around) -> None:
    version = await pushed(around.blobs, around.folder, models.identity())
    around.fleet.assign(an_assigned_slot(version))
    async with around.registry(), around.worker(drain_wait_s=0.5) as connection:
        await eventually(lambda: around.state(version.name) == "READY")
        around.stop.set()
        await eventually(lambda: around.last.state == fleet_pb2.Worker.STATE_DRAINING)
        await infer(connection)
        assert await health(connection) == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_with_everything_away_a_restarted_worker_serves_from_its_cache(around: Around) -> None:
    version = await pushed(around.blobs, around.folder, models.identity())
    around.fleet.assign(an_assigned_slot(version))
    async with around.registry(), around.worker():
        await eventually(lambda: around.state(version.name) == "READY")
        await eventually((around.folder / "cache" / "assignment").exists)
    around.blobs.away = True
    async with around.worker() as connection:
        await eventually(lambda: around.state(version.name) == "READY")
        await infer(connection)


async def test_a_removed_version_drains_and_is_forgotten(around: Around) -> None:
    version = await pushed(around.blobs, around.folder, models.identity())
    around.fleet.assign(an_assigned_slot(version))
    async with around.registry(), around.worker() as connection:
        await eventually(lambda: around.state(version.name) == "READY")
        around.fleet.assign()
        await eventually(lambda: not around.last.slots)
        states = {slot.state for message in around.heard for slot in message.worker.slots}
        assert fleet_pb2.Slot.STATE_DRAINING in states
        with pytest.raises(grpc.aio.AioRpcError, match="unknown model: 'digits' is not found"):
            await infer(connection)


async def test_the_old_default_answers_until_the_new_one_is_ready(around: Around) -> None:
    old = await pushed(around.blobs, around.folder, models.identity())
    new = await pushed(around.blobs, around.folder, models.scaled(), version_id=2)
    around.fleet.assign(an_assigned_slot(old))
    async with around.registry(), around.worker() as connection:
        await eventually(lambda: around.state(old.name) == "READY")
        around.blobs.away = True
        around.fleet.assign(an_assigned_slot(new))
        await eventually(lambda: around.state(new.name) == "FAILED")
        assert (await infer(connection)).model_version == "1"
        around.blobs.away = False
        await eventually(lambda: around.state(new.name) == "READY")
        await eventually(lambda: len(around.last.slots) == 1)


async def test_damaged_bytes_fail_the_slot_until_the_store_is_repaired(around: Around) -> None:
    version = await pushed(around.blobs, around.folder, models.identity())
    key = blob_key(version.files[0].sha256)
    good = models.identity().SerializeToString()
    around.blobs.corrupt(key, good[:-1] + b"?")
    around.fleet.assign(an_assigned_slot(version))
    async with around.registry(), around.worker():
        await eventually(lambda: around.state(version.name) == "FAILED")
        await eventually(lambda: {slot.reason for slot in around.last.slots} == {"ARTIFACT_DAMAGED"})
        around.blobs.corrupt(key, good)
        await eventually(lambda: around.state(version.name) == "READY")


async def test_a_call_of_the_registry_brings_the_new_assignment_at_once(around: Around) -> None:
    version = await pushed(around.blobs, around.folder, models.identity())
    async with around.registry(), around.worker(lease_interval_s=60):
        await eventually(lambda: bool(around.fleet.renewals))
        around.fleet.assign(an_assigned_slot(version))
        await around.bus.announce(subjects.assignment_changed("w1"), b"")
        await eventually(lambda: around.state(version.name) == "READY")


async def test_a_worker_whose_name_was_taken_over_ends(around: Around) -> None:
    async with around.registry(), around.worker():
        await eventually(lambda: bool(around.fleet.renewals))
        around.fleet.is_taken = True
        await eventually(lambda: around.heard[-1].leaving)


async def test_a_registry_that_comes_later_is_found_long_before_the_next_renewal(around: Around) -> None:
    (port,) = free_ports(1)
    around.registry_address = f"127.0.0.1:{port}"
    async with around.worker(lease_interval_s=60), around.fleet.serving(around.registry_address):
        await eventually(lambda: bool(around.fleet.renewals))


async def test_a_slot_that_was_unloaded_is_loaded_when_it_is_asked_for(around: Around) -> None:
    version = await pushed(around.blobs, around.folder, models.identity())
    around.fleet.assign(an_assigned_slot(version))
    async with around.registry(), around.worker() as connection:
        await eventually(lambda: around.state(version.name) == "READY")
        unload = pb.RepositoryModelUnloadRequest(model_name="digits")
        await pb_grpc.GRPCInferenceServiceStub(connection).RepositoryModelUnload(unload, timeout=5)
        await eventually(lambda: around.state(version.name) == "UNLOADED")
        with pytest.raises(grpc.aio.AioRpcError, match="not at ready state"):
            await infer(connection)
        stub = worker_pb2_grpc.WorkerServiceStub(connection)
        answer = await stub.LoadSlot(worker_pb2.LoadSlotRequest(version=version.name), timeout=10)
        assert answer.slot.state == fleet_pb2.Slot.STATE_READY
        await infer(connection)
