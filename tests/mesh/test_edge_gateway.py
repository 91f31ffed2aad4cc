"""The gateway as a whole: workers announce themselves, a real Envoy follows; nothing outside needs to be up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc

from servemesh.api.fleet.v1 import fleet_pb2 as pb
from servemesh.api.oip.v2 import inference_pb2, inference_pb2_grpc
from servemesh.events import subjects
from servemesh.events.memory import MemoryBus
from servemesh.gateway.adapters.snapshot_file import BOOTSTRAP_FILE, FLEET_FILE, TABLES_FILE
from servemesh.gateway.main import serve
from servemesh.gateway.settings import Settings
from servemesh.lifecycle import background
from servemesh.rpc import client
from tests.harness.envoy import Envoy, an_envoy
from tests.harness.oip_worker import OipWorker, oip_worker
from tests.harness.processes import free_ports
from tests.harness.waiting import eventually

NOBODY = "127.0.0.1:1"


class World:
    """A bus, a gateway that can be stopped and started, an Envoy and a client."""

    def __init__(self, folder: Path) -> None:
        edge, admin, xds = free_ports(3)
        self.folder = folder
        self.bus = MemoryBus()
        self.admin_port = admin
        self.settings = Settings(
            registry_address=NOBODY,
            state_dir=folder,
            xds_address=f"127.0.0.1:{xds}",
            edge_address=f"127.0.0.1:{edge}",
            envoy_admin_address=f"127.0.0.1:{admin}",
        )
        self.channel = client.channel(self.settings.edge_address)
        self._sequence = 0

    @asynccontextmanager
    async def gateway(self) -> AsyncIterator[None]:
        """Run a gateway for the length of the block."""
        stopping = asyncio.Event()
        ended = asyncio.Event()

        async def run() -> None:
            await serve(self.settings, self.bus, "", stopping.wait)  # type: ignore[arg-type]
            ended.set()

        (self.folder / BOOTSTRAP_FILE).unlink(missing_ok=True)
        async with background(run):
            await eventually(lambda: (self.folder / BOOTSTRAP_FILE).exists())
            try:
                yield
            finally:
                stopping.set()
                await ended.wait()

    async def announce(self, worker: OipWorker, state: pb.Slot.State, *, leaving: bool = False) -> None:
        """Let a worker say that its slot of "iris" is in `state`."""
        self._sequence += 1
        slot = pb.Slot(version="models/iris/versions/1", state=state, is_default=True)
        message = pb.WorkerAnnouncement(
            worker=pb.Worker(
                name=f"workers/{worker.name}",
                incarnation=f"start of {worker.name}",
                address=worker.address,
                state=pb.Worker.STATE_ACTIVE,
                slots=[slot],
            ),
            sequence=self._sequence,
            leaving=leaving,
        )
        await self.bus.announce(subjects.worker_announced(worker.name), message.SerializeToString())

    async def answered_by(self) -> str:
        """Return the name of the worker that answers a call for "iris"."""
        stub = inference_pb2_grpc.GRPCInferenceServiceStub(self.channel)
        request = inference_pb2.ModelInferRequest(model_name="iris")
        return str((await stub.ModelInfer(request, timeout=20, wait_for_ready=True)).id)

    async def until_routed(self, envoy: Envoy, worker: OipWorker) -> None:
        """Wait until Envoy knows two healthy endpoints, the worker and the gateway, and calls arrive."""
        await eventually(
            lambda: asyncio.to_thread(lambda: envoy.stat("cluster.workers.membership_healthy") >= 2)
        )
        assert await self.answered_by() == worker.name


@asynccontextmanager
async def a_world(folder: Path) -> AsyncIterator[World]:
    world = World(folder)
    try:
        yield world
    finally:
        await world.channel.close()


async def announced(world: World, worker: OipWorker, state: pb.Slot.State) -> None:
    """Announce until the gateway has it: the first words may come before it listens."""
    await world.announce(worker, state)
    wanted = pb.Slot.State.Name(state).encode()

    async def kept() -> bool:
        await world.announce(worker, state)
        path = world.folder / FLEET_FILE
        return path.exists() and worker.address.encode() in path.read_bytes() and wanted in path.read_bytes()

    await eventually(kept)


async def until(world: World, worker: OipWorker) -> None:
    """Wait until calls are answered by `worker`."""

    async def answered() -> bool:
        try:
            return await world.answered_by() == worker.name
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False  # nobody holds the model at this moment, and there is no registry to ask

    await eventually(answered)


async def test_envoy_follows_the_announcements_of_workers(tmp_path: Path) -> None:
    async with (
        a_world(tmp_path) as world,
        oip_worker("one") as one,
        oip_worker("two") as two,
        world.gateway(),
    ):
        with an_envoy(world.folder / BOOTSTRAP_FILE, admin_port=world.admin_port) as envoy:
            await asyncio.to_thread(envoy.start)
            await announced(world, one, pb.Slot.STATE_READY)
            await world.until_routed(envoy, one)
            await announced(world, two, pb.Slot.STATE_READY)
            await announced(world, one, pb.Slot.STATE_DRAINING)
            await until(world, two)
            await world.announce(two, pb.Slot.STATE_READY, leaving=True)
            await announced(world, one, pb.Slot.STATE_READY)
            await until(world, one)


async def test_gateway_and_envoy_restart_from_disk_with_everything_else_away(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world, oip_worker("one") as one:
        with an_envoy(world.folder / BOOTSTRAP_FILE, admin_port=world.admin_port) as envoy:
            async with world.gateway():
                await asyncio.to_thread(envoy.start)
                await announced(world, one, pb.Slot.STATE_READY)
                await world.until_routed(envoy, one)
                await eventually(lambda: b"STATE_READY" in (tmp_path / FLEET_FILE).read_bytes())
            world.bus.disconnect()
            await asyncio.to_thread(envoy.process.kill)
            await asyncio.to_thread(envoy.start)
            assert await world.answered_by() == "one"
            async with world.gateway():
                await asyncio.to_thread(envoy.process.kill)
                await asyncio.to_thread(envoy.start)
                await world.until_routed(envoy, one)
            assert (tmp_path / TABLES_FILE).stat().st_size > 0
