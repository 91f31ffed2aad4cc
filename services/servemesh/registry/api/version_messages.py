"""Versions as messages of the registry's API."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from servemesh.api.registry.v1 import registry_pb2 as pb
from servemesh.registry.domain.models import ArtifactFile, ModelVersion, Signature, TensorSpec


def to_version(version: ModelVersion) -> pb.ModelVersion:
    """Return the message for a Version."""
    created = Timestamp()
    created.FromDatetime(version.create_time)
    return pb.ModelVersion(
        name=version.name,
        version_id=version.version_id,
        state=pb.ModelVersion.STATE_ACTIVE,
        files=[to_file(file) for file in version.files],
        entry_path=version.entry_path,
        size_bytes=version.size_bytes,
        sha256=version.sha256,
        signature=to_signature(version.signature),
        labels=dict(version.labels),
        source_versions=version.source_versions,
        create_time=created,
    )


def to_file(file: ArtifactFile) -> pb.ArtifactFile:
    """Return the message for a file."""
    return pb.ArtifactFile(path=file.path, size_bytes=file.size_bytes, sha256=file.sha256)


def to_signature(signature: Signature) -> pb.Signature:
    """Return the message for a signature."""
    return pb.Signature(
        inputs=[_to_spec(spec) for spec in signature.inputs],
        outputs=[_to_spec(spec) for spec in signature.outputs],
        batchable=signature.batchable,
        format=signature.format,
        ir_version=signature.ir_version,
        opsets=dict(signature.opsets),
    )


def _to_spec(spec: TensorSpec) -> pb.TensorSpec:
    return pb.TensorSpec(
        name=spec.name,
        datatype=spec.datatype,
        shape=spec.shape,
        batch_axis=spec.batch_axis,
        optional=spec.optional,
    )
