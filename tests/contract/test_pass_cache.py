"""The pass cache on real rows, with the blob store in memory and on SeaweedFS."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from servemesh.blobs.memory import MemoryStore
from servemesh.blobs.minio_store import MinioStore
from servemesh.blobs.minio_store import StoreSettings as BlobSettings
from servemesh.blobs.ports import BlobStore
from servemesh.errors import MissingError, UnavailableError
from servemesh.optimizer.adapters.sql_store import SqlStore
from servemesh.optimizer.domain.records import BLOBS
from servemesh.optimizer.service.model_files import digest_of
from servemesh.optimizer.service.pass_cache import KeptPasses, PassCacheSettings
from servemesh.sql.engines import StoreSettings
from tests.harness.registry import MovedClock
from tests.harness.seaweed import SeaweedServer

ANSWER = {"notes": ["as it was"], "libraries": {"onnx": "1.23.0"}}
KEY = "k" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A cache with what it stands on."""

    cache: KeptPasses
    store: SqlStore
    blobs: BlobStore
    clock: MovedClock
    folder: Path

    def a_model(self, text: str = "model", size_bytes: int = 1_000) -> Path:
        """Write a file to be kept."""
        path = self.folder / f"{uuid4().hex}.onnx"
        path.write_bytes((text * size_bytes).encode()[:size_bytes])
        return path

    def target(self) -> Path:
        """Where a model is to go."""
        return self.folder / uuid4().hex

    def with_settings(self, **settings: float) -> KeptPasses:
        """The same cache with other bounds."""
        return KeptPasses(self.store, self.blobs, self.clock, PassCacheSettings(**settings))

    async def keys(self) -> list[str]:
        """Where its blobs lie."""
        return [blob.key async for blob in self.blobs.list_blobs(BLOBS)]

    async def corrupt(self, folder: Path) -> None:
        """Put other bytes under every key."""
        for number, key in enumerate(await self.keys()):
            other = folder / f"other-{number}"
            other.write_bytes(bytes(1_000))
            await self.blobs.delete(key)
            await self.blobs.put_file(key, other, sha256=sha256_of(other))


