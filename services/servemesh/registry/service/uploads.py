"""Uploads: files come in pieces, and what has been acknowledged is kept until it becomes a Version."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from servemesh import names
from servemesh.errors import ConflictError, DamagedError, InvalidError, OverloadedError, StaleError
from servemesh.registry.domain import uploads as rules
from servemesh.registry.domain.admission import Admitted
from servemesh.registry.domain.models import ArtifactFile, ModelVersion
from servemesh.registry.domain.uploads import Upload, UploadLimits
from servemesh.registry.service.ports import Clock


class UploadCatalog(Protocol):
    """Where Uploads are written down. Every method is one transaction."""

    async def create_upload(self, upload: Upload, *, request_id: str, open_max: int) -> Upload:
        """Keep `upload`, creating its Model if need be.

        A request_id seen before gives the Upload of that time (ConflictError REQUEST_ID_REUSED if its files, labels
        or sources differ). MissingError VERSION_MISSING if a source version does not exist. OverloadedError
        UPLOADS_OPEN_MAX if `open_max` Uploads without a Version are kept already.
        """

    async def get_upload(self, model_id: str, upload_id: str) -> Upload:
        """Return the Upload; MissingError if there is none."""

    async def touch_upload(self, model_id: str, upload_id: str, *, expire_time: datetime) -> None:
        """Move the expiry of the Upload; nothing happens if it is gone."""

    async def delete_upload(self, model_id: str, upload_id: str) -> None:
        """Forget the Upload; MissingError if there is none."""

    async def list_expired_uploads(self, *, now: datetime, page_size: int) -> Sequence[Upload]:
        """Return Uploads whose expire_time is not after `now`, oldest first, committed ones too."""

    async def claim_blobs(self, upload: Upload) -> None:
        """Keep the digests of its files, which puts their blobs in use before anybody looks whether they are there.

        UnavailableError BLOB_LEAVING while one of them is being deleted: it can be claimed a moment later.
        """

    async def commit_upload(
        self, upload: Upload, admitted: Admitted, *, now: datetime, request_id: str = ""
    ) -> ModelVersion:
        """Publish `upload` (its files carry their digests) as the next Version of its Model, with its event.

        Sets version_id and warnings of the kept Upload in the same transaction. If it has a version_id already,
        changes nothing and returns that Version. If a Version was made by a commit with this request_id, that is the
        Version of this Upload, too (ConflictError REQUEST_ID_REUSED if it holds other files).
        """

    async def get_version(self, model_id: str, version_id: int) -> ModelVersion:
        """Return the Version; MissingError if there is none."""


class StagedFile(Protocol):
    """One file of an Upload, open for more bytes."""

    @property
    def received_bytes(self) -> int:
        """How long it is."""

    async def append(self, data: bytes) -> None:
        """Add bytes; OverloadedError (reason DISK_FULL) if there is no room for them, none are kept then."""

    async def sync(self) -> None:
        """Return once what was added survives a loss of power."""

    async def digest(self) -> str:
        """Return the sha256 of the bytes, lower hex."""


class Staging(Protocol):
    """Where the bytes of Uploads lie until they are published. The length of a file is where to resume."""

    def appending(self, upload: Upload, index: int) -> AbstractAsyncContextManager[StagedFile]:
        """Open one file of `upload`, creating it if need be."""

    async def received_bytes(self, upload: Upload) -> tuple[int, ...]:
        """Return how many bytes of each file are kept for sure."""

    async def digest(self, upload: Upload, index: int) -> str:
        """Return the sha256 of what lies on disk, lower hex."""

    async def discard(self, upload: Upload, index: int) -> None:
        """Forget the bytes of one file."""

    async def remove(self, model_id: str, upload_id: str) -> None:
        """Forget all files of an Upload; it is no error if there are none."""

    async def list_uploads(self) -> Sequence[tuple[str, str]]:
        """Return model id and upload id of everything that is staged."""

    async def free_bytes(self) -> int:
        """Return how many bytes there is room for."""

    def path(self, upload: Upload, index: int) -> Path:
        """Return where a complete file lies."""


class Examiner(Protocol):
    """Looks into an artifact that nobody trusts yet."""

    async def examine(self, files: Mapping[str, Path]) -> Admitted:
        """Return what it is, from its files by path; InvalidError with the reason if it is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """An Upload and how much of each of its files is kept."""

    upload: Upload
    received_bytes: tuple[int, ...]


class Occupied:
    """Which Uploads and files are in somebody's hands in this process."""

    def __init__(self) -> None:
        self._held: set[tuple[str, ...]] = set()

    @contextmanager
    def holding(self, upload: Upload, path: str | None = None) -> Iterator[None]:
        """Hold one file, or without `path` all of the Upload; StaleError if somebody else holds any of it."""
        held = (upload.name,) if path is None else (upload.name, path)
        if held in self._held or (upload.name,) in self._held or (path is None and self.holds(upload.name)):
            raise StaleError(
                f"another call is at work on {'/'.join(held)}; wait for it to end and try again",
                reason="UPLOAD_BUSY",
                name=upload.name,
            )
        self._held.add(held)
        try:
            yield
        finally:
            self._held.remove(held)

    def holds(self, name: str) -> bool:
        """Whether anybody is at work on the Upload."""
        return any(held[0] == name for held in self._held)


