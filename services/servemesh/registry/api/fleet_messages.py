"""Workers, Slots and Assignments as messages of the fleet's API, and back."""

from __future__ import annotations

from datetime import UTC, datetime

from servemesh import names
from servemesh.api.fleet.v1 import fleet_pb2 as pb
from servemesh.errors import InvalidError
from servemesh.registry.api.messages import to_batching, to_duration, to_time
from servemesh.registry.api.version_messages import to_version
from servemesh.registry.domain.fleet import Lease, Slot, SlotState, Worker, WorkerState
from servemesh.registry.service.leases import Renewal

_SLOT_STATES = {
    pb.Slot.STATE_UNLOADED: SlotState.UNLOADED,
    pb.Slot.STATE_LOADING: SlotState.LOADING,
    pb.Slot.STATE_WARMING: SlotState.WARMING,
    pb.Slot.STATE_READY: SlotState.READY,
    pb.Slot.STATE_DRAINING: SlotState.DRAINING,
    pb.Slot.STATE_FAILED: SlotState.FAILED,
}
_SLOT_NUMBERS = {state: number for number, state in _SLOT_STATES.items()}
_WORKER_STATES = {
    pb.Worker.STATE_ACTIVE: WorkerState.ACTIVE,
    pb.Worker.STATE_DRAINING: WorkerState.DRAINING,
}
_WORKER_NUMBERS = {state: number for number, state in _WORKER_STATES.items()}
_TEXT_CHARS_MAX = 1_000


def from_worker(worker: pb.Worker) -> Worker:
    """The Worker in a message; InvalidError for an unknown state."""
    if worker.state not in _WORKER_STATES:
        raise _bad_state("worker.state", worker.state)
    return Worker(
        worker_id=names.worker_id(worker.name),
        incarnation=worker.incarnation,
        address=worker.address,
        metrics_address=worker.metrics_address,
        state=_WORKER_STATES[worker.state],
        slots=tuple(_from_slot(slot) for slot in worker.slots),
        memory_bytes_max=worker.memory_bytes_max,
        providers=tuple(worker.providers),
    )


def to_worker(lease: Lease) -> pb.Worker:
    """The message for a Worker with its lease."""
    worker = lease.worker
    return pb.Worker(
        name=worker.name,
        incarnation=worker.incarnation,
        address=worker.address,
        metrics_address=worker.metrics_address,
        state=_WORKER_NUMBERS[worker.state],
        slots=[_to_slot(slot) for slot in worker.slots],
        memory_bytes_max=worker.memory_bytes_max,
        providers=worker.providers,
        expire_time=to_time(lease.expire_time),
    )


def to_renewal(renewal: Renewal) -> pb.RenewLeaseResponse:
    """The answer to a worker. A Version that was deleted meanwhile is left out."""
    slots = [
        pb.AssignedSlot(
            model_version=to_version(renewal.versions[slot.key]),
            is_default=slot.is_default,
            aliases=slot.aliases,
            batching=to_batching(slot.batching),
        )
        for slot in renewal.assignment.slots
        if slot.key in renewal.versions
    ]
    assignment = pb.Assignment(revision=renewal.assignment.revision, slots=slots)
    return pb.RenewLeaseResponse(assignment=assignment, lease=to_duration(renewal.lease_s))


def _from_slot(slot: pb.Slot) -> Slot:
    if slot.state not in _SLOT_STATES:
        raise _bad_state("worker.slots.state", slot.state)
    model_id, version_id = names.version_ids(slot.version)
    return Slot(
        model_id=model_id,
        version_id=version_id,
        state=_SLOT_STATES[slot.state],
        is_default=slot.is_default,
        aliases=tuple(slot.aliases),
        reason=slot.reason[:_TEXT_CHARS_MAX],
        message=slot.message[:_TEXT_CHARS_MAX],
        memory_bytes=slot.memory_bytes,
        call_time=_from_time(slot),
    )


def _from_time(slot: pb.Slot) -> datetime | None:
    return slot.call_time.ToDatetime(tzinfo=UTC) if slot.HasField("call_time") else None


def _to_slot(slot: Slot) -> pb.Slot:
    return pb.Slot(
        version=names.version(*slot.key),
        state=_SLOT_NUMBERS[slot.state],
        is_default=slot.is_default,
        aliases=slot.aliases,
        reason=slot.reason,
        message=slot.message,
        memory_bytes=slot.memory_bytes,
        call_time=to_time(slot.call_time) if slot.call_time is not None else None,
    )


def _bad_state(field: str, state: int) -> InvalidError:
    return InvalidError(
        f"{field} is {state}, expected one of the states of fleet.v1",
        reason="STATE_UNKNOWN",
        field=field,
        got=state,
    )
