"""The worker's cache of artifacts: whole and verified or not there, over either blob store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from servemesh.api.registry.v1 import registry_pb2
from servemesh.blobs.keys import blob_key
from servemesh.blobs.memory import MemoryStore
from servemesh.blobs.minio_store import MinioStore, StoreSettings
from servemesh.blobs.ports import BlobStore
from servemesh.errors import DamagedError, OverloadedError, UnavailableError
from servemesh.worker.adapters.disk_cache import CacheSettings, DiskCache
from servemesh.worker.domain.versions import Version
from tests.harness import models
from tests.harness.seaweed import SeaweedServer
from tests.harness.worker_fleet import as_version, pushed


@pytest.fixture(params=["memory", "seaweed"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[BlobStore]:
    if request.param == "memory":
        yield MemoryStore()
        return
    server: SeaweedServer = request.getfixturevalue("seaweed_server")
    settings = StoreSettings(
        endpoint=server.access.endpoint,
        access_key=server.access.access_key,
        secret_key=server.access.secret_key,
        bucket="artifact-cache",
    )
    async with MinioStore.running(settings) as opened:
        yield opened


@asynccontextmanager
async def a_cache(folder: Path, store: BlobStore, size_bytes_max: int = 10**9) -> AsyncIterator[DiskCache]:
    settings = CacheSettings(folder=folder / "cache", size_bytes_max=size_bytes_max)
    async with DiskCache.running(settings, store) as cache:
        yield cache


async def a_version(store: BlobStore, folder: Path, seed: int = 0, **changes: object) -> Version:
    message = await pushed(store, folder / "pushed", models.mlp(seed=seed), name=f"m{seed}")
    message.MergeFrom(registry_pb2.ModelVersion(**changes))
    return as_version(message)


def left_over(folder: Path) -> list[Path]:
    return list((folder / "cache" / "incoming").iterdir())


async def test_a_version_is_fetched_once_and_then_read_from_disk(store: BlobStore, tmp_path: Path) -> None:
    version = await a_version(store, tmp_path)
    async with a_cache(tmp_path, store) as cache, cache.holding(version) as path:
        assert (path / "model.onnx").read_bytes() == models.mlp().SerializeToString()
    async with a_cache(tmp_path, MemoryStore()) as cache, cache.holding(version):
        assert await cache.used_bytes() == version.size_bytes
    assert left_over(tmp_path) == []


async def test_the_folder_is_private_and_files_have_one_link(store: BlobStore, tmp_path: Path) -> None:
    version = await a_version(store, tmp_path)
    async with a_cache(tmp_path, store) as cache, cache.holding(version) as path:
        assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700
        assert (path / "model.onnx").stat().st_nlink == 1


@pytest.mark.parametrize("harm", ["flip", "truncate", "link", "symlink", "extra"])
async def test_a_harmed_entry_is_fetched_again(store: BlobStore, tmp_path: Path, harm: str) -> None:
    version = await a_version(store, tmp_path)
    async with a_cache(tmp_path, store) as cache:
        async with cache.holding(version) as path:
            good = (path / "model.onnx").read_bytes()
        _harm(path / "model.onnx", harm)
        async with cache.holding(version) as path:
            assert [file.name for file in path.iterdir()] == ["model.onnx"]
            assert (path / "model.onnx").read_bytes() == good
            assert not (path / "model.onnx").is_symlink()


def _harm(file: Path, harm: str) -> None:
    data = file.read_bytes()
    if harm == "flip":
        file.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    elif harm == "truncate":
        file.write_bytes(data[:-1])
    elif harm == "link":
        os.link(file, file.parent.parent / "second")
    elif harm == "symlink":
        elsewhere = file.parent.parent / "elsewhere"
        file.rename(elsewhere)
        file.symlink_to(elsewhere)
    else:
        (file.parent / "extra").write_bytes(b"")


async def test_damage_in_the_store_is_told_and_leaves_nothing(store: BlobStore, tmp_path: Path) -> None:
    version = await a_version(store, tmp_path)
    await store.delete(blob_key(version.files[0].sha256))
    async with a_cache(tmp_path, store) as cache:
        with pytest.raises(DamagedError) as caught:
            async with cache.holding(version):
                pass
        assert caught.value.reason == "ARTIFACT_DAMAGED"
        assert (left_over(tmp_path), await cache.used_bytes()) == ([], 0)


async def test_the_least_recently_used_version_makes_room(store: BlobStore, tmp_path: Path) -> None:
    first, second, third = [await a_version(store, tmp_path, seed) for seed in range(3)]
    async with a_cache(tmp_path, store, size_bytes_max=int(first.size_bytes * 2.5)) as cache:
        for version in (first, second, first, third):
            async with cache.holding(version):
                pass
        kept = {path.name for path in (tmp_path / "cache" / "artifacts").iterdir()}
        assert kept == {first.sha256, third.sha256}


async def test_a_disk_without_room_is_told_and_leaves_nothing(store: BlobStore, tmp_path: Path) -> None:
    version = await a_version(store, tmp_path)
    settings = CacheSettings(folder=tmp_path / "cache", size_bytes_max=10**9, spare_bytes=10**18)
    async with DiskCache.running(settings, store) as cache:
        with pytest.raises(OverloadedError) as caught:
            async with cache.holding(version):
                pass
        assert (caught.value.reason, left_over(tmp_path)) == ("DISK_FULL", [])


async def test_what_is_held_is_never_evicted(store: BlobStore, tmp_path: Path) -> None:
    first, second = [await a_version(store, tmp_path, seed) for seed in range(2)]
    async with a_cache(tmp_path, store, size_bytes_max=int(first.size_bytes * 1.5)) as cache:
        async with cache.holding(first) as path:
            with pytest.raises(OverloadedError) as caught:
                async with cache.holding(second):
                    pass
            assert caught.value.reason == "CACHE_FULL"
            assert (path / "model.onnx").exists()
        async with cache.holding(second):
            assert not path.exists()


async def test_two_who_want_the_same_version_fetch_it_once(store: BlobStore, tmp_path: Path) -> None:
    version = await a_version(store, tmp_path)

    async def hold(cache: DiskCache) -> None:
        async with cache.holding(version) as path:
            assert (path / "model.onnx").exists()

    async with a_cache(tmp_path, store) as cache, asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(hold(cache))
    assert left_over(tmp_path) == []


async def test_what_an_earlier_process_left_half_done_is_removed(store: BlobStore, tmp_path: Path) -> None:
    half = tmp_path / "cache" / "incoming" / "ab.1"
    half.mkdir(parents=True)
    (half / "model.onnx").write_bytes(b"half")
    async with a_cache(tmp_path, store):
        assert left_over(tmp_path) == []


async def test_while_the_store_is_away_what_is_cached_can_be_used(tmp_path: Path) -> None:
    store = MemoryStore()
    first, second = [await a_version(store, tmp_path, seed) for seed in range(2)]
    async with a_cache(tmp_path, store) as cache:
        async with cache.holding(first):
            pass
        store.away = True
        async with cache.holding(first):
            pass
        with pytest.raises(UnavailableError):
            async with cache.holding(second):
                pass
        assert left_over(tmp_path) == []


async def test_a_path_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    store = MemoryStore()
    good = await a_version(store, tmp_path)
    file = registry_pb2.ArtifactFile(path="../out", sha256=good.files[0].sha256, size_bytes=1)
    version = await a_version(store, tmp_path, files=[file])
    async with a_cache(tmp_path, store) as cache:
        with pytest.raises(DamagedError):
            async with cache.holding(version):
                pass
        assert left_over(tmp_path) == []
    assert not (tmp_path / "cache" / "out").exists()


class OnTheWay(MemoryStore):
    """A store from which nothing arrives until it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.let = asyncio.Event()

    async def fetch_file(self, key: str, path: Path, *, sha256: str, size_bytes: int) -> None:
        self.asked += 1
        await self.let.wait()
        await super().fetch_file(key, path, sha256=sha256, size_bytes=size_bytes)


