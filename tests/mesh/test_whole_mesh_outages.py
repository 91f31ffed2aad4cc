"""NATS, the registry or the gateway away: what is loaded is served, and changes go on afterwards."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import grpc
import pytest

from servemesh.api.registry.v1 import registry_pb2 as pb
from servemesh.client import AsyncClient
from servemesh.errors import UnavailableError
from servemesh.rpc.statuses import from_rpc_error
from tests.harness.mesh import mesh
from tests.harness.mesh_load import ROW, steadily_called


async def test_without_the_bus_calls_and_changes_go_on(tmp_path: Path) -> None:
    async with mesh(tmp_path, workers=2, has_edge=True) as m:
        await m.push("net")
        await m.deploy("net", replicas=2)
        async with steadily_called(m.client, "net") as load:
            m.bus.disconnect()
            await load.until_answered(20)
            # Workers renew their leases and the gateway asks for listings: slower, by themselves.
            await m.push("net")
            await m.deploy("net", 2, replicas=2)
            await load.until_answered(5, 2)
            m.bus.reconnect()
            await m.push("net")
            await m.deploy("net", 3, replicas=2)
            await load.until_answered(5, 3)


async def test_without_the_bus_a_version_moves_to_another_worker_without_a_failed_call(
    tmp_path: Path,
) -> None:
    real = {"gateway": {"listing_interval_s": 5}, "worker": {"drain_wait_s": 1}}
    async with mesh(tmp_path, workers=2, has_edge=True, **real) as m:
        await m.push("net")
        await m.deploy("net", replicas=1)
        first = await m.holders("net", 1)
        async with steadily_called(m.client, "net", interval_s=0.05) as load:
            m.bus.disconnect()
            for version in range(2, 12):
                await m.push("net")
                await m.deploy("net", version, replicas=1)
                await load.until_answered(20, version)
                if await m.holders("net", version) != first:
                    break


async def test_without_the_registry_loaded_models_are_served_and_changes_say_what_is_away(
    tmp_path: Path,
) -> None:
    async with mesh(tmp_path, workers=2, has_edge=True) as m:
        await m.push("net")
        await m.deploy("net", replicas=2)
        async with steadily_called(m.client, "net") as load:
            await m.registry.stop()
            with pytest.raises(UnavailableError):
                await m.client.deploy("net", version=1)
            await load.until_answered(20)
            await m.registry.start()
            await m.push("net")
            await m.deploy("net", 2, replicas=2)
            await load.until_answered(5, 2)


async def test_with_everything_but_envoy_and_workers_away_loaded_models_are_served(tmp_path: Path) -> None:
    async with mesh(tmp_path, workers=2, has_edge=True) as m:
        await m.push("net")
        await m.deploy("net", replicas=2)
        async with steadily_called(m.client, "net") as load:
            m.bus.disconnect()
            m.blobs.away = True
            await m.registry.stop()
            await m.gateway.stop()
            await load.until_answered(30)
            first, _ = m.workers.values()
            await first.stop()
            await load.until_answered(30)
            # It has its last assignment and the weights on disk.
            await first.start()
            assert (await _direct(first.address)) == "1"


async def _direct(address: str) -> str:
    async with AsyncClient(address) as client:
        return (await client.infer("net", {"x": ROW})).version


async def test_a_change_sent_twice_is_made_once_and_a_stale_one_is_refused(tmp_path: Path) -> None:
    async with mesh(tmp_path, workers=1) as m:
        await m.push("net")
        create = pb.CreateDeploymentRequest(
            deployment=pb.Deployment(model="models/net"), request_id=str(uuid.uuid4())
        )
        first = (await m.registry_stub.CreateDeployment(create)).deployment
        again = (await m.registry_stub.CreateDeployment(create)).deployment
        assert (again.etag, again.create_time) == (first.etag, first.create_time)
        update = pb.UpdateDeploymentRequest(
            deployment=pb.Deployment(name=first.name, model=first.model, replicas=1, etag=first.etag)
        )
        update.update_mask.paths.append("replicas")
        changed = (await m.registry_stub.UpdateDeployment(update)).deployment
        assert changed.etag != first.etag
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await m.registry_stub.UpdateDeployment(update)
        assert refused.value.code() is grpc.StatusCode.ABORTED
        assert from_rpc_error(refused.value).reason == "STALE_ETAG"


async def test_a_watch_sees_a_deployment_become_ready(tmp_path: Path) -> None:
    async with mesh(tmp_path, workers=1, has_edge=True) as m:
        await m.push("net")
        m.blobs.is_open.clear()
        await m.control.deploy("net")
        watch = m.registry_stub.WatchDeployment(pb.WatchDeploymentRequest(name="deployments/net"), timeout=20)
        assert (await watch.read()).deployment.state == pb.Deployment.STATE_PENDING
        m.blobs.is_open.set()
        async with asyncio.timeout(10):
            while (await watch.read()).deployment.state != pb.Deployment.STATE_READY:
                pass
        watch.cancel()
        await m.client.infer("net", {"x": ROW})
