"""Blobs that nothing needs are deleted, and a commit that needs one just then gets it; on both databases."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from servemesh.blobs.keys import blob_key
from servemesh.blobs.memory import MemoryStore
from servemesh.errors import MissingError, UnavailableError
from servemesh.registry.domain.admission import Admitted
from servemesh.registry.domain.models import ArtifactFile
from servemesh.registry.domain.uploads import Upload
from servemesh.registry.service.collecting import CollectingSettings, Collector
from servemesh.registry.service.duties import SoleDuty
from tests.harness.registry import SIGNATURE, RegistryParts, registry_at

GRACE_S = 3_600.0
TERM_S = 300.0
SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # of an empty file
KEY = blob_key(SHA256)


class GatedStore(MemoryStore):
    """Deletes when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.is_deleting = asyncio.Event()
        self.may_delete = asyncio.Event()
        self.may_delete.set()
        self.is_failing = False

    async def delete(self, key: str) -> None:
        """Remove a blob once the gate is open."""
        self.is_deleting.set()
        await self.may_delete.wait()
        if self.is_failing:
            raise UnavailableError("it is not known whether it was deleted", reason="BLOB_STORE_AWAY")
        await super().delete(key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A registry's database, its blobs and who collects them."""

    registry: RegistryParts
    blobs: GatedStore
    file: Path

    def collector(self, holder: str = "one", takeover_s: float = 0.0) -> Collector:
        """One registry's collector."""
        registry = self.registry
        duty = SoleDuty(
            registry.store, registry.clock, "collector", holder, term_s=TERM_S, takeover_s=takeover_s
        )
        settings = CollectingSettings(grace_s=GRACE_S)
        return Collector(registry.store, self.blobs, registry.clock, duty, settings)

    async def opened(self, upload_id: str) -> Upload:
        """An Upload of the one file, complete and not committed."""
        now = self.registry.clock.now()
        upload = Upload(
            model_id="net",
            upload_id=upload_id,
            files=(ArtifactFile(path="model.onnx", size_bytes=0),),
            create_time=now,
            expire_time=now + timedelta(days=30),
        )
        await self.registry.publishing.create_upload(upload, request_id="", open_max=10)
        return upload.with_digests([SHA256])

    async def committed(self, upload: Upload) -> int:
        """Commit it as a commit does; the Version's id."""
        publishing, now = self.registry.publishing, self.registry.clock.now()
        await publishing.claim_blobs(upload)
        await self.put()
        admitted = Admitted(entry_path="model.onnx", signature=SIGNATURE)
        return (await publishing.commit_upload(upload, admitted, now=now)).version_id

    async def put(self) -> None:
        """Store the blob."""
        await self.blobs.put_file(KEY, self.file, sha256=SHA256)

    async def is_there(self) -> bool:
        """Whether the blob is stored."""
        return await self.blobs.stat(KEY) is not None

    async def age(self, collector: Collector) -> None:
        """Have the orphans found, and let the grace go by."""
        assert await collector.collect()
        self.registry.clock.advance(GRACE_S)


@pytest.fixture
async def bench(registry: RegistryParts, tmp_path: Path) -> Bench:
    file = tmp_path / "empty"
    file.touch()
    return Bench(registry=registry, blobs=GatedStore(), file=file)


async def test_a_blob_goes_when_its_version_has_been_gone_for_the_grace(bench: Bench) -> None:
    collector = bench.collector()
    version_id = await bench.committed(await bench.opened("u1"))
    await bench.age(collector)
    await bench.age(collector)
    assert await bench.is_there()
    await bench.registry.catalog.delete_version("net", version_id)
    await bench.age(collector)
    assert await bench.is_there()
    assert await collector.collect()
    assert not await bench.is_there()


async def test_a_blob_of_a_commit_that_was_cut_off_stays_until_its_upload_is_given_up(bench: Bench) -> None:
    collector = bench.collector()
    upload = await bench.opened("u1")
    await bench.registry.publishing.claim_blobs(upload)
    await bench.put()
    await bench.age(collector)
    await bench.age(collector)
    assert await bench.is_there()
    await bench.registry.publishing.delete_upload("net", "u1")
    await bench.age(collector)
    assert await collector.collect()
    assert not await bench.is_there()


async def test_a_commit_meets_a_deletion_under_way_and_succeeds_a_moment_later(bench: Bench) -> None:
    collector, upload = bench.collector(), await bench.opened("u1")
    await bench.put()
    await bench.age(collector)
    bench.blobs.may_delete.clear()
    async with asyncio.TaskGroup() as group:
        group.create_task(collector.collect())
        await bench.blobs.is_deleting.wait()
        with pytest.raises(UnavailableError) as refused:
            await bench.committed(upload)
        assert refused.value.reason == "BLOB_LEAVING"
        bench.blobs.may_delete.set()
    assert not await bench.is_there()
    await bench.committed(upload)
    assert await bench.is_there()


async def test_a_claim_comes_first_or_not_at_all(bench: Bench) -> None:
    collector, upload = bench.collector(), await bench.opened("u1")
    await bench.put()
    await bench.age(collector)
    await bench.registry.publishing.claim_blobs(upload)
    assert await collector.collect()
    assert await bench.is_there()


async def test_a_deletion_that_was_cut_off_is_finished_by_the_next_round(bench: Bench) -> None:
    collector = bench.collector()
    await bench.put()
    await bench.age(collector)
    bench.blobs.is_failing = True
    with pytest.raises(UnavailableError):
        await collector.collect()
    with pytest.raises(UnavailableError, match="deleted"):
        await bench.committed(await bench.opened("u1"))
    bench.blobs.is_failing = False
    assert await bench.collector("two").collect()
    assert not await bench.is_there()


async def test_one_registry_collects_at_a_time_and_another_takes_over_after_a_term(bench: Bench) -> None:
    first, second = bench.collector("one", TERM_S), bench.collector("two", TERM_S)
    assert await first.collect()
    assert not await second.collect()
    bench.registry.clock.advance(TERM_S)
    assert await second.collect()
    assert not await first.collect()


async def test_what_lies_beside_the_blobs_is_left_alone(bench: Bench) -> None:
    foreign = "blobs/sha256/notes.txt"
    await bench.blobs.put_file(foreign, bench.file, sha256=SHA256)
    collector = bench.collector()
    await bench.age(collector)
    assert await collector.collect()
    assert await bench.blobs.stat(foreign) is not None


async def test_an_upload_that_is_gone_claims_nothing(bench: Bench) -> None:
    upload = await bench.opened("u1")
    with pytest.raises(MissingError):
        await bench.registry.publishing.claim_blobs(replace(upload, upload_id="u2"))


async def test_versions_from_before_there_was_a_collector_keep_their_blobs(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    async with registry_at(f"sqlite:///{path}") as registry:
        (file,) = (await registry.push("old")).files
    with closing(sqlite3.connect(path)) as database:
        for table in ("version_blobs", "upload_blobs", "orphan_blobs"):
            database.execute(f"DROP TABLE {table}")
        database.execute("DROP INDEX ix_versions_request_id")
        database.execute("ALTER TABLE versions DROP COLUMN request_id")
        database.execute("UPDATE alembic_version SET version_num = '0001'")
        database.commit()
    async with registry_at(f"sqlite:///{path}") as registry, registry.store.reading() as tx:
        assert await tx.blobs.used([file.sha256]) == {file.sha256}
