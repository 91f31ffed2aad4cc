"""Uploads and downloads on the wire: message in, one call, message out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from servemesh.api.registry.v1 import registry_pb2 as pb
from servemesh.errors import InvalidError
from servemesh.registry.api.version_messages import to_file, to_version
from servemesh.registry.domain.models import ArtifactFile
from servemesh.registry.service.commits import Commits
from servemesh.registry.service.downloads import Downloads
from servemesh.registry.service.uploads import Progress, Uploads
from servemesh.requests import request_key

Context = Any


class UploadsApi:
    """The part of RegistryService that moves bytes; the servicer inherits from it."""

    def __init__(self, uploads: Uploads, commits: Commits, downloads: Downloads) -> None:
        self._uploads = uploads
        self._commits = commits
        self._downloads = downloads

    async def GetUpload(self, request: pb.GetUploadRequest, context: Context) -> pb.GetUploadResponse:
        """Say where to resume."""
        return pb.GetUploadResponse(upload=_to_upload(await self._uploads.get(request.name)))

    async def CreateUpload(
        self, request: pb.CreateUploadRequest, context: Context
    ) -> pb.CreateUploadResponse:
        """Open an Upload."""
        progress = await self._uploads.create(
            request.parent,
            [_from_file(file) for file in request.upload.files],
            request.upload.labels,
            source_versions=request.upload.source_versions,
            request_id=request.request_id,
        )
        return pb.CreateUploadResponse(upload=_to_upload(progress))

    async def WriteUploadFile(
        self, request_iterator: AsyncIterator[pb.WriteUploadFileRequest], context: Context
    ) -> pb.WriteUploadFileResponse:
        """Receive bytes of one file."""
        begun = await _begun(request_iterator)
        received = await self._uploads.write(begun.name, begun.path, offset=begun.offset, pieces=begun.pieces)
        return pb.WriteUploadFileResponse(received_bytes=received)

    async def CommitUpload(
        self, request: pb.CommitUploadRequest, context: Context
    ) -> pb.CommitUploadResponse:
        """Publish what was uploaded."""
        key = request_key(request)
        version, warnings = await self._commits.commit(request.name, request_id=key.request_id if key else "")
        return pb.CommitUploadResponse(model_version=to_version(version), warnings=warnings)

    async def DeleteUpload(
        self, request: pb.DeleteUploadRequest, context: Context
    ) -> pb.DeleteUploadResponse:
        """Give an Upload up."""
        await self._uploads.delete(request.name)
        return pb.DeleteUploadResponse()

    async def ReadModelVersionFile(
        self, request: pb.ReadModelVersionFileRequest, context: Context
    ) -> AsyncIterator[pb.ReadModelVersionFileResponse]:
        """Send the bytes of one file of a Version."""
        pieces = self._downloads.read(request.name, request.path, offset=request.offset_bytes)
        async with aclosing(pieces):
            async for data in pieces:
                yield pb.ReadModelVersionFileResponse(data=data)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """What the first message of a stream says, and the bytes of all of them."""

    name: str
    path: str
    offset: int
    pieces: AsyncIterator[bytes]


async def _begun(stream: AsyncIterator[pb.WriteUploadFileRequest]) -> _Begun:
    async for first in stream:
        return _Begun(
            name=first.name, path=first.path, offset=first.offset_bytes, pieces=_pieces(first, stream)
        )
    raise InvalidError(
        "the stream has no message, expected one with name, path and offset_bytes",
        reason="STREAM_EMPTY",
        field="name",
    )


async def _pieces(
    first: pb.WriteUploadFileRequest, rest: AsyncIterator[pb.WriteUploadFileRequest]
) -> AsyncIterator[bytes]:
    yield first.data
    async for message in rest:
        if message.name or message.path or message.offset_bytes:
            raise InvalidError(
                "name, path and offset_bytes belong in the first message of the stream only",
                reason="STREAM_MISUSED",
                field="name",
            )
        yield message.data


def _from_file(file: pb.ArtifactFile) -> ArtifactFile:
    return ArtifactFile(path=file.path, size_bytes=file.size_bytes, sha256=file.sha256)


def _to_upload(progress: Progress) -> pb.Upload:
    upload = progress.upload
    expires = Timestamp()
    expires.FromDatetime(upload.expire_time)
    return pb.Upload(
        name=upload.name,
        files=[to_file(file) for file in upload.files],
        received_bytes=progress.received_bytes,
        labels=dict(upload.labels),
        expire_time=expires,
        source_versions=upload.source_versions,
    )
