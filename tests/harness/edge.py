"""An edge for tests: a real Envoy, fed by our ADS server, in front of workers that echo."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import grpc

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.gateway.adapters.snapshot_file import BOOTSTRAP_FILE, StateFolder
from servemesh.gateway.adapters.xds_bootstrap import Start, bootstrap_json
from servemesh.gateway.adapters.xds_messages import tables_of
from servemesh.gateway.adapters.xds_server import XdsServer
from servemesh.gateway.adapters.xds_subscriptions import Refusal
from servemesh.gateway.domain.fleet import Fleet
from servemesh.gateway.domain.snapshot.policy import EdgePolicy
from servemesh.gateway.domain.snapshot.values import (
    Address,
    Collector,
    Endpoint,
    Neighbours,
    Snapshot,
    Split,
    parse_address,
)
from servemesh.gateway.domain.traffic import Traffic
from servemesh.gateway.service.publication import Publication
from servemesh.rpc import client
from servemesh.rpc.health import Health
from servemesh.rpc.server import serving
from tests.harness.envoy import Envoy, running_envoy
from tests.harness.oip_worker import SERVICE, OipWorker, oip_worker
from tests.harness.processes import free_ports
from tests.harness.waiting import eventually


class Edge:
    """Envoy, its control plane and a gateway service that echoes under the name "gateway"."""

    def __init__(self, folder: StateFolder, snapshot: Snapshot) -> None:
        self.folder = folder
        self.publication = Publication(snapshot)
        self.refusals: list[Refusal] = []
        self.control = AsyncExitStack()  # closing it is the death of the gateway's ADS server
        self.envoy: Envoy
        self.gateway: OipWorker
        self.channel: grpc.aio.Channel
        self._xds_address = "127.0.0.1:0"

    @property
    def snapshot(self) -> Snapshot:
        """What is published."""
        assert self.publication.snapshot is not None
        return self.publication.snapshot

    @property
    def address(self) -> str:
        """Where Envoy takes calls."""
        edge = self.snapshot.neighbours.edge
        return f"{edge.host}:{edge.port}"

    async def start_control(self) -> str:
        """Serve ADS, on the same address each time."""
        server, health = XdsServer(self.publication, refused=self.refusals.append), Health()
        health.set("", True)
        self._xds_address = await self.control.enter_async_context(
            serving(self._xds_address, [server.register], health=health, grace_s=0.1)
        )
        return self._xds_address

    async def publish(self, endpoints: Sequence[Endpoint] = (), splits: Sequence[Split] = ()) -> None:
        """Publish workers and splits, keep them on disk, and wait until Envoy works by them."""
        await self.put(replace(self.snapshot, endpoints=tuple(endpoints), splits=tuple(splits)))

    async def put(self, snapshot: Snapshot) -> None:
        """Publish a snapshot, keep it on disk, and wait until Envoy works by it."""
        self.publication.put(snapshot)
        await self.folder.keep(Fleet(), Traffic(), snapshot)
        await asyncio.to_thread(self.envoy.until_in_force, {t.version for t in tables_of(snapshot).values()})

    async def infer(
        self,
        model: str = "iris",
        version: str = "",
        *,
        timeout_s: float | None = 5.0,
        metadata: Sequence[tuple[str, str]] = (),
        **fields: object,
    ) -> pb.ModelInferResponse:
        """Call ModelInfer through Envoy."""
        request = pb.ModelInferRequest(model_name=model, model_version=version, **fields)
        call = self.channel.unary_unary(
            f"/{SERVICE}/ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        return await call(request, timeout=timeout_s, metadata=tuple(metadata), wait_for_ready=True)

    async def answered_by(self, model: str = "iris", version: str = "", **options: object) -> str:
        """Return the name of the worker that answers."""
        return (await self.infer(model, version, **options)).id  # type: ignore[arg-type]

    async def until_answered_by(self, name: str, model: str = "iris", version: str = "") -> None:
        """Wait until calls are answered by a worker: a new endpoint must be found healthy first."""
        async with asyncio.timeout(10):
            while True:
                try:
                    if await self.answered_by(model, version) == name:
                        return
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.UNAVAILABLE:
                        raise

    async def know_nothing(self) -> None:
        """Restart the control plane without any knowledge of the fleet, and wait until Envoy has its tables."""
        await self.control.aclose()
        self.publication.put(replace(self.snapshot, endpoints=None, policy=EdgePolicy(pushback_ms=251)))
        await self.start_control()
        versions = {table.version for table in tables_of(self.snapshot).values()}
        await asyncio.to_thread(self.envoy.until_in_force, versions)

    async def until_refused(self) -> None:
        """Wait until Envoy has refused a table."""
        await eventually(lambda: bool(self.refusals))

    async def until_healthy(self, count: int) -> None:
        """Wait until Envoy has found that many endpoints healthy, the gateway's among them."""
        async with asyncio.timeout(10):
            while await asyncio.to_thread(self.envoy.stat, "cluster.workers.membership_healthy") != count:
                await asyncio.sleep(0.02)


@asynccontextmanager
async def running_edge(
    folder: Path, policy: EdgePolicy | None = None, collector: Collector | None = None
) -> AsyncIterator[Edge]:
    """Run all of it; its spans and statistics go to the collector."""
    edge_port, admin_port = free_ports(2)
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(oip_worker("gateway"))
        neighbours = Neighbours(
            edge=Address(host="127.0.0.1", port=edge_port),
            gateways=(parse_address(gateway.address),),
            registries=(parse_address(gateway.address),),
            trace_collector=collector,
        )
        snapshot = Snapshot(neighbours=neighbours, policy=policy or EdgePolicy())
        edge = Edge(StateFolder(folder), snapshot)
        edge.gateway = gateway
        stack.push_async_callback(lambda: edge.control.aclose())
        edge.folder.write_bootstrap(
            bootstrap_json(_start(edge, admin_port, await edge.start_control(), collector))
        )
        envoy = await asyncio.to_thread(
            stack.enter_context, running_envoy(folder / BOOTSTRAP_FILE, admin_port=admin_port)
        )
        edge.envoy = envoy
        edge.channel = client.channel(f"127.0.0.1:{edge_port}", message_bytes_max=128 << 20)
        stack.push_async_callback(edge.channel.close)
        await edge.put(snapshot)
        await edge.until_healthy(1)
        yield edge


def _start(edge: Edge, admin_port: int, xds_address: str, collector: Collector | None) -> Start:
    return Start(
        node_id="edge",
        admin=Address(host="127.0.0.1", port=admin_port),
        gateways=[parse_address(xds_address)],
        last_known_path=edge.folder.tables_path,
        heap_bytes_max=2 << 30,
        connections_max=1000,
        collector=collector,
    )


def holding(worker: OipWorker | str, *, models: Sequence[str] = (), slots: Sequence[str] = ()) -> Endpoint:
    """Return the endpoint of a worker, or of an address."""
    address = worker if isinstance(worker, str) else worker.address
    return Endpoint(address=parse_address(address), models=tuple(models), slots=tuple(slots))