async def test_versions_that_arrive_at_the_same_time_keep_to_the_bound_together(tmp_path: Path) -> None:
    slow = OnTheWay()
    versions = [await a_version(slow, tmp_path, seed=seed) for seed in range(4)]
    size_bytes_max = int(versions[0].size_bytes * 1.5)

    async def held(cache: DiskCache, version: Version) -> str:
        try:
            async with cache.holding(version):
                return "held"
        except OverloadedError as error:
            return error.reason

    async with a_cache(tmp_path, slow, size_bytes_max) as cache, asyncio.TaskGroup() as group:
        calls = [group.create_task(held(cache, version)) for version in versions]
        while slow.asked + sum(call.done() for call in calls) < 4:
            await asyncio.sleep(0)
        assert slow.asked == 1
        slow.let.set()
    assert sorted(call.result() for call in calls) == ["CACHE_FULL"] * 3 + ["held"]


async def test_whoever_holds_a_version_has_it_although_others_look_for_room(tmp_path: Path) -> None:
    store = MemoryStore()
    first, second = [await a_version(store, tmp_path, seed) for seed in range(2)]

    async def held(cache: DiskCache, version: Version, turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        with suppress(OverloadedError):  # the other one is held
            async with cache.holding(version) as path:
                await cache.used_bytes()
                assert (path / "model.onnx").exists()

    async with a_cache(tmp_path, store, size_bytes_max=int(first.size_bytes * 1.5)) as cache:
        for turns in range(120):
            async with asyncio.TaskGroup() as group:
                group.create_task(held(cache, first if turns % 2 else second, 0))
                group.create_task(held(cache, second if turns % 2 else first, turns // 2))
