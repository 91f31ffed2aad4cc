"""Sources: the files that users give, verified on the way in and kept under their digest."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from servemesh.blobs.ports import BlobStore
from servemesh.errors import DamagedError, InvalidError, OverloadedError
from servemesh.lifecycle import Clock
from servemesh.optimizer.domain.records import Source, StoredFile, blob_key
from servemesh.optimizer.domain.uploading import (
    DeclaredFile,
    UploadLimits,
    check_declared,
    source_digest,
)
from servemesh.optimizer.service.ports import Folders
from servemesh.optimizer.service.storage import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """The next bytes of a file."""

    path: str
    data: bytes


class SourceBook:
    """Takes uploads; `fetching.StoredSources` brings them to jobs."""

    def __init__(
        self,
        store: Store,
        blobs: BlobStore,
        folders: Folders,
        clock: Clock,
        limits: UploadLimits,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._folders = folders
        self._clock = clock
        self._limits = limits

    async def upload(self, declared: Sequence[DeclaredFile], pieces: AsyncIterator[Piece]) -> Source:
        """Receive, verify and keep the files; the same files give the same Source.

        InvalidError for a refused path, or for bytes that are not the declared ones; DamagedError UPLOAD_CUT_OFF
        if the stream ends too early.
        """
        check_declared(declared, self._limits)
        async with self._folders.opened() as folder:
            await asyncio.to_thread(self._check_room, sum(file.size_bytes for file in declared), folder)
            arriving = Arriving(declared, folder, self._limits.piece_bytes_max)
            try:
                async for piece in pieces:
                    await asyncio.to_thread(arriving.take, piece)
                sha256s = await asyncio.to_thread(arriving.finish)
            finally:
                arriving.close()
            return await self._kept(declared, sha256s, folder)

    async def _kept(self, declared: Sequence[DeclaredFile], sha256s: Sequence[str], folder: Path) -> Source:
        digest = source_digest([(file.path, sha256) for file, sha256 in zip(declared, sha256s, strict=True)])
        async with self._store.reading() as tx:
            known = await tx.sources.find(digest)
        if known is not None:
            return await self._touch(known)
        owner = f"s{uuid.uuid4().hex}"
        files = [
            StoredFile(path=file.path, size_bytes=file.size_bytes, sha256=sha256, key=blob_key(owner, index))
            for index, (file, sha256) in enumerate(zip(declared, sha256s, strict=True))
        ]
        # The blobs are nobody's until the row is there, and such blobs are left alone for long enough.
        for index, file in enumerate(files):
            await self._blobs.put_file(file.key, folder / str(index), sha256=file.sha256)
        source = Source(
            digest=digest,
            owner=owner,
            files=tuple(sorted(files, key=lambda file: file.path)),
            use_time=self._clock.now(),
        )
        async with self._store.writing(source.name) as tx:
            known = await tx.sources.find(digest)
            if known is None:
                await tx.blob_owners.add(owner)
            await tx.sources.put(known or source)
        return known or source

    async def _touch(self, source: Source) -> Source:
        async with self._store.writing(source.name) as tx:
            kept = await tx.sources.find(source.digest)
            if kept is not None:
                await tx.sources.put(replace(kept, use_time=self._clock.now()))
        return source

    def _check_room(self, size_bytes: int, folder: Path) -> None:
        free_bytes = max(0, shutil.disk_usage(folder).free - self._limits.disk_free_bytes_min)
        if size_bytes > free_bytes:
            raise OverloadedError(
                f"the source has {size_bytes} bytes, the optimizer's disk has room for {free_bytes}",
                reason="DISK_FULL",
                retry_after_s=60.0,
                expected=free_bytes,
                got=size_bytes,
            )


class Arriving:
    """Files on their way in, hashed as they come; each lies under its number. For threads, one call at a time."""

    def __init__(self, declared: Sequence[DeclaredFile], folder: Path, piece_bytes_max: int) -> None:
        self._declared = declared
        self._folder = folder
        self._piece_bytes_max = piece_bytes_max
        self._numbers = {file.path: number for number, file in enumerate(declared)}
        self._hashes = [hashlib.sha256() for _ in declared]
        self._bytes = [0] * len(declared)
        self._open: tuple[int, BinaryIO] | None = None

    def take(self, piece: Piece) -> None:
        """Add bytes to a file; InvalidError for one that was not declared, or for more than was."""
        number = self._numbers.get(piece.path)
        if number is None:
            raise InvalidError(
                f"path is {piece.path[:255]!r}, which source.files of the first message does not have",
                reason="UPLOAD_FILE_UNKNOWN",
                field="path",
                got=piece.path[:255],
            )
        if len(piece.data) > self._piece_bytes_max:
            raise _too_large("one message", self._piece_bytes_max, len(piece.data), "PIECE_TOO_LARGE")
        file, arrived = self._declared[number], self._bytes[number] + len(piece.data)
        if arrived > file.size_bytes:
            raise _too_large(repr(file.path), file.size_bytes, arrived, "MORE_THAN_DECLARED")
        self._file(number).write(piece.data)
        self._hashes[number].update(piece.data)
        self._bytes[number] = arrived

    def finish(self) -> list[str]:
        """The digest of each file, once all bytes of all have come and are the declared ones."""
        self.close()
        for number, file in enumerate(self._declared):
            if self._bytes[number] != file.size_bytes:
                raise DamagedError(
                    f"{self._bytes[number]} of {file.size_bytes} bytes of {file.path!r} have arrived; send all again",
                    reason="UPLOAD_CUT_OFF",
                    path=file.path,
                    expected=file.size_bytes,
                    got=self._bytes[number],
                )
            digest = self._hashes[number].hexdigest()
            if file.sha256 not in ("", digest):
                raise InvalidError(
                    f"{file.path!r} arrived with sha256 {digest}, declared was {file.sha256}; send it again",
                    reason="DIGEST_MISMATCH",
                    field="source.files",
                    path=file.path,
                    expected=file.sha256,
                    got=digest,
                )
            if not file.size_bytes:
                (self._folder / str(number)).touch()
        return [digest.hexdigest() for digest in self._hashes]

    def close(self) -> None:
        """Close the file that is open."""
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def _file(self, number: int) -> BinaryIO:
        if self._open is None or self._open[0] != number:
            self.close()
            self._open = (number, (self._folder / str(number)).open("ab"))
        return self._open[1]


def _too_large(what: str, most: int, got: int, reason: str) -> InvalidError:
    return InvalidError(
        f"{what} may have {most} bytes, got {got}", reason=reason, field="data", expected=most, got=got
    )