@pytest.fixture(params=["memory", "seaweed"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    async with SqlStore.opened(StoreSettings(url=f"sqlite:///{tmp_path / 'optimizer.db'}")) as store:
        if request.param == "memory":
            yield a_bench(store, MemoryStore(), tmp_path)
            return
        server: SeaweedServer = request.getfixturevalue("seaweed_server")
        access = server.access
        settings = BlobSettings(
            endpoint=access.endpoint,
            access_key=access.access_key,
            secret_key=access.secret_key,
            bucket=f"passes-{uuid4().hex[:12]}",
        )
        async with MinioStore.running(settings) as blobs:
            await blobs.ensure_bucket()
            yield a_bench(store, blobs, tmp_path)


def a_bench(store: SqlStore, blobs: BlobStore, folder: Path) -> Bench:
    clock = MovedClock()
    cache = KeptPasses(store, blobs, clock, PassCacheSettings())
    return Bench(cache=cache, store=store, blobs=blobs, clock=clock, folder=folder)


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def test_what_was_kept_comes_back_with_its_answer(bench: Bench) -> None:
    model, target, again = bench.a_model(), bench.target(), bench.target()
    assert await bench.cache.get(KEY, target) is None
    sha256 = await bench.cache.put(KEY, model, ANSWER)
    assert sha256 == sha256_of(model)
    assert await bench.cache.get(KEY, target) == ANSWER
    assert target.read_bytes() == model.read_bytes()
    await bench.cache.fetch(sha256, again)
    assert again.read_bytes() == model.read_bytes()


async def test_weights_beside_a_model_go_with_it(bench: Bench) -> None:
    model = bench.a_model()
    (bench.folder / f"{model.name}.data").write_bytes(b"weights")
    sha256 = await bench.cache.put(KEY, model, ANSWER)
    first, second = bench.folder / "first", bench.folder / "second"
    await bench.cache.get(KEY, first)
    await bench.cache.fetch(sha256, second)
    assert digest_of(first) == digest_of(second) == sha256
    assert (bench.folder / "second.data").read_bytes() == b"weights"
    (bench.folder / f"{model.name}.data").write_bytes(b"others")
    assert digest_of(model) != sha256


async def test_a_model_that_has_lost_its_weights_is_forgotten(bench: Bench) -> None:
    model, target = bench.a_model(), bench.target()
    (bench.folder / f"{model.name}.data").write_bytes(b"weights")
    await bench.cache.put(KEY, model, ANSWER)
    await bench.blobs.delete(next(key for key in await bench.keys() if key.endswith("/1")))
    assert await bench.cache.get(KEY, target) is None
    assert not target.exists()


async def test_what_is_damaged_is_forgotten_and_can_be_kept_anew(bench: Bench) -> None:
    model, target = bench.a_model(), bench.target()
    sha256 = await bench.cache.put(KEY, model, ANSWER)
    await bench.corrupt(bench.folder)
    assert await bench.cache.get(KEY, target) is None
    assert not target.exists()
    with pytest.raises(MissingError) as lost:
        await bench.cache.fetch(sha256, target)
    assert lost.value.reason == "PASS_OUTPUT_LOST"
    await bench.cache.put(KEY, model, ANSWER)
    assert await bench.cache.get(KEY, target) == ANSWER


async def test_what_the_store_has_lost_is_forgotten(bench: Bench) -> None:
    await bench.cache.put(KEY, bench.a_model(), ANSWER)
    for key in await bench.keys():
        await bench.blobs.delete(key)
    assert await bench.cache.get(KEY, bench.target()) is None
    async with bench.store.reading() as tx:
        assert await tx.passes.size_bytes() == 0


async def test_a_key_that_is_kept_twice_has_the_newest_model(bench: Bench) -> None:
    second, target = bench.a_model("second"), bench.target()
    await bench.cache.put(KEY, bench.a_model("first"), {})
    await bench.cache.put(KEY, second, ANSWER)
    assert await bench.cache.get(KEY, target) == ANSWER
    assert target.read_bytes() == second.read_bytes()


async def test_a_model_that_two_steps_gave_outlives_one_of_them(bench: Bench) -> None:
    model, cache = bench.a_model(), bench.with_settings(unused_s_max=100.0)
    sha256 = await cache.put("one", model, {})
    bench.clock.advance(90.0)
    await cache.put("two", model, {})
    bench.clock.advance(20.0)
    assert await cache.sweep() == 1
    await cache.fetch(sha256, bench.target())


async def test_the_longest_unused_goes_when_there_is_too_much(bench: Bench) -> None:
    cache = bench.with_settings(bytes_max=2_500, grace_s=10.0)
    for key in ("one", "two", "three"):
        await cache.put(key, bench.a_model(key), {})
        bench.clock.advance(1.0)
    await cache.get("one", bench.target())
    assert await cache.sweep() == 0  # used just now, all of them
    bench.clock.advance(20.0)
    assert await cache.sweep() == 1
    kept = [key for key in ("one", "two", "three") if await cache.get(key, bench.target()) is not None]
    assert kept == ["one", "three"]


async def test_what_nobody_used_for_long_goes_page_by_page(tmp_path: Path) -> None:
    async with SqlStore.opened(StoreSettings(url=f"sqlite:///{tmp_path / 'optimizer.db'}")) as store:
        bench = a_bench(store, MemoryStore(), tmp_path)
        cache, model = bench.with_settings(unused_s_max=100.0), bench.a_model(size_bytes=10)
        for number in range(120):
            await cache.put(f"key{number}", model, {})
        bench.clock.advance(200.0)
        await cache.put("new", model, {})
        assert await cache.sweep() == 120
        assert await cache.get("new", bench.target()) == {}


async def test_blobs_of_what_is_gone_are_nobodys(bench: Bench) -> None:
    cache = bench.with_settings(unused_s_max=100.0)
    await cache.put("one", bench.a_model(), {})
    (key,) = await bench.keys()
    owner = key.split("/")[1]
    async with bench.store.reading() as tx:
        assert await tx.blob_owners.known([owner]) == {owner}
    bench.clock.advance(200.0)
    await cache.sweep()
    async with bench.store.reading() as tx:
        assert await tx.blob_owners.known([owner]) == set()


async def test_a_store_that_is_away_is_no_loss(tmp_path: Path) -> None:
    async with SqlStore.opened(StoreSettings(url=f"sqlite:///{tmp_path / 'optimizer.db'}")) as store:
        blobs = MemoryStore()
        bench = a_bench(store, blobs, tmp_path)
        await bench.cache.put(KEY, bench.a_model(), ANSWER)
        blobs.away = True
        with pytest.raises(UnavailableError):
            await bench.cache.get(KEY, bench.target())
        blobs.away = False
        assert await bench.cache.get(KEY, bench.target()) == ANSWER
