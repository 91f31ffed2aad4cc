"""The contract of the blob store, on the store in memory, on SeaweedFS, and on any S3 given by URL."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import pytest
import urllib3
from minio import Minio

from servemesh.blobs.keys import blob_key
from servemesh.blobs.memory import MemoryStore
from servemesh.blobs.minio_store import MinioStore, StoreSettings
from servemesh.blobs.ports import BlobStore
from servemesh.errors import DamagedError, InvalidError, MissingError, UnavailableError
from tests.harness.seaweed import S3Access, SeaweedServer
from tests.harness.waiting import eventually

DATA = bytes(range(256)) * 20_000  # 5 MB: more than a chunk and, below, more than a part
SHA256 = hashlib.sha256(DATA).hexdigest()
KEY = blob_key(SHA256)
GIVEN_S3 = os.environ.get("SERVEMESH_TEST_S3_URL", "")


@dataclass
class Shop:
    """A store, and how to damage a blob in it behind its back."""

    store: BlobStore
    corrupt: Callable[[str, bytes], None]


@pytest.fixture(params=["memory", "seaweed", *(["given"] if GIVEN_S3 else [])])
async def shop(request: pytest.FixtureRequest) -> AsyncIterator[Shop]:
    if request.param == "memory":
        memory = MemoryStore(chunk_bytes=1024 * 1024)
        yield Shop(memory, memory.corrupt)
        return
    access = _given() if request.param == "given" else request.getfixturevalue("seaweed_server").access
    settings = _settings(access)
    async with MinioStore.running(settings) as store:
        await store.ensure_bucket()
        yield Shop(store, lambda key, data: _overwrite(settings, key, data))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights"
    path.write_bytes(DATA)
    return path


async def test_a_file_comes_back_as_it_was(shop: Shop, file: Path, tmp_path: Path) -> None:
    assert await shop.store.put_file(KEY, file, sha256=SHA256)
    copy = tmp_path / "copy"
    await shop.store.fetch_file(KEY, copy, sha256=SHA256, size_bytes=len(DATA))
    assert copy.read_bytes() == DATA
    info = await shop.store.stat(KEY)
    assert info is not None
    assert (info.key, info.size_bytes) == (KEY, len(DATA))


async def test_an_empty_file_comes_back(shop: Shop, tmp_path: Path) -> None:
    empty, copy, sha256 = tmp_path / "empty", tmp_path / "copy", hashlib.sha256(b"").hexdigest()
    empty.touch()
    await shop.store.put_file(blob_key(sha256), empty, sha256=sha256)
    await shop.store.fetch_file(blob_key(sha256), copy, sha256=sha256, size_bytes=0)
    assert copy.stat().st_size == 0


@pytest.mark.parametrize("offset", [0, 1, 3_000_000, len(DATA) - 1, len(DATA)])
async def test_a_blob_is_read_from_any_offset(shop: Shop, file: Path, offset: int) -> None:
    await shop.store.put_file(KEY, file, sha256=SHA256)
    async with shop.store.open(KEY, offset=offset) as chunks:
        assert b"".join([chunk async for chunk in chunks]) == DATA[offset:]


async def test_a_blob_is_not_read_to_its_end_when_nobody_wants_it(shop: Shop, file: Path) -> None:
    await shop.store.put_file(KEY, file, sha256=SHA256)
    async with shop.store.open(KEY) as chunks:
        assert DATA.startswith(await anext(chunks))


async def test_what_is_there_is_not_written_again(shop: Shop, file: Path) -> None:
    assert await shop.store.put_file(KEY, file, sha256=SHA256)
    before = await shop.store.stat(KEY)
    assert not await shop.store.put_file(KEY, file, sha256=SHA256)
    assert await shop.store.stat(KEY) == before


async def test_a_file_that_is_not_what_it_says_is_not_stored(shop: Shop, file: Path) -> None:
    other = hashlib.sha256(b"other").hexdigest()
    with pytest.raises(DamagedError):
        await shop.store.put_file(blob_key(other), file, sha256=other)
    assert await shop.store.stat(blob_key(other)) is None


@pytest.mark.parametrize(
    "stored", [DATA[:-1], DATA + b"x", b"", b"x" + DATA[1:]], ids=["short", "long", "empty", "flipped"]
)
async def test_a_damaged_blob_is_never_handed_out(shop: Shop, tmp_path: Path, stored: bytes) -> None:
    shop.corrupt(KEY, stored)
    with pytest.raises(DamagedError):
        await shop.store.fetch_file(KEY, tmp_path / "copy", sha256=SHA256, size_bytes=len(DATA))
    assert not (tmp_path / "copy").exists()


async def test_what_is_missing_is_said_to_be_missing(shop: Shop, tmp_path: Path) -> None:
    assert await shop.store.stat(KEY) is None
    with pytest.raises(MissingError):
        await shop.store.fetch_file(KEY, tmp_path / "copy", sha256=SHA256, size_bytes=len(DATA))
    with pytest.raises(MissingError):
        async with shop.store.open(KEY):
            pass
    assert not (tmp_path / "copy").exists()


async def test_a_fetch_never_writes_over_a_file_or_through_a_link(
    shop: Shop, file: Path, tmp_path: Path
) -> None:
    await shop.store.put_file(KEY, file, sha256=SHA256)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    for path in (file, link):
        with pytest.raises(FileExistsError):
            await shop.store.fetch_file(KEY, path, sha256=SHA256, size_bytes=len(DATA))
    assert file.read_bytes() == DATA  # noqa: ASYNC240
    assert not (tmp_path / "elsewhere").exists()


async def test_a_deleted_blob_is_gone_and_may_be_deleted_again(shop: Shop, file: Path) -> None:
    await shop.store.put_file(KEY, file, sha256=SHA256)
    await shop.store.delete(KEY)
    await shop.store.delete(KEY)
    assert await shop.store.stat(KEY) is None


async def test_blobs_are_listed_by_prefix(shop: Shop) -> None:
    for key in ("a/2", "a/1", "b/1"):
        shop.corrupt(key, b"x")
    assert [info.key async for info in shop.store.list_blobs("a/")] == ["a/1", "a/2"]


async def test_a_cancelled_fetch_leaves_no_file(shop: Shop, file: Path, tmp_path: Path) -> None:
    await shop.store.put_file(KEY, file, sha256=SHA256)
    copy = tmp_path / "copy"
    async with asyncio.TaskGroup() as group:
        fetch = group.create_task(shop.store.fetch_file(KEY, copy, sha256=SHA256, size_bytes=len(DATA)))
        await eventually(lambda: copy.exists() or fetch.done())
        fetch.cancel()
    assert fetch.cancelled() or copy.read_bytes() == DATA
    assert not copy.exists() or copy.stat().st_size == len(DATA)


async def test_a_store_that_is_away_says_so_and_serves_when_it_is_back(
    own_seaweed_server: SeaweedServer, file: Path, tmp_path: Path
) -> None:
    async with MinioStore.running(_settings(own_seaweed_server.access)) as store:
        await store.ensure_bucket()
        await store.put_file(KEY, file, sha256=SHA256)
        own_seaweed_server.stop()
        with pytest.raises(UnavailableError):
            await store.stat(KEY)
        with pytest.raises(UnavailableError):
            await store.fetch_file(KEY, tmp_path / "copy", sha256=SHA256, size_bytes=len(DATA))
        own_seaweed_server.start()

        async def is_back() -> bool:  # it listens before it finds what it holds
            with suppress(UnavailableError):
                await store.fetch_file(KEY, tmp_path / "copy", sha256=SHA256, size_bytes=len(DATA))
                return True
            return False

        await eventually(is_back)


async def test_a_wrong_secret_is_told_from_an_outage(seaweed_server: SeaweedServer) -> None:
    access = S3Access(endpoint=seaweed_server.access.endpoint, access_key="servemesh", secret_key="wrong")
    async with MinioStore.running(_settings(access)) as store:
        with pytest.raises(UnavailableError) as caught:
            await store.ensure_bucket()
    assert caught.value.reason == "BLOB_STORE_REFUSES"


def test_a_key_is_made_of_a_digest_and_nothing_else() -> None:
    assert f"blobs/sha256/{SHA256[:2]}/{SHA256}" == KEY
    for wrong in ("", "../x", SHA256.upper(), SHA256[1:], SHA256 + "\n"):
        with pytest.raises(InvalidError):
            blob_key(wrong)


def _settings(access: S3Access) -> StoreSettings:
    return StoreSettings(
        endpoint=access.endpoint,
        access_key=access.access_key,
        secret_key=access.secret_key,
        secure=access.secure,
        bucket=f"test-{uuid4()}",
        part_bytes=5 * 1024 * 1024,
    )


def _given() -> S3Access:
    url = urlsplit(GIVEN_S3)
    return S3Access(
        endpoint=f"{url.hostname}:{url.port or (443 if url.scheme == 'https' else 80)}",
        access_key=unquote(url.username or ""),
        secret_key=unquote(url.password or ""),
        secure=url.scheme == "https",
    )


def _overwrite(settings: StoreSettings, key: str, data: bytes) -> None:
    with urllib3.PoolManager() as connections:
        client = Minio(
            settings.endpoint,
            access_key=settings.access_key,
            secret_key=settings.secret_key,
            secure=settings.secure,
            region=settings.region,
            http_client=connections,
        )
        client.put_object(settings.bucket, key, io.BytesIO(data), len(data))
