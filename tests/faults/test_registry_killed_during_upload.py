"""kill -9 of the registry at any point of an upload: nothing acknowledged is lost, nothing wrong is published."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from servemesh.api.registry.v1 import registry_pb2 as pb
from servemesh.api.registry.v1 import registry_pb2_grpc as pb_grpc
from servemesh.rpc import client
from tests.harness import models
from tests.harness.nats_server import NatsServer
from tests.harness.processes import Child, accepts, free_ports
from tests.harness.registry_uploads import pieces
from tests.harness.seaweed import SeaweedServer
from tests.harness.streamed import streamed

SEED = 20_240_607
KILLS_WHILE_WRITING = 6
KILLS_WHILE_COMMITTING = 4
CALL_TIMEOUT_S = 20.0
FILES = {
    "model.onnx": models.mlp().SerializeToString(),
    "notes.bin": random.Random(SEED).randbytes(24 * 1024**2),
}
GONE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.ABORTED}


class RegistryProcess(Child):
    """A registry as it is run, on an address that it keeps."""

    address = ""

    def serve(self, address: str) -> None:
        """Start it and wait until it answers."""
        self.address = address
        self.start()
        self.wait_ready(lambda: accepts(int(address.rpartition(":")[2])))


@pytest.fixture
def registry(
    tmp_path: Path, nats_server: NatsServer, seaweed_server: SeaweedServer
) -> Iterator[RegistryProcess]:
    (port,) = free_ports(1)
    access = seaweed_server.access
    settings = {
        "ADDRESS": f"127.0.0.1:{port}",
        "DATA_DIR": str(tmp_path / "registry"),
        "NATS_URL": nats_server.url,
        "S3_ENDPOINT": access.endpoint,
        "S3_ACCESS_KEY": access.access_key,
        "S3_SECRET_KEY": access.secret_key,
        "S3_BUCKET": "killed-registry",
    }
    env = {**os.environ, **{f"SERVEMESH_REGISTRY_{key}": value for key, value in settings.items()}}
    registry = RegistryProcess(
        [sys.executable, "-m", "servemesh.registry.main"], log=tmp_path / "registry.log", env=env
    )
    registry.serve(settings["ADDRESS"])
    yield registry
    registry.stop()


@pytest.mark.timeout(240)
async def test_an_upload_survives_kills_and_becomes_one_right_version(registry):
    chance = random.Random(SEED)
    async with client.channel(registry.address) as channel:
        stub = pb_grpc.RegistryServiceStub(channel)
        declared = [
            pb.ArtifactFile(path=path, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
            for path, data in FILES.items()
        ]
        opening = pb.CreateUploadRequest(parent="models/net", upload=pb.Upload(files=declared))
        upload = (await called(stub.CreateUpload, opening)).upload
        for _ in range(KILLS_WHILE_WRITING):
            await killed_during(
                registry, written(registry.address, stub, upload), after_s=chance.uniform(0.0, 0.15)
            )
        await written(registry.address, stub, upload)
        for _ in range(KILLS_WHILE_COMMITTING):
            await killed_during(registry, committed(stub, upload), after_s=chance.uniform(0.0, 1.5))
        version = (await committed(stub, upload)).model_version
        listing = await called(stub.ListModelVersions, pb.ListModelVersionsRequest(parent="models/net"))
        assert [found.name for found in listing.model_versions] == [version.name]
        assert {file.path: file.sha256 for file in version.files} == {
            file.path: file.sha256 for file in declared
        }
        reading = pb.ReadModelVersionFileRequest(name=version.name, path="notes.bin")
        data = [piece.data async for piece in stub.ReadModelVersionFile(reading, timeout=CALL_TIMEOUT_S)]
        assert b"".join(data) == FILES["notes.bin"]


async def killed_during(registry: RegistryProcess, work, *, after_s: float) -> None:
    """Kill the registry while `work` runs, and start it again; `work` may fail with its connection only."""
    working = asyncio.ensure_future(work)
    await asyncio.wait([working], timeout=after_s)
    await asyncio.to_thread(registry.kill)
    try:
        await working
    except grpc.RpcError as error:
        if error.code() not in GONE:
            raise
    await asyncio.to_thread(registry.serve, registry.address)


async def written(address: str, stub, upload: pb.Upload) -> None:
    """Send what is missing of each file."""
    kept = (await called(stub.GetUpload, pb.GetUploadRequest(name=upload.name))).upload
    for (path, data), received in zip(FILES.items(), kept.received_bytes, strict=True):
        if received < len(data):
            stream = pieces(upload.name, path, data[received:], received, 256 * 1024)
            await streamed(address, pb.WriteUploadFileRequest, stream)


async def committed(stub, upload: pb.Upload) -> pb.CommitUploadResponse:
    return await called(stub.CommitUpload, pb.CommitUploadRequest(name=upload.name))


async def called(method, request):
    return await method(request, timeout=CALL_TIMEOUT_S, wait_for_ready=True)
