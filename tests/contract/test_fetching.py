"""Sources and Datasets on their way into a job's folder: real rows, real files."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from servemesh.blobs.memory import MemoryStore
from servemesh.errors import DamagedError, MissingError
from servemesh.optimizer.adapters.blob_folders import BlobFolders, FolderSettings
from servemesh.optimizer.adapters.sql_store import SqlStore
from servemesh.optimizer.domain.records import Dataset, Source, StoredFile, blob_key
from servemesh.optimizer.domain.splits import Shares
from servemesh.optimizer.domain.uploading import source_digest
from servemesh.optimizer.service.fetching import StoredDatasets, StoredSources
from servemesh.sql.engines import StoreSettings
from tests.harness.registry import START, MovedClock

FILES = {"columns.json": b"{}", "0.npy": bytes(100), "deep/1.npy": b"x" * 2_000_000}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    async with SqlStore.opened(StoreSettings(url=f"sqlite:///{tmp_path / 'optimizer.db'}")) as opened:
        yield opened


async def stored(blobs: MemoryStore, folder: Path, owner: str) -> tuple[StoredFile, ...]:
    files = []
    for number, (path, data) in enumerate(FILES.items()):
        sha256, file = hashlib.sha256(data).hexdigest(), folder / f"given-{number}"
        file.write_bytes(data)
        await blobs.put_file(blob_key(owner, number), file, sha256=sha256)
        files.append(StoredFile(path=path, size_bytes=len(data), sha256=sha256, key=blob_key(owner, number)))
    return tuple(files)


async def test_a_source_comes_whole_and_counts_as_used(store: SqlStore, tmp_path: Path) -> None:
    blobs, clock = MemoryStore(), MovedClock()
    files = await stored(blobs, tmp_path, "s1")
    source = Source(
        digest=source_digest([(file.path, file.sha256) for file in files]),
        owner="s1",
        files=files,
        use_time=START,
    )
    async with store.writing(source.name) as tx:
        await tx.sources.put(source)
    clock.advance(60.0)
    sources = StoredSources(store, BlobFolders(blobs, FolderSettings(disk_free_bytes_min=0)), clock)
    await sources.fetch(source.name, tmp_path / "source")
    assert {path: (tmp_path / "source" / path).read_bytes() for path in FILES} == FILES
    async with store.reading() as tx:
        kept = await tx.sources.find(source.digest)
    assert kept is not None
    assert kept.use_time == clock.now()
    with pytest.raises(MissingError) as missing:
        await sources.fetch(f"sources/{'0' * 64}", tmp_path / "none")
    assert missing.value.reason == "SOURCE_MISSING"


async def test_a_dataset_comes_with_the_digest_of_its_content(store: SqlStore, tmp_path: Path) -> None:
    blobs = MemoryStore()
    files = await stored(blobs, tmp_path, "d1")
    dataset = Dataset(
        dataset_id="digits",
        source=f"sources/{'0' * 64}",
        shares=Shares(),
        format="npz",
        columns=(),
        row_count=1,
        size_bytes=1,
        owner="d1",
        files=files,
        create_time=START,
    )
    async with store.writing(dataset.name) as tx:
        await tx.datasets.put(dataset)
    datasets = StoredDatasets(store, BlobFolders(blobs, FolderSettings(disk_free_bytes_min=0)))
    digest = await datasets.fetch(dataset.name, tmp_path / "data")
    assert digest == source_digest([(file.path, file.sha256) for file in files])
    assert (tmp_path / "data" / "deep" / "1.npy").read_bytes() == FILES["deep/1.npy"]
    with pytest.raises(MissingError) as missing:
        await datasets.fetch("datasets/none", tmp_path / "none")
    assert missing.value.reason == "DATASET_MISSING"
    blobs.corrupt(blob_key("d1", 1), bytes(99))
    with pytest.raises(DamagedError):
        await datasets.fetch(dataset.name, tmp_path / "again")
