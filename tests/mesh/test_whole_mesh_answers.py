"""What the mesh says of itself: metadata, index, statistics, health; alike at gateway and worker."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from servemesh.api.oip.v2 import inference_pb2 as oip
from servemesh.api.oip.v2 import inference_pb2_grpc as oip_grpc
from servemesh.rpc import client
from tests.harness.mesh import Mesh, mesh
from tests.harness.mesh_load import Load
from tests.harness.waiting import eventually

SERVING = health_pb2.HealthCheckResponse.SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


async def test_gateway_and_worker_describe_a_model_alike(tmp_path: Path) -> None:
    async with mesh(tmp_path, workers=1, has_edge=True) as m:
        await m.push("net")
        await m.deploy("net")
        (worker,) = m.workers.values()
        async with client.channel(worker.address) as channel:
            direct = oip_grpc.GRPCInferenceServiceStub(channel)
            for method, request in (
                ("ModelMetadata", oip.ModelMetadataRequest(name="net")),
                ("ModelConfig", oip.ModelConfigRequest(name="net")),
                ("ModelReady", oip.ModelReadyRequest(name="net", version="1")),
                ("ServerReady", oip.ServerReadyRequest()),
                ("ServerLive", oip.ServerLiveRequest()),
                ("RepositoryIndex", oip.RepositoryIndexRequest()),
            ):
                assert await getattr(m.inference, method)(request) == await getattr(direct, method)(request)
            metadata = await m.inference.ModelMetadata(oip.ModelMetadataRequest(name="net"))
            assert (metadata.versions, metadata.inputs[0].shape) == (["1"], [-1, 4])
            at_mesh, at_worker = [
                await stub.ServerMetadata(oip.ServerMetadataRequest()) for stub in (m.inference, direct)
            ]
            assert (at_mesh.name, at_mesh.version) == (at_worker.name, at_worker.version)
            assert set(at_mesh.extensions) <= set(at_worker.extensions)


async def test_the_index_lists_what_is_served_and_what_could_be(tmp_path: Path) -> None:
    async with mesh(tmp_path, workers=1) as m:
        for name in ("idle", "net"):
            await m.push(name)
        await m.deploy("net")
        assert await _index(m) == {("idle", "1", "UNAVAILABLE", "not deployed"), ("net", "1", "READY", "")}
        assert await _index(m, ready=True) == {("net", "1", "READY", "")}


async def _index(m: Mesh, *, ready: bool = False) -> set[tuple[str, str, str, str]]:
    answer = await m.inference.RepositoryIndex(oip.RepositoryIndexRequest(ready=ready))
    return {(found.name, found.version, found.state, found.reason) for found in answer.models}


async def test_statistics_are_sums_that_never_fall_when_a_worker_leaves(tmp_path: Path) -> None:
    async with mesh(tmp_path, workers=2, has_edge=True) as m:
        await m.push("net")
        await m.deploy("net", replicas=2)
        load = Load(m.client, "net")
        for _ in range(40):
            await load.call()
        assert await _successes(m) == 40
        first, second = m.workers.values()
        # The counters of a worker are read every tenth of a second, the last time before it is forgotten.
        await first.stop()
        assert await _successes(m) == 40
        for _ in range(5):
            await load.call()
        assert await _successes(m) == 45
        await first.start()
        await m.until_held("net", 1, by=2)
        await second.stop()
        assert await _successes(m) == 45
        assert load.failures == []


async def _successes(m: Mesh) -> int:
    answer = await m.inference.ModelStatistics(oip.ModelStatisticsRequest(name="net"))
    (statistics,) = answer.model_stats
    assert statistics.inference_count == statistics.inference_stats.success.count
    return int(statistics.inference_count)


async def test_health_of_each_model_can_be_checked_and_watched_at_its_worker(tmp_path: Path) -> None:
    async with mesh(tmp_path, workers=1) as m:
        await m.push("net")
        (worker,) = m.workers.values()
        async with client.channel(worker.address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            watch = health.Watch(health_pb2.HealthCheckRequest(service="net"), timeout=20)
            assert await _next(watch) == SERVICE_UNKNOWN
            await m.deploy("net")
            async with asyncio.timeout(10):
                while await _next(watch) != SERVING:
                    pass
            for service in ("", "net", "net/1", "inference.GRPCInferenceService"):
                assert await _status(health, service) == SERVING
            await m.control.undeploy("net")
            assert await _next(watch) == SERVICE_UNKNOWN
            watch.cancel()


async def test_health_of_the_whole_mesh_can_be_checked_at_its_public_address(tmp_path: Path) -> None:
    async with mesh(tmp_path, workers=1, has_edge=True) as m:
        async with client.channel(m.address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            for service in ("", "inference.GRPCInferenceService"):
                assert await _status(health, service) == SERVING
        (worker,) = m.workers.values()
        await worker.stop()

        async def unready() -> bool:
            return not (await m.inference.ServerReady(oip.ServerReadyRequest())).ready

        await eventually(unready)


async def _next(watch: Any) -> int:
    answer = await watch.read()
    assert answer is not grpc.aio.EOF
    return int(answer.status)


async def _status(health: Any, service: str) -> int:
    return int((await health.Check(health_pb2.HealthCheckRequest(service=service))).status)
