"""Downloads: the files of a Version, streamed from the object store and checked against their digests."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Protocol

from servemesh import names
from servemesh.blobs.keys import blob_key
from servemesh.blobs.ports import BlobStore
from servemesh.errors import DamagedError, InvalidError, MissingError
from servemesh.registry.domain.models import ArtifactFile, ModelVersion

PIECE_BYTES_MAX = 1024**2


class Versions(Protocol):
    """Where Versions are written down."""

    async def get_version(self, model_id: str, version_id: int) -> ModelVersion:
        """Return the Version; MissingError if there is none."""


class Downloads:
    """Gives the bytes of Versions back."""

    def __init__(self, versions: Versions, blobs: BlobStore) -> None:
        self._versions = versions
        self._blobs = blobs

    async def read(self, name: str, path: str, *, offset: int) -> AsyncGenerator[bytes]:
        """Yield the bytes of a file from `offset` on, at most 1 MiB at a time.

        The whole file is hashed whatever the offset, and the last piece is held back until it is found right:
        DamagedError instead of it if the stored bytes are not the ones that were published.
        """
        file = await self._file(name, path)
        _check_offset(file, offset)
        try:
            async with (
                self._blobs.open(blob_key(file.sha256)) as chunks,
                aclosing(_checked(file, chunks, offset)) as pieces,
            ):
                async for piece in pieces:
                    yield piece
        except MissingError as error:
            raise _damaged(file) from error

    async def _file(self, name: str, path: str) -> ArtifactFile:
        version = await self._versions.get_version(*names.version_ids(name))
        for file in version.files:
            if file.path == path:
                return file
        raise MissingError(
            f"{name} has no file {path[:255]!r}", reason="VERSION_FILE_UNKNOWN", name=name, path=path[:255]
        )


async def _checked(file: ArtifactFile, chunks: AsyncIterator[bytes], offset: int) -> AsyncGenerator[bytes]:
    digest, seen_bytes, held = hashlib.sha256(), 0, b""
    async for chunk in chunks:
        digest.update(chunk)
        wanted = chunk[max(0, offset - seen_bytes) :]
        seen_bytes += len(chunk)
        for at in range(0, len(wanted), PIECE_BYTES_MAX):
            if held:
                yield held
            held = wanted[at : at + PIECE_BYTES_MAX]
    if seen_bytes != file.size_bytes or digest.hexdigest() != file.sha256:
        raise _damaged(file)
    if held:
        yield held


def _check_offset(file: ArtifactFile, offset: int) -> None:
    if not 0 <= offset <= file.size_bytes:
        raise InvalidError(
            f"offset_bytes is {offset}, expected 0 to {file.size_bytes}",
            reason="OFFSET_OUT_OF_RANGE",
            field="offset_bytes",
            expected=f"0 to {file.size_bytes}",
            got=offset,
        )


def _damaged(file: ArtifactFile) -> DamagedError:
    return DamagedError(
        f"the stored bytes of {file.path!r} are gone or damaged; push the model again",
        reason="BLOB_DAMAGED",
        path=file.path,
        sha256=file.sha256,
    )
