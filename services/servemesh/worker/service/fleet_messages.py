"""Slots and assignments as the fleet's messages carry them."""

from __future__ import annotations

from servemesh import names
from servemesh.api.fleet.v1 import fleet_pb2 as pb
from servemesh.api.registry.v1 import registry_pb2 as registry_pb
from servemesh.worker.domain.signature import Signature, TensorSpec
from servemesh.worker.domain.versions import ArtifactFile, AssignedVersion, Assignment, Batching, Version
from servemesh.worker.service.slots import SlotView


def slot_message(slot: SlotView) -> pb.Slot:
    """Return a slot as the fleet knows it."""
    message = pb.Slot(
        version=names.version(slot.model, slot.version_id),
        state=pb.Slot.State.Value(f"STATE_{slot.state}"),
        is_default=slot.is_default,
        aliases=slot.aliases,
        reason=slot.reason,
        message=slot.message,
        memory_bytes=slot.memory_bytes,
    )
    if slot.statistics is not None and slot.statistics.last_call_ms:
        message.call_time.FromMilliseconds(slot.statistics.last_call_ms)
    return message


def assignment(message: pb.Assignment) -> Assignment:
    """Return what a worker should hold; InvalidError if a name in it is malformed."""
    return Assignment(revision=message.revision, versions=tuple(map(_assigned, message.slots)))


def _assigned(message: pb.AssignedSlot) -> AssignedVersion:
    policy = message.batching
    return AssignedVersion(
        version=_version(message.model_version),
        is_default=message.is_default,
        aliases=tuple(message.aliases),
        batching=Batching(
            batch_rows_max=policy.batch_rows_max,
            linger_s=policy.linger.ToNanoseconds() / 1e9,
            queue_rows_max=policy.queue_rows_max,
        ),
    )


def _version(message: registry_pb.ModelVersion) -> Version:
    model, version_id = names.version_ids(message.name)
    return Version(
        name=message.name,
        model=model,
        version_id=version_id,
        sha256=message.sha256,
        files=tuple(
            ArtifactFile(path=file.path, size_bytes=file.size_bytes, sha256=file.sha256)
            for file in message.files
        ),
        entry_path=message.entry_path,
        signature=Signature(
            inputs=tuple(map(_tensor, message.signature.inputs)),
            outputs=tuple(map(_tensor, message.signature.outputs)),
            batchable=message.signature.batchable,
            format=message.signature.format,
        ),
    )


def _tensor(message: registry_pb.TensorSpec) -> TensorSpec:
    return TensorSpec(
        name=message.name,
        datatype=message.datatype,
        shape=tuple(message.shape),
        optional=message.optional,
    )
