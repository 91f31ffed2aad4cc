"""The part of a registry that takes uploads, over real gRPC, on a folder that outlives it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from servemesh.api.registry.v1 import registry_pb2 as pb
from servemesh.api.registry.v1 import registry_pb2_grpc as pb_grpc
from servemesh.blobs.ports import BlobStore
from servemesh.changes import Changes
from servemesh.registry.adapters.admission_process import AdmissionLimits, AdmissionProcess
from servemesh.registry.adapters.sql_store import SqlStore
from servemesh.registry.adapters.staging_files import StagingFiles
from servemesh.registry.api.uploads import UploadsApi
from servemesh.registry.domain.limits import Limits
from servemesh.registry.domain.uploads import UploadLimits
from servemesh.registry.service.commits import Commits
from servemesh.registry.service.downloads import Downloads
from servemesh.registry.service.publishing import Publishing
from servemesh.registry.service.sweeping import Sweeper
from servemesh.registry.service.uploads import Occupied, Uploads
from servemesh.rpc import client
from servemesh.rpc.health import Health
from servemesh.rpc.server import serving
from servemesh.sql.engines import StoreSettings
from tests.harness.streamed import streamed


class SetClock:
    """A clock that stands until a test moves it."""

    def __init__(self) -> None:
        self._now = datetime(2030, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        """The time of day."""
        return self._now

    def monotonic_s(self) -> float:
        """Seconds since some moment."""
        return self._now.timestamp()

    def move(self, span: timedelta) -> None:
        """Let time pass."""
        self._now += span


class Servicer(UploadsApi, pb_grpc.RegistryServiceServicer):
    """Uploads and downloads only; all else is UNIMPLEMENTED."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadBench:
    """A running service with a client of it."""

    address: str
    registry: pb_grpc.RegistryServiceStub
    sweeper: Sweeper
    staging: StagingFiles
    piece_bytes: int = 1_000

    async def opened(self, files: Mapping[str, bytes], **changes: Any) -> pb.Upload:
        """Open an Upload of `files` with their digests."""
        declared = [
            pb.ArtifactFile(path=path, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
            for path, data in files.items()
        ]
        request = pb.CreateUploadRequest(parent="models/net", upload=pb.Upload(files=declared), **changes)
        return (await self.registry.CreateUpload(request)).upload

    async def sent(self, upload: pb.Upload, path: str, data: bytes, offset: int = 0) -> int:
        """Send the bytes of one file from `offset` on."""
        messages = pieces(upload.name, path, data, offset, self.piece_bytes)
        return int((await streamed(self.address, pb.WriteUploadFileRequest, messages)).received_bytes)

    async def committed(self, upload: pb.Upload) -> pb.CommitUploadResponse:
        """Publish the Upload."""
        return await self.registry.CommitUpload(pb.CommitUploadRequest(name=upload.name))

    async def pushed(self, files: Mapping[str, bytes]) -> pb.ModelVersion:
        """Upload and publish `files`."""
        upload = await self.opened(files)
        for path, data in files.items():
            await self.sent(upload, path, data)
        return (await self.committed(upload)).model_version

    async def read(self, version: pb.ModelVersion, path: str, offset: int = 0) -> bytes:
        """Read a file of a Version back."""
        request = pb.ReadModelVersionFileRequest(name=version.name, path=path, offset_bytes=offset)
        return b"".join([piece.data async for piece in self.registry.ReadModelVersionFile(request)])


@asynccontextmanager
async def upload_bench(
    folder: Path,
    blobs: BlobStore,
    *,
    clock: SetClock | None = None,
    limits: UploadLimits | None = None,
    piece_bytes: int = 1_000,
) -> AsyncIterator[UploadBench]:
    """Serve on what `folder` holds; leave the block and enter it again for a restart."""
    clock, limits, occupied = clock or SetClock(), limits or UploadLimits(), Occupied()
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        store = await enter(SqlStore.opened(StoreSettings(url=f"sqlite:///{folder / 'registry.db'}")))
        staging = await enter(StagingFiles.opened(folder / "staging"))
        catalog = Publishing(store, clock, Changes(), Limits())
        servicer = Servicer(
            Uploads(catalog, staging, occupied, clock, limits),
            Commits(catalog, staging, occupied, AdmissionProcess(AdmissionLimits()), blobs, clock),
            Downloads(catalog, blobs),
        )

        def register(server: Any) -> None:
            pb_grpc.add_RegistryServiceServicer_to_server(servicer, server)

        address = await enter(serving("127.0.0.1:0", [register], health=Health(), grace_s=1.0))
        channel = await enter(client.channel(address))
        yield UploadBench(
            address=address,
            registry=pb_grpc.RegistryServiceStub(channel),
            sweeper=Sweeper(catalog, staging, occupied, clock),
            staging=staging,
            piece_bytes=piece_bytes,
        )


def pieces(
    name: str, path: str, data: bytes, offset: int = 0, piece_bytes: int = 1_000
) -> Iterator[pb.WriteUploadFileRequest]:
    """Yield the messages that carry `data`, of which the first says where it belongs."""
    yield pb.WriteUploadFileRequest(name=name, path=path, offset_bytes=offset)
    for at in range(0, len(data), piece_bytes):
        yield pb.WriteUploadFileRequest(data=data[at : at + piece_bytes])
