"""What services ask of the blob store: immutable bytes by key, hashed by us on the way in and out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobInfo:
    """One stored blob."""

    key: str
    size_bytes: int
    modify_time: datetime


class BlobStore(Protocol):
    """Bytes by key. Neither its lengths nor its ETags are trusted: whoever reads checks the sha256.

    Every method raises UnavailableError (reason BLOB_STORE_AWAY) when the store is away or fails, and may be
    called again then.
    """

    async def ensure_bucket(self) -> None:
        """Make the bucket if it is not there."""

    async def put_file(self, key: str, path: Path, *, sha256: str) -> bool:
        """Store a file; False if the store has it already: a blob of the same size is never overwritten.

        DamagedError if the bytes of the file do not hash to `sha256`: nothing is stored then.
        """

    def open(self, key: str, *, offset: int = 0) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Read a blob from `offset` on in chunks; MissingError (reason BLOB_MISSING) if it is not there."""

    async def fetch_file(self, key: str, path: Path, *, sha256: str, size_bytes: int) -> None:
        """Copy a blob to a new file at `path`, synced to disk. A file that is not whole and checked never stays.

        DamagedError if its bytes are not the ones named; MissingError if it is not there.
        """

    async def stat(self, key: str) -> BlobInfo | None:
        """Return what is known of a blob, None if it is not there."""

    async def delete(self, key: str) -> None:
        """Remove a blob; it is no error if it is not there."""

    def list_blobs(self, prefix: str) -> AsyncIterator[BlobInfo]:
        """Iterate the blobs whose key starts with `prefix`, in the order of their keys."""
