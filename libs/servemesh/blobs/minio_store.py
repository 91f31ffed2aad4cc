"""The blob store on S3, through the minio SDK and threads of its own."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import urllib3
from minio import Minio
from minio.datatypes import Object
from minio.error import S3Error

from servemesh.blobs.files import check_file
from servemesh.blobs.minio_transfers import Download, FileDownload, Upload, translated
from servemesh.blobs.ports import BlobInfo

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Where the store is, and the bounds of talking to it."""

    endpoint: str  # host:port
    access_key: str
    secret_key: str = field(repr=False)
    bucket: str
    secure: bool = False
    region: str = "us-east-1"
    threads_max: int = 8
    connect_timeout_s: float = 2.0
    read_timeout_s: float = 15.0
    retries_max: int = 3
    retry_wait_s: float = 0.1
    chunk_bytes: int = 1024 * 1024
    part_bytes: int = 16 * 1024 * 1024
    page_max: int = 1000


class MinioStore:
    """Satisfies ports.BlobStore. Open it with `async with MinioStore.running(settings) as store`."""

    def __init__(self, settings: StoreSettings, client: Minio, threads: ThreadPoolExecutor) -> None:
        self._settings = settings
        self._client = client
        self._threads = threads

    @classmethod
    @asynccontextmanager
    async def running(cls, settings: StoreSettings) -> AsyncIterator[MinioStore]:
        """Offer the store for the length of the block; it may be down then."""
        connections = _connections(settings)
        client = Minio(
            settings.endpoint,
            access_key=settings.access_key,
            secret_key=settings.secret_key,
            secure=settings.secure,
            region=settings.region,
            http_client=connections,
        )
        threads = ThreadPoolExecutor(settings.threads_max, thread_name_prefix="blobs")
        try:
            yield cls(settings, client, threads)
        finally:
            # Bounded by the timeouts of the calls under way; nothing new is begun.
            await asyncio.to_thread(threads.shutdown, cancel_futures=False)
            _close(connections)

    async def ensure_bucket(self) -> None:
        """Make the bucket if it is not there."""
        await self._call(self._ensure_bucket)

    async def put_file(self, key: str, path: Path, *, sha256: str) -> bool:
        """Store a file; False if the store has it already."""
        size_bytes = await self._call(lambda: check_file(path, sha256))
        there = await self.stat(key)
        if there is not None and there.size_bytes == size_bytes:
            return False
        upload = Upload(self._client, self._settings.bucket, key, path, self._settings.part_bytes)
        try:
            await self._call(upload.send)
        finally:
            upload.cancelled.set()  # after a cancellation the thread stops at its next read
        return True

    @asynccontextmanager
    async def open(self, key: str, *, offset: int = 0) -> AsyncIterator[AsyncIterator[bytes]]:
        """Read a blob from `offset` on in chunks."""
        download = self._download(key, offset)
        try:
            await self._call(download.open)
            yield self._chunks(download)
        finally:
            self._threads.submit(download.close)

    async def fetch_file(self, key: str, path: Path, *, sha256: str, size_bytes: int) -> None:
        """Copy a blob to a new file at `path`, synced to disk."""
        fetch = FileDownload(self._download(key, 0), path, sha256=sha256, size_bytes=size_bytes)
        try:
            await self._call(fetch.begin)
            while await self._call(fetch.step):
                pass
        finally:
            # Waits for the step under way; after a cancellation nobody waits for it but the store's end.
            closing = self._threads.submit(fetch.close)
            await asyncio.wrap_future(closing)

    async def stat(self, key: str) -> BlobInfo | None:
        """Return what is known of a blob, None if it is not there."""
        return await self._call(lambda: self._stat(key))

    async def delete(self, key: str) -> None:
        """Remove a blob; it is no error if it is not there."""
        await self._call(lambda: self._client.remove_object(self._settings.bucket, key))

    async def list_blobs(self, prefix: str) -> AsyncIterator[BlobInfo]:
        """Iterate the blobs whose key starts with `prefix`, in the order of their keys."""
        found = self._client.list_objects(self._settings.bucket, prefix=prefix, recursive=True)
        while page := await self._call(lambda: list(itertools.islice(found, self._settings.page_max))):
            for entry in page:
                yield _info(entry)

    def _ensure_bucket(self) -> None:
        if self._client.bucket_exists(self._settings.bucket):
            return
        try:
            self._client.make_bucket(self._settings.bucket)
        except S3Error as error:
            if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise

    def _stat(self, key: str) -> BlobInfo | None:
        try:
            return _info(self._client.stat_object(self._settings.bucket, key))
        except S3Error as error:
            if error.code in ("NoSuchKey", "NoSuchObject"):
                return None
            raise

    def _download(self, key: str, offset: int) -> Download:
        settings = self._settings
        return Download(
            self._client,
            settings.bucket,
            key,
            offset=offset,
            chunk_bytes=settings.chunk_bytes,
            retries_max=settings.retries_max,
        )

    async def _chunks(self, download: Download) -> AsyncIterator[bytes]:
        while chunk := await self._call(download.read):
            yield chunk

    async def _call(self, work: Callable[[], T]) -> T:
        """Run blocking work in a thread of ours, with the driver's errors translated."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, translated(work))


def _connections(settings: StoreSettings) -> urllib3.PoolManager:
    return urllib3.PoolManager(
        maxsize=settings.threads_max,
        timeout=urllib3.Timeout(connect=settings.connect_timeout_s, read=settings.read_timeout_s),
        retries=urllib3.Retry(
            total=settings.retries_max,
            backoff_factor=settings.retry_wait_s,
            backoff_jitter=settings.retry_wait_s,
            status_forcelist=(500, 502, 503, 504),
            raise_on_status=False,
        ),
    )


def _close(connections: urllib3.PoolManager) -> None:
    """Close the sockets now: `clear` alone leaves them to the garbage collector."""
    for key in connections.pools.keys():  # noqa: SIM118  # it is no mapping
        pool = connections.pools.get(key)
        if pool is not None:
            pool.close()
    connections.clear()


def _info(entry: Object) -> BlobInfo:
    assert entry.object_name is not None
    assert entry.size is not None
    assert entry.last_modified is not None
    return BlobInfo(key=entry.object_name, size_bytes=entry.size, modify_time=entry.last_modified)
