"""What a worker's control path needs around it: a registry that a test scripts, and Versions to assign."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import onnx

from servemesh import names
from servemesh.api.fleet.v1 import fleet_pb2 as pb
from servemesh.api.fleet.v1 import fleet_pb2_grpc as pb_grpc
from servemesh.api.registry.v1 import registry_pb2 as registry_pb
from servemesh.blobs.keys import blob_key
from servemesh.blobs.ports import BlobStore
from servemesh.errors import StaleError
from servemesh.rpc.health import Health
from servemesh.rpc.server import serving
from servemesh.worker.domain.versions import Version
from servemesh.worker.service import fleet_messages
from tests.harness.models import ELEMENT_OF

DATATYPE_OF = {element: datatype for datatype, element in ELEMENT_OF.items()}


class ScriptedFleet(pb_grpc.FleetServiceServicer):
    """A FleetService whose assignments are set by the test and whose leases are written down."""

    def __init__(self) -> None:
        self.assignment = pb.Assignment(revision=1)
        self.renewals: list[pb.Worker] = []
        self.ended: list[str] = []
        self.is_taken = False  # by a newer incarnation

    def assign(self, *slots: pb.AssignedSlot) -> None:
        """Have workers hold these from their next renewal on."""
        self.assignment = pb.Assignment(revision=self.assignment.revision + 1, slots=slots)

    async def RenewLease(self, request: pb.RenewLeaseRequest, context: Any) -> pb.RenewLeaseResponse:
        if self.is_taken:
            raise StaleError("a newer incarnation has the lease", reason="INCARNATION_REPLACED")
        self.renewals.append(request.worker)
        return pb.RenewLeaseResponse(assignment=self.assignment)

    async def EndLease(self, request: pb.EndLeaseRequest, context: Any) -> pb.EndLeaseResponse:
        self.ended.append(request.incarnation)
        return pb.EndLeaseResponse()

    @asynccontextmanager
    async def serving(self, address: str = "127.0.0.1:0") -> AsyncIterator[str]:
        """Serve for the length of the block; yield the address."""

        def register(server: Any) -> None:
            pb_grpc.add_FleetServiceServicer_to_server(self, server)

        async with serving(address, [register], health=Health(), grace_s=1.0) as bound:
            yield bound


async def pushed(
    store: BlobStore,
    folder: Path,
    model: onnx.ModelProto,
    name: str = "digits",
    version_id: int = 1,
    *,
    batchable: bool = True,
) -> registry_pb.ModelVersion:
    """Store a model as the registry would, and return its Version."""
    data = model.SerializeToString()
    digest = hashlib.sha256(data).hexdigest()
    path = _written(folder, digest, data)
    await store.ensure_bucket()
    await store.put_file(blob_key(digest), path, sha256=digest)
    manifest = hashlib.sha256(f"{digest}  model.onnx\n".encode()).hexdigest()
    return registry_pb.ModelVersion(
        name=names.version(name, version_id),
        version_id=version_id,
        state=registry_pb.ModelVersion.STATE_ACTIVE,
        files=[registry_pb.ArtifactFile(path="model.onnx", size_bytes=len(data), sha256=digest)],
        entry_path="model.onnx",
        size_bytes=len(data),
        sha256=manifest,
        signature=registry_pb.Signature(
            inputs=map(_tensor, model.graph.input),
            outputs=map(_tensor, model.graph.output),
            batchable=batchable,
            format="onnx",
        ),
    )


def an_assigned_slot(version: registry_pb.ModelVersion, **changes: Any) -> pb.AssignedSlot:
    """Return the wish to hold a Version, as its model's default unless changed."""
    return pb.AssignedSlot(**{"model_version": version, "is_default": True} | changes)


def as_version(message: registry_pb.ModelVersion) -> Version:
    """Return the Version as the worker's domain has it."""
    assignment = fleet_messages.assignment(pb.Assignment(slots=[pb.AssignedSlot(model_version=message)]))
    return assignment.versions[0].version


def _written(folder: Path, name: str, data: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(data)
    return path


def _tensor(value: onnx.ValueInfoProto) -> registry_pb.TensorSpec:
    tensor = value.type.tensor_type
    return registry_pb.TensorSpec(
        name=value.name,
        datatype=DATATYPE_OF[tensor.elem_type],
        shape=[dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim],
    )
