"""Facts as messages of servemesh.api.events.v1."""

from __future__ import annotations

from servemesh.api.events.v1 import events_pb2 as pb
from servemesh.observe import traces
from servemesh.registry.domain.events import Event, Kind

SOURCE = "registry"


def encoded(event: Event) -> bytes:
    """The bytes to publish, with the trace of the call under way."""
    trace = traces.current()
    message = pb.Event(
        event_id=event.event_id,
        source=SOURCE,
        trace_parent="" if trace is None else traces.trace_parent(trace),
        resource=event.resource,
        revision=event.revision,
    )
    message.occur_time.FromDatetime(event.occur_time)
    _add_fact(message, event)
    return bytes(message.SerializeToString())


def _add_fact(message: pb.Event, event: Event) -> None:
    match event.kind:
        case Kind.MODEL_CREATED:
            message.model_created.model = event.resource
        case Kind.MODEL_UPDATED:
            message.model_updated.model = event.resource
        case Kind.MODEL_DELETED:
            message.model_deleted.model = event.resource
        case Kind.VERSION_CREATED:
            message.model_version_created.version = event.resource
        case Kind.VERSION_DELETED:
            message.model_version_deleted.version = event.resource
        case Kind.VERSION_QUARANTINED:
            message.model_version_quarantined.version = event.resource
        case Kind.ALIAS_MOVED:
            message.alias_moved.alias = event.resource
            message.alias_moved.version = event.version
        case Kind.ALIAS_DELETED:
            message.alias_deleted.alias = event.resource
        case Kind.DEPLOYMENT_CREATED:
            message.deployment_created.deployment = event.resource
        case Kind.DEPLOYMENT_UPDATED:
            message.deployment_updated.deployment = event.resource
        case Kind.DEPLOYMENT_DELETED:
            message.deployment_deleted.deployment = event.resource
        case Kind.WORKER_JOINED:
            message.worker_joined.worker = event.resource
        case Kind.WORKER_LEFT:
            message.worker_left.worker = event.resource
            message.worker_left.lease_expired = event.lease_expired