class Uploads:
    """Opens, fills and gives up Uploads; `commits.Commits` publishes them."""

    def __init__(
        self, catalog: UploadCatalog, staging: Staging, occupied: Occupied, clock: Clock, limits: UploadLimits
    ) -> None:
        self._catalog = catalog
        self._staging = staging
        self._occupied = occupied
        self._clock = clock
        self._limits = limits

    async def create(
        self,
        parent: str,
        files: Sequence[ArtifactFile],
        labels: Mapping[str, str],
        *,
        source_versions: Sequence[str] = (),
        request_id: str,
    ) -> Progress:
        """Open an Upload of one new Version of the Model `parent`."""
        now = self._clock.now()
        upload = Upload(
            model_id=names.model_id(parent),
            upload_id=f"u{uuid.uuid4().hex}",
            files=rules.checked_files(files, self._limits),
            labels=dict(labels),
            source_versions=rules.checked_sources(source_versions),
            create_time=now,
            expire_time=now + self._limits.idle_max,
        )
        await self._check_room(upload)
        kept = await self._catalog.create_upload(
            upload, request_id=request_id, open_max=self._limits.open_max
        )
        return await self.get(kept.name)  # a repeated request meets an Upload that has gone on since

    async def get(self, name: str) -> Progress:
        """Return the Upload and where to resume."""
        return await self._progress(await self._catalog.get_upload(*names.upload_ids(name)))

    async def write(self, name: str, path: str, *, offset: int, pieces: AsyncIterator[bytes]) -> int:
        """Add bytes to one file; returns how many of it are kept, synced to disk.

        What arrived before a broken stream is kept. ConflictError OFFSET_MISMATCH unless `offset` is where the
        file ends; InvalidError as soon as more comes than was declared.
        """
        upload = await self._catalog.get_upload(*names.upload_ids(name))
        if upload.version_id is not None:
            raise ConflictError(f"{name} is committed already", reason="UPLOAD_COMMITTED", name=name)
        index = upload.index_of(path)
        with self._occupied.holding(upload, path):
            await self._touch(upload)
            async with self._staging.appending(upload, index) as file:
                rules.checked_offset(upload, index, offset=offset, received=file.received_bytes)
                await self._append(upload.files[index], file, pieces)
                await file.sync()
                received = file.received_bytes
                digest = await file.digest() if received == upload.files[index].size_bytes else ""
            await self._check_digest(upload, index, digest)
            await self._touch(upload)
        return received

    async def delete(self, name: str) -> None:
        """Give an Upload up and free its bytes."""
        upload = await self._catalog.get_upload(*names.upload_ids(name))
        with self._occupied.holding(upload):
            await self._staging.remove(upload.model_id, upload.upload_id)
            await self._catalog.delete_upload(upload.model_id, upload.upload_id)

    async def _append(self, declared: ArtifactFile, file: StagedFile, pieces: AsyncIterator[bytes]) -> None:
        async for data in pieces:
            if len(data) > self._limits.piece_bytes_max:
                raise InvalidError(
                    f"data has {len(data)} bytes, at most {self._limits.piece_bytes_max} are taken in one message",
                    reason="PIECE_TOO_LARGE",
                    field="data",
                    expected=self._limits.piece_bytes_max,
                    got=len(data),
                )
            if file.received_bytes + len(data) > declared.size_bytes:
                raise InvalidError(
                    f"{declared.path!r} was declared with {declared.size_bytes} bytes, and more came",
                    reason="MORE_THAN_DECLARED",
                    field="data",
                    expected=declared.size_bytes,
                    got=file.received_bytes + len(data),
                )
            await file.append(data)

    async def _check_digest(self, upload: Upload, index: int, digest: str) -> None:
        if digest and not upload.is_whole(index, digest):
            await self._staging.discard(upload, index)
            raise damaged(upload, index, digest)

    async def _check_room(self, upload: Upload) -> None:
        free_bytes = await self._staging.free_bytes() - self._limits.disk_free_bytes_min
        if upload.size_bytes > free_bytes:
            raise OverloadedError(
                f"the upload has {upload.size_bytes} bytes, the registry's disk has room for {max(free_bytes, 0)}",
                reason="DISK_FULL",
                retry_after_s=60.0,
                expected=max(free_bytes, 0),
                got=upload.size_bytes,
            )

    async def _touch(self, upload: Upload) -> None:
        expire_time = self._clock.now() + self._limits.idle_max
        await self._catalog.touch_upload(upload.model_id, upload.upload_id, expire_time=expire_time)

    async def _progress(self, upload: Upload) -> Progress:
        if upload.version_id is not None:  # published: every byte has arrived, and none is staged any more
            return Progress(upload=upload, received_bytes=tuple(file.size_bytes for file in upload.files))
        return Progress(upload=upload, received_bytes=await self._staging.received_bytes(upload))


def damaged(upload: Upload, index: int, digest: str) -> DamagedError:
    """Return the error for a file that is not the one that was declared."""
    file = upload.files[index]
    return DamagedError(
        f"{file.path!r} arrived with sha256 {digest}, declared was {file.sha256}: its bytes are dropped, send it "
        "again from offset 0",
        reason="DIGEST_MISMATCH",
        path=file.path,
        expected=file.sha256,
        got=digest,
    )
