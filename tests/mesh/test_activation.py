"""Models that nobody holds until they are called."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from servemesh.blobs.keys import blob_key
from servemesh.client import AsyncClient
from servemesh.errors import ExpiredError, OverloadedError, UnavailableError
from tests.harness import models
from tests.harness.mesh import SLOT_STATES, mesh
from tests.harness.mesh_load import ROW, Load
from tests.harness.waiting import eventually


@pytest.mark.parametrize("has_edge", [True, False], ids=["edge", "gateway"])
async def test_the_first_call_loads_and_an_idle_model_goes(tmp_path: Path, has_edge: bool) -> None:
    async with mesh(tmp_path, has_edge=has_edge, registry={"demand_idle_s": 1.0}) as m:
        await m.push("net")
        await m.control.deploy("net", replicas=0)
        assert await m.holders("net", 1, *SLOT_STATES) == set()
        assert (await m.client.infer("net", {"x": ROW})).version == "1"
        await m.until_held("net", 1, by=1)
        await m.until_held("net", 1, by=0)
        assert (await m.client.infer("net", {"x": ROW})).version == "1"


async def test_many_first_calls_cause_one_load(tmp_path: Path) -> None:
    async with mesh(tmp_path, workers=3, has_edge=True) as m:
        await m.push("net")
        await m.control.deploy("net", replicas=0)
        load = Load(m.client, "net")
        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(load.call())
        assert (load.failures, load.answers.total()) == ([], 20)
        await m.until_held("net", 1, by=1)
        assert m.blobs.downloads == 1


async def test_a_call_that_cannot_wait_has_its_deadline_and_the_load_goes_on(tmp_path: Path) -> None:
    async with mesh(tmp_path, has_edge=True) as m:
        await m.push("net")
        await m.control.deploy("net", replicas=0)
        m.blobs.is_open.clear()
        with pytest.raises(ExpiredError):
            await m.client.infer("net", {"x": ROW}, timeout_s=0.5)
        m.blobs.is_open.set()
        await m.until_held("net", 1, by=1)
        await m.client.infer("net", {"x": ROW}, timeout_s=5)


async def test_a_model_that_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    async with mesh(tmp_path, workers=1, has_edge=True) as m:
        pushed = await m.control.push("net", models.saved(models.identity(), tmp_path / "net"))
        m.blobs.corrupt(blob_key(pushed.files[0].sha256), b"not what was pushed")
        await m.control.deploy("net", replicas=0)
        with pytest.raises(UnavailableError, match="stored bytes of models/net/versions/1 are not those"):
            await m.client.infer("net", {"x": ROW}, timeout_s=10)


async def test_with_the_store_away_a_call_says_so_and_the_next_one_is_answered(tmp_path: Path) -> None:
    async with mesh(tmp_path, workers=1, has_edge=True) as m:
        await m.push("net")
        await m.control.deploy("net", replicas=0)
        m.blobs.away = True
        with pytest.raises(UnavailableError, match=r"the blob store \(S3\) is away"):
            await m.client.infer("net", {"x": ROW}, timeout_s=10)
        m.blobs.away = False
        async with AsyncClient(m.address) as patient:
            await patient.infer("net", {"x": ROW}, timeout_s=10)


async def test_models_that_do_not_fit_together_take_turns(tmp_path: Path) -> None:
    size_bytes = models.saved(models.mlp(512), tmp_path / "size").stat().st_size
    # Placement takes a Version to need 64 MiB and half as much again as its files until it was loaded once.
    memory_bytes = (64 << 20) + int(1.6 * size_bytes)
    async with mesh(tmp_path, workers=1, has_edge=True, worker={"memory_bytes_max": memory_bytes}) as m:
        for name in ("one", "two"):
            await m.push(name, models.mlp(512))
            await m.control.deploy(name, replicas=0)
        for name in ("one", "two", "one", "two"):
            inputs = {"x": models.sample("FP32", (1, 512))}
            assert (await m.client.infer(name, inputs, timeout_s=20)).model == name
            (worker,) = await m.known_workers()
            assert sum(slot.memory_bytes for slot in worker.slots) <= memory_bytes


async def test_a_model_that_no_worker_can_hold_is_refused_in_clear_words(tmp_path: Path) -> None:
    async with mesh(tmp_path, workers=1, has_edge=True, worker={"memory_bytes_max": 1 << 20}) as m:
        await m.push("net")
        await m.control.deploy("net", replicas=0)
        with pytest.raises(OverloadedError, match="the largest worker may use 1048576") as refused:
            await m.client.infer("net", {"x": ROW}, timeout_s=5)
        assert refused.value.reason == "MODEL_TOO_BIG"
        await m.control.deploy("net", replicas=1)

        async def failed() -> bool:
            return (await m.deployment("net")).state == "FAILED"

        await eventually(failed)
        assert (await m.deployment("net")).reason == "MODEL_TOO_BIG"
