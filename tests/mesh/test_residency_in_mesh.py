"""What is resident at single workers of a mesh: loads, unloads and evictions seen by callers."""

from __future__ import annotations

from pathlib import Path

from servemesh import names
from servemesh.api.fleet.v1 import fleet_pb2
from servemesh.api.oip.v2 import inference_pb2 as oip
from servemesh.api.oip.v2 import inference_pb2_grpc as oip_grpc
from servemesh.client import AsyncClient
from servemesh.rpc import client
from tests.harness import models
from tests.harness.mesh import Mesh, mesh
from tests.harness.mesh_load import ROW, steadily_called
from tests.harness.waiting import eventually

# Large beside what the memory of a process that runs a whole mesh goes up and down by.
WIDTH = 3_072


async def test_a_model_unloaded_at_its_worker_is_loaded_by_the_next_call(tmp_path: Path) -> None:
    async with mesh(tmp_path, workers=1, has_edge=True) as m:
        await m.push("net")
        await m.deploy("net")
        (worker,) = m.workers.values()
        async with client.channel(worker.address) as channel:
            direct = oip_grpc.GRPCInferenceServiceStub(channel)
            await direct.RepositoryModelUnload(oip.RepositoryModelUnloadRequest(model_name="net"), timeout=10)
            assert not (await direct.ModelReady(oip.ModelReadyRequest(name="net"))).ready
            assert (await m.client.infer("net", {"x": ROW})).version == "1"
            await direct.RepositoryModelUnload(oip.RepositoryModelUnloadRequest(model_name="net"), timeout=10)
            await direct.RepositoryModelLoad(oip.RepositoryModelLoadRequest(model_name="net"), timeout=10)
            assert (await direct.ModelReady(oip.ModelReadyRequest(name="net"))).ready


async def test_a_model_unloaded_at_one_worker_is_answered_by_the_other(tmp_path: Path) -> None:
    async with mesh(tmp_path, workers=2, has_edge=True) as m:
        await m.push("net")
        await m.deploy("net", replicas=2)
        first, _ = m.workers.values()
        async with steadily_called(m.client, "net") as load, client.channel(first.address) as channel:
            direct = oip_grpc.GRPCInferenceServiceStub(channel)
            await direct.RepositoryModelUnload(oip.RepositoryModelUnloadRequest(model_name="net"), timeout=10)
            await load.until_answered(20)
        assert len(await m.holders("net", 1)) == 1


async def test_the_least_recently_called_of_three_models_makes_room(tmp_path: Path) -> None:
    size_bytes = models.saved(models.mlp(WIDTH), tmp_path / "size").stat().st_size
    # Room for a new Version beside a resident one, not beside two: one that is resident counts once its
    # size or a little more, one that is new half as much again and 64 MiB.
    memory_bytes = (64 << 20) + int(3.2 * size_bytes)
    async with mesh(tmp_path, workers=1, has_edge=True, worker={"memory_bytes_max": memory_bytes}) as m:
        for name in ("one", "two", "three"):
            await m.push(name, models.mlp(WIDTH))
            await m.control.deploy(name, replicas=0)
        for name in ("one", "two", "one"):
            await _call(m, name)

        async def is_known() -> bool:
            called = await _called_ns(m)
            return called.get("one", 0) > called.get("two", 0) > 0

        # The registry, which makes room, hears of calls with the next renewal of the lease.
        await eventually(is_known, what="one is known to have been called last")
        await _call(m, "three")

        seen: set[str] = set()

        async def made_room() -> bool:
            nonlocal seen
            seen = {name for name in ("one", "two", "three") if await m.holders(name, 1)}
            return seen == {"one", "three"}

        await eventually(made_room, what=lambda: f"one and three are held, but {sorted(seen)}")
        await _call(m, "two")


async def _called_ns(m: Mesh) -> dict[str, int]:
    """Return when each model was last called, as far as the registry knows."""
    answer = await m.fleet_stub.ListWorkers(fleet_pb2.ListWorkersRequest(), timeout=5)
    slots = [slot for worker in answer.workers for slot in worker.slots]
    return {names.version_ids(slot.version)[0]: slot.call_time.ToNanoseconds() for slot in slots}


async def _call(m: Mesh, name: str) -> None:
    inputs = {"x": models.sample("FP32", (1, WIDTH))}
    assert (await m.client.infer(name, inputs, timeout_s=20)).model == name


async def test_a_restarted_worker_serves_from_its_disk(tmp_path: Path) -> None:
    async with mesh(tmp_path, workers=1) as m:
        await m.push("net")
        await m.deploy("net")
        (worker,) = m.workers.values()
        assert m.blobs.downloads == 1
        await worker.stop()
        m.blobs.away = True
        await m.registry.stop()
        await worker.start()
        async with AsyncClient(worker.address) as direct:
            assert (await direct.infer("net", {"x": ROW}, timeout_s=10)).version == "1"
        assert m.blobs.downloads == 1
