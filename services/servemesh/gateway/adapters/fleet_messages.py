"""Workers and traffic between the wire and the domain; what is malformed is left out."""

from __future__ import annotations

from collections.abc import Iterable

from servemesh import names
from servemesh.api.fleet.v1 import fleet_pb2 as pb
from servemesh.api.registry.v1 import registry_pb2
from servemesh.errors import InvalidError
from servemesh.gateway.domain.fleet import Slot, SlotState, Worker
from servemesh.gateway.domain.traffic import Share, Traffic

_PREFIX = "STATE_"


def worker_of(message: pb.Worker) -> Worker:
    """Return the worker; InvalidError if it has no proper name."""
    return Worker(
        worker_id=names.worker_id(message.name),
        incarnation=message.incarnation,
        address=message.address,
        metrics_address=message.metrics_address,
        is_draining=message.state == pb.Worker.STATE_DRAINING,
        slots=tuple(slot for slot in map(_slot_of, message.slots) if slot is not None),
        memory_bytes_max=message.memory_bytes_max,
        providers=tuple(message.providers),
    )


def workers_of(messages: Iterable[pb.Worker]) -> tuple[Worker, ...]:
    """Return the workers that have proper names."""
    return tuple(worker_of(message) for message in messages if names.is_id(message.name.partition("/")[2]))


def message_of(worker: Worker) -> pb.Worker:
    """Return the worker as it travels."""
    return pb.Worker(
        name=names.worker(worker.worker_id),
        incarnation=worker.incarnation,
        address=worker.address,
        metrics_address=worker.metrics_address,
        state=pb.Worker.STATE_DRAINING if worker.is_draining else pb.Worker.STATE_ACTIVE,
        slots=[_slot_message(slot) for slot in worker.slots],
        memory_bytes_max=worker.memory_bytes_max,
        providers=worker.providers,
    )


def traffic_of(deployments: Iterable[registry_pb2.Deployment]) -> Traffic:
    """Return the shares of each deployed Model, as they are now: the wish runs ahead while a Version loads."""
    return Traffic(
        by_model={
            names.model_id(deployment.model): tuple(
                Share(version=_version_in(target.target), percent=target.weight_percent)
                for target in deployment.serving
            )
            for deployment in deployments
        }
    )


def deployments_of(traffic: Traffic) -> list[registry_pb2.Deployment]:
    """Return the traffic as Deployments that say nothing else."""
    return [
        registry_pb2.Deployment(
            model=names.model(model),
            serving=[
                registry_pb2.TrafficTarget(target=_target(model, share.version), weight_percent=share.percent)
                for share in shares
            ],
        )
        for model, shares in sorted(traffic.by_model.items())
    ]


def _slot_of(message: pb.Slot) -> Slot | None:
    try:
        model, version_id = names.version_ids(message.version)
        state = SlotState(pb.Slot.State.Name(message.state).removeprefix(_PREFIX))
    except (InvalidError, ValueError):  # a name or a state that this release does not know
        return None
    return Slot(
        model=model,
        version_id=version_id,
        state=state,
        is_default=message.is_default,
        aliases=tuple(alias for alias in message.aliases if names.is_id(alias)),
        reason=message.reason,
        message=message.message,
        memory_bytes=message.memory_bytes,
    )


def _slot_message(slot: Slot) -> pb.Slot:
    return pb.Slot(
        version=names.version(slot.model, slot.version_id),
        state=pb.Slot.State.Value(_PREFIX + slot.state.value),
        is_default=slot.is_default,
        aliases=slot.aliases,
        reason=slot.reason,
        message=slot.message,
        memory_bytes=slot.memory_bytes,
    )


def _version_in(target: str) -> str:
    if names.is_alias(target):
        return names.alias_ids(target)[1]
    return str(names.version_ids(target)[1])


def _target(model: str, version: str) -> str:
    if names.is_version_id(version):
        return names.version(model, int(version))
    return names.alias(model, version)
