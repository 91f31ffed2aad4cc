"""A blob store in memory, for tests and for meshes that live in one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from servemesh.blobs.files import ArrivingFile, check_file
from servemesh.blobs.ports import BlobInfo
from servemesh.errors import MissingError, UnavailableError

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class MemoryStore:
    """Satisfies ports.BlobStore. `away` makes every call fail; `corrupt` changes stored bytes."""

    def __init__(self, *, chunk_bytes: int = 1024 * 1024) -> None:
        self.away = False
        self._blobs: dict[str, bytes] = {}
        self._chunk_bytes = chunk_bytes

    def corrupt(self, key: str, data: bytes) -> None:
        """Put other bytes under a key, as a failing disk would."""
        self._blobs[key] = data

    async def ensure_bucket(self) -> None:
        """There is always one."""
        self._check()

    async def put_file(self, key: str, path: Path, *, sha256: str) -> bool:
        """Store a file; False if the store has it already."""
        size_bytes = check_file(path, sha256)
        self._check()
        if key in self._blobs and len(self._blobs[key]) == size_bytes:
            return False
        self._blobs[key] = await asyncio.to_thread(path.read_bytes)
        return True

    @asynccontextmanager
    async def open(self, key: str, *, offset: int = 0) -> AsyncIterator[AsyncIterator[bytes]]:
        """Read a blob from `offset` on in chunks."""
        self._get(key)
        yield self._chunks(key, offset)

    async def fetch_file(self, key: str, path: Path, *, sha256: str, size_bytes: int) -> None:
        """Copy a blob to a new file at `path`."""
        file = ArrivingFile(path, sha256=sha256, size_bytes=size_bytes)
        try:
            async with self.open(key) as chunks:
                file.create()
                async for chunk in chunks:
                    file.write(chunk)
            file.finish()
        finally:
            file.close()

    async def stat(self, key: str) -> BlobInfo | None:
        """Return what is known of a blob, None if it is not there."""
        self._check()
        return self._info(key) if key in self._blobs else None

    async def delete(self, key: str) -> None:
        """Remove a blob; it is no error if it is not there."""
        self._check()
        self._blobs.pop(key, None)

    async def list_blobs(self, prefix: str) -> AsyncIterator[BlobInfo]:
        """Iterate the blobs whose key starts with `prefix`, in the order of their keys."""
        self._check()
        for key in sorted(self._blobs):
            if key.startswith(prefix):
                yield self._info(key)

    def _info(self, key: str) -> BlobInfo:
        return BlobInfo(key=key, size_bytes=len(self._blobs[key]), modify_time=_EPOCH)

    async def _chunks(self, key: str, offset: int) -> AsyncIterator[bytes]:
        while chunk := self._get(key)[offset : offset + self._chunk_bytes]:
            offset += len(chunk)
            await asyncio.sleep(0)  # others get their turn, as with a real store
            yield chunk

    def _get(self, key: str) -> bytes:
        self._check()
        if key not in self._blobs:
            raise MissingError(f"there is no blob {key} in the store", reason="BLOB_MISSING", key=key)
        return self._blobs[key]

    def _check(self) -> None:
        if self.away:
            raise UnavailableError("the blob store (S3) is away; try again", reason="BLOB_STORE_AWAY")
