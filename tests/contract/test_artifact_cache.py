"""The worker's cache of artifacts: whole and verified or not there, over either blob store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
