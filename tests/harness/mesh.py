"""The whole mesh in one process and loop: registry, workers and gateway on a bus and a blob store in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import onnx

import servemesh.gateway.main as gateway_main
import servemesh.registry.main as registry_main
import servemesh.worker.main as worker_main
from servemesh.api.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from servemesh.api.oip.v2 import inference_pb2 as oip
from servemesh.api.oip.v2 import inference_pb2_grpc as oip_grpc
from servemesh.api.registry.v1 import registry_pb2_grpc
from servemesh.blobs.memory import MemoryStore
from servemesh.client import AsyncClient, RetryPolicy, parsing
from servemesh.client.results import Deployment, Worker
from servemesh.events.memory import MemoryBus
from servemesh.gateway.adapters.snapshot_file import BOOTSTRAP_FILE
from servemesh.gateway.settings import Settings as GatewaySettings
from servemesh.registry.settings import Settings as RegistrySettings
from servemesh.rpc import client
from servemesh.worker.settings import Settings as WorkerSettings
from tests.harness import models
from tests.harness.envoy import Envoy, running_envoy
from tests.harness.processes import free_ports
from tests.harness.served import served
from tests.harness.waiting import eventually

Settings = Mapping[str, Any]
NO_RETRIES = RetryPolicy(attempts_max=1)
WAIT_S = 40.0
SLOT_STATES = ("UNLOADED", "LOADING", "WARMING", "READY", "DRAINING", "FAILED")
# Everything happens sooner than in a real mesh, in the same order.
REGISTRY: Settings = {"placement_interval_s": 0.1, "relay_interval_s": 0.05, "grace_s": 2}
GATEWAY: Settings = {"listing_interval_s": 0.5, "statistics_interval_s": 0.1, "grace_s": 2}
WORKER: Settings = {
    "memory_bytes_max": 1 << 30,
    "lease_interval_s": 0.5,
    "lease_pause_s": 0.02,
    "announce_interval_s": 0.1,
    "drain_wait_s": 0.5,
    "evict_wait_s": 0.1,
    "retry_first_s": 0.1,
    "grace_s": 5,
}


class SlowStore(MemoryStore):
    """A blob store whose downloads wait while `is_open` is cleared, and are counted."""

    def __init__(self) -> None:
        super().__init__()
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.downloads = 0

    async def fetch_file(self, key: str, path: Path, *, sha256: str, size_bytes: int) -> None:
        """Copy a blob to a new file at `path`, once the store is open."""
        self.downloads += 1
        await self.is_open.wait()
        await super().fetch_file(key, path, sha256=sha256, size_bytes=size_bytes)


class Part:
    """One service, which can be stopped and started again."""

    def __init__(self, serve: Any, *parts: Any) -> None:
        self._serve = serve
        self._parts = parts
        self._life = AsyncExitStack()
        self.address = ""

    async def start(self) -> None:
        """Serve until stopped."""
        self.address = await self._life.enter_async_context(served(self._serve, *self._parts))

    async def stop(self) -> None:
        """Stop as SIGTERM would; nothing happens if it is not running."""
        await self._life.aclose()


class Mesh:
    """What runs, and how to talk to it. `client` speaks to the public address, Envoy's if there is one."""

    def __init__(
        self, folder: Path, *, workers: int, has_edge: bool, settings: Mapping[str, Settings]
    ) -> None:
        registry, xds, edge, admin = (f"127.0.0.1:{port}" for port in free_ports(4))
        self.folder = folder
        self.bus, self.blobs = MemoryBus(), SlowStore()
        chosen = RegistrySettings(
            address=registry, data_dir=folder / "registry", **{**REGISTRY, **settings.get("registry", {})}
        )
        self.registry = Part(registry_main.serve, chosen, self.bus, self.blobs, "")
        self.state_dir = folder / "gateway"
        self._has_edge, self._edge, self._admin = has_edge, edge, admin
        steering = GatewaySettings(
            registry_address=registry,
            xds_address=xds,
            edge_address=edge,
            envoy_admin_address=admin,
            state_dir=self.state_dir,
            **{**GATEWAY, **settings.get("gateway", {})},
        )
        self.gateway = Part(gateway_main.serve, steering, self.bus, "")
        self._registry_address, self._worker_settings = registry, {**WORKER, **settings.get("worker", {})}
        self.workers = {f"w{number}": self._worker(f"w{number}") for number in range(workers)}
        self.envoy: Envoy | None = None
        self.client: AsyncClient
        self.control: AsyncClient
        self.inference: Any
        self.registry_stub: Any
        self.fleet_stub: Any

    def _worker(self, worker_id: str) -> Part:
        settings = WorkerSettings(
            instance=worker_id,
            registry_address=self._registry_address,
            cache_dir=self.folder / worker_id,
            **self._worker_settings,
        )
        return Part(worker_main.serve, settings, self.bus, self.blobs, "")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Mesh]:
        """Run all of it for the length of the block, and stop it in the order of `servemesh down`."""
        async with AsyncExitStack() as stack:
            for part in (self.registry, self.gateway, *self.workers.values()):
                stack.push_async_callback(part.stop)
                await part.start()
            if self._has_edge:
                await self._start_envoy(stack)
            await self._connect(stack)
            await eventually(self._is_ready)
            yield self

    async def _start_envoy(self, stack: AsyncExitStack) -> None:
        port = int(self._admin.rpartition(":")[2])
        path = self.state_dir / BOOTSTRAP_FILE
        self.envoy = await asyncio.to_thread(stack.enter_context, running_envoy(path, admin_port=port))

    @property
    def address(self) -> str:
        """Where callers go."""
        return self._edge if self._has_edge else self.gateway.address

    async def _connect(self, stack: AsyncExitStack) -> None:
        enter = stack.enter_async_context
        self.client = await enter(AsyncClient(self.address, retry=NO_RETRIES))
        self.control = await enter(AsyncClient(self.registry.address))
        self.inference = oip_grpc.GRPCInferenceServiceStub(await enter(client.channel(self.address)))
        to_registry = await enter(client.channel(self.registry.address))
        self.registry_stub = registry_pb2_grpc.RegistryServiceStub(to_registry)
        self.fleet_stub = fleet_pb2_grpc.FleetServiceStub(to_registry)

    async def _is_ready(self) -> bool:
        """Whether the public address answers, and every worker is known there and in the registry."""
        try:
            if not (await self.inference.ServerReady(oip.ServerReadyRequest(), timeout=5)).ready:
                return False
        except grpc.aio.AioRpcError:
            return False
        return len(await self.known_workers()) == len(self.workers)

    async def push(self, name: str, model: onnx.ModelProto | None = None) -> int:
        """Push a model and return the id of its new Version."""
        folder = self.folder / f"pushed-{name}"
        path = models.saved(model or models.identity(), folder)
        return (await self.control.push(name, path)).version

    async def deploy(self, name: str, version: str | int = "", replicas: int | None = None) -> None:
        """Deploy a Model and wait until it is READY and the public address answers for it."""
        await self.control.deploy(name, version=version, replicas=replicas)
        await self.until_ready(name)

    async def until_ready(self, name: str) -> None:
        """Wait until the Deployment is READY and calls are answered."""

        async def ready() -> bool:
            return (await self.deployment(name)).state == "READY" and await self.answers(name)

        await eventually(ready, WAIT_S, f"{name} is READY")

    async def answers(self, name: str, version: str = "") -> bool:
        """Whether a call sent now would be answered."""
        request = oip.ModelReadyRequest(name=name, version=version)
        try:
            return bool((await self.inference.ModelReady(request, timeout=5)).ready)
        except grpc.aio.AioRpcError:
            return False

    async def deployment(self, name: str) -> Deployment:
        """Return the Deployment of a Model."""
        return next(found for found in await self.control.deployments() if found.model == name)

    async def known_workers(self) -> list[Worker]:
        """Return the workers as the registry has them."""
        answer = await self.fleet_stub.ListWorkers(fleet_pb2.ListWorkersRequest(), timeout=5)
        return [parsing.worker(found) for found in answer.workers]

    async def until_held(self, name: str, version: int, *, by: int) -> None:
        """Wait until so many workers have the Version READY and none has it otherwise."""

        async def held() -> bool:
            ready = await self.holders(name, version)
            return len(ready) == by and ready == await self.holders(name, version, *SLOT_STATES)

        await eventually(held, WAIT_S, f"{by} workers hold {name} {version}")

    async def holders(self, name: str, version: int, *states: str) -> set[str]:
        """Return the workers that have the Version in one of `states`, READY if none are given."""
        return {
            worker.worker
            for worker in await self.known_workers()
            for slot in worker.slots
            if (slot.model, slot.version) == (name, version) and slot.state in (states or ("READY",))
        }


@asynccontextmanager
async def mesh(
    folder: Path, *, workers: int = 2, has_edge: bool = False, **settings: Settings
) -> AsyncIterator[Mesh]:
    """Run a mesh; `registry`, `gateway` and `worker` are settings beside those of tests."""
    async with Mesh(folder, workers=workers, has_edge=has_edge, settings=settings).running() as running:
        yield running
