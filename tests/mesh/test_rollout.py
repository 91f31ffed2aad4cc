"""New Versions, moved Aliases and shared traffic, while callers go on calling."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from servemesh.api.fleet.v1 import fleet_pb2
from servemesh.api.registry.v1 import registry_pb2 as pb
from servemesh.blobs.keys import blob_key
from servemesh.lifecycle import background
from tests.harness import models
from tests.harness.mesh import Mesh, mesh
from tests.harness.mesh_load import ROW, Load, steadily_called
from tests.harness.waiting import eventually


@pytest.mark.parametrize("has_edge", [True, False], ids=["edge", "gateway"])
async def test_a_new_version_takes_over_without_a_failed_call(tmp_path: Path, has_edge: bool) -> None:
    async with mesh(tmp_path, workers=3, has_edge=has_edge) as m:
        await m.push("net")
        await m.deploy("net", replicas=2)
        async with steadily_called(m.client, "net") as load:
            for version in (2, 3):
                await m.push("net")
                await m.deploy("net", version, replicas=2)
                await load.until_answered(10, version)
        assert set(load.answers) == {"1", "2", "3"}


async def test_the_old_version_stays_until_the_new_one_is_ready_on_another_worker(tmp_path: Path) -> None:
    async with mesh(tmp_path, workers=2, has_edge=True) as m:
        await m.push("net")
        await m.deploy("net", replicas=1)
        (first,) = await m.holders("net", 1)
        # Where a Version goes is decided by its name: sooner or later one goes to the other worker.
        async with steadily_called(m.client, "net") as load:
            for version in range(2, 12):
                await m.push("net")
                async with _never_without(m, version - 1, version):
                    await m.deploy("net", version, replicas=1)
                await load.until_answered(3, version)
                if await m.holders("net", version) != {first}:
                    break
            else:
                pytest.fail("no version was ever placed on the other worker")


@asynccontextmanager
async def _never_without(m: Mesh, old: int, new: int) -> AsyncIterator[None]:
    """AssertionError if the registry ever knows no READY slot of either Version during the block."""
    looks: list[bool] = []

    async def look() -> None:
        while True:
            looks.append(bool(await m.holders("net", old) | await m.holders("net", new)))
            await asyncio.sleep(0)

    async with background(look):
        yield
    assert all(looks)


async def test_a_version_that_cannot_be_loaded_leaves_the_old_one_serving(tmp_path: Path) -> None:
    async with mesh(tmp_path, workers=2, has_edge=True) as m:
        await m.push("net")
        await m.deploy("net", replicas=2)
        pushed = await m.control.push("net", models.saved(models.mlp(4), tmp_path / "bad"))
        m.blobs.corrupt(blob_key(pushed.files[0].sha256), b"not what was pushed")
        async with steadily_called(m.client, "net") as load:
            await m.control.deploy("net", version=2, replicas=2)

            async def failed() -> bool:
                # Looked at once: a worker that tries again makes it PENDING for a while.
                told = await m.deployment("net")
                return told.state == "FAILED" and bool(told.reason) and told.message.startswith("version 2: ")

            await eventually(failed)
            await load.until_answered(10)
        assert set(load.answers) == {"1"}


async def test_calls_follow_an_alias_and_its_history_tells_where_it_was(tmp_path: Path) -> None:
    async with mesh(tmp_path, workers=2, has_edge=True) as m:
        for _ in range(2):
            await m.push("net")
        await m.control.set_alias("net", "prod", 1)
        await m.deploy("net", "prod", replicas=1)
        before = datetime.now(UTC)
        by_alias, by_default = Load(m.client, "net", "prod"), Load(m.client, "net")
        async with background(lambda: by_alias.run(0.02), lambda: by_default.run(0.02)):
            await by_alias.until_answered(5, 1)
            await m.control.set_alias("net", "prod", 2)
            await by_alias.until_answered(10, 2)
            await by_default.until_answered(10, 2)
        assert (by_alias.failures, by_default.failures) == ([], [])
        assert (await m.control.alias("net", "prod")).version == 2
        assert (await m.control.alias("net", "prod", as_of=before)).version == 1
        assert [move.version for move in await m.control.alias_history("net", "prod")] in ([1, 2], [2, 1])


async def test_traffic_is_shared_by_weight(tmp_path: Path) -> None:
    async with mesh(tmp_path, workers=2, has_edge=True) as m:
        for _ in range(2):
            await m.push("net")
        await m.deploy("net", 1, replicas=2)
        traffic = [
            pb.TrafficTarget(target="models/net/versions/1", weight_percent=75),
            pb.TrafficTarget(target="models/net/versions/2", weight_percent=25),
        ]
        wish = pb.Deployment(name="deployments/net", model="models/net", traffic=traffic, replicas=2)
        request = pb.UpdateDeploymentRequest(deployment=wish)
        request.update_mask.paths.extend(["traffic", "replicas"])
        load = Load(m.client, "net")
        async with background(lambda: load.run(0.02)):
            await m.registry_stub.UpdateDeployment(request)
            await m.until_ready("net")
            await load.until_answered(3, 2)
        answers: Counter[str] = Counter()
        for _ in range(400):
            answers[(await m.client.infer("net", {"x": ROW})).version] += 1
        # 100 of 400 are expected; the standard deviation is 8.7.
        assert 60 <= answers["2"] <= 140
        assert load.failures == []


async def test_a_worker_leaves_the_routing_before_it_stops_and_comes_back(tmp_path: Path) -> None:
    async with mesh(tmp_path, workers=2, has_edge=True) as m:
        await m.push("net")
        await m.deploy("net", replicas=2)
        async with steadily_called(m.client, "net") as load:
            for worker_id, worker in m.workers.items():
                await worker.stop()
                request = fleet_pb2.ListWorkersRequest()
                left = (await m.fleet_stub.ListWorkers(request)).workers
                assert f"workers/{worker_id}" not in {found.name for found in left}
                await load.until_answered(10)
                await worker.start()

                async def back(worker_id: str = worker_id) -> bool:
                    return worker_id in await m.holders("net", 1)

                await eventually(back)
            await load.until_answered(20)
