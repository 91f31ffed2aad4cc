"""Messages of the registry and the fleet as the values that the SDK hands back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from servemesh import names
from servemesh.api.fleet.v1 import fleet_pb2
from servemesh.api.oip.v2 import inference_pb2 as oip
from servemesh.api.registry.v1 import registry_pb2 as pb
from servemesh.client import results


def model(message: pb.Model) -> results.Model:
    """Return the Model in `message`."""
    return results.Model(
        model=names.model_id(message.name),
        description=message.description,
        labels=dict(message.labels),
        latest_version=message.latest_version_id,
        create_time=time(message.create_time),
    )


def version(message: pb.ModelVersion, warnings: tuple[str, ...] = ()) -> results.Version:
    """Return the Version in `message`."""
    model_id, version_id = names.version_ids(message.name)
    return results.Version(
        model=model_id,
        version=version_id,
        size_bytes=message.size_bytes,
        sha256=message.sha256,
        files=tuple(
            results.File(path=file.path, size_bytes=file.size_bytes, sha256=file.sha256)
            for file in message.files
        ),
        entry_path=message.entry_path,
        format=message.signature.format,
        inputs=tuple(_tensor(spec) for spec in message.signature.inputs),
        outputs=tuple(_tensor(spec) for spec in message.signature.outputs),
        batchable=message.signature.batchable,
        labels=dict(message.labels),
        source_versions=tuple(message.source_versions),
        create_time=time(message.create_time),
        warnings=warnings,
    )


def alias(message: pb.Alias) -> results.Alias:
    """Return the Alias in `message`."""
    model_id, alias_id = names.alias_ids(message.name)
    return results.Alias(
        model=model_id,
        alias=alias_id,
        version=names.version_ids(message.version)[1],
        update_time=time(message.update_time),
    )


def alias_move(message: pb.AliasMove) -> results.AliasMove:
    """Return the stretch of history in `message`."""
    return results.AliasMove(
        version=names.version_ids(message.version)[1] if message.version else None,
        move_time=time(message.move_time),
    )


def deployment(message: pb.Deployment) -> results.Deployment:
    """Return the Deployment in `message`."""
    return results.Deployment(
        model=names.deployment_id(message.name),
        state=enum_name(pb.Deployment.State, message.state),
        traffic=tuple(
            results.Traffic(target=target.target.rsplit("/", 1)[-1], weight_percent=target.weight_percent)
            for target in message.traffic
        ),
        replicas=message.replicas if message.HasField("replicas") else None,
        ready_replicas=message.ready_replicas,
        reason=message.reason,
        message=message.message,
    )


def worker(message: fleet_pb2.Worker) -> results.Worker:
    """Return the Worker in `message`."""
    return results.Worker(
        worker=names.worker_id(message.name),
        address=message.address,
        state=enum_name(fleet_pb2.Worker.State, message.state),
        memory_bytes_max=message.memory_bytes_max,
        providers=tuple(message.providers),
        slots=tuple(_slot(slot) for slot in message.slots),
    )


def statistics(message: oip.ModelStatistics) -> results.Statistics:
    """Return the counts in `message`."""
    sums = message.inference_stats
    return results.Statistics(
        model=message.name,
        version=message.version,
        calls=sums.success.count,
        failures=sums.fail.count,
        rows=message.inference_count,
        batches=message.execution_count,
        duration_s=sums.success.ns / 1e9,
        queue_s=sums.queue.ns / 1e9,
        compute_s=sums.compute_infer.ns / 1e9,
    )


def _slot(message: fleet_pb2.Slot) -> results.Slot:
    model_id, version_id = names.version_ids(message.version)
    return results.Slot(
        model=model_id,
        version=version_id,
        state=enum_name(fleet_pb2.Slot.State, message.state),
        is_default=message.is_default,
        aliases=tuple(message.aliases),
        memory_bytes=message.memory_bytes,
        reason=message.reason,
        message=message.message,
    )


def _tensor(message: pb.TensorSpec) -> results.Tensor:
    return results.Tensor(
        name=message.name,
        datatype=message.datatype,
        shape=tuple(message.shape),
        optional=message.optional,
    )


def enum_name(enum: Any, value: int, prefix: str = "STATE_") -> str:
    """Return READY for STATE_READY; a number that a newer server sends stays one."""
    return str(enum.Name(value)).removeprefix(prefix) if value in enum.values() else str(value)


def time(stamp: Any) -> datetime:
    """Return the moment of a Timestamp, in UTC."""
    moment: datetime = stamp.ToDatetime(tzinfo=UTC)
    return moment
