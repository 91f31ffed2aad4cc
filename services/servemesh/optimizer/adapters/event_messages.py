"""Facts about jobs as messages of servemesh.api.events.v1."""

from __future__ import annotations

from servemesh.api.events.v1 import events_pb2 as pb
from servemesh.observe import traces
from servemesh.optimizer.domain.records import Fact, FactKind

SOURCE = "optimizer"


def encoded(fact: Fact) -> bytes:
    """The bytes to publish, with the trace of the call under way."""
    trace = traces.current()
    message = pb.Event(
        event_id=fact.event_id,
        source=SOURCE,
        trace_parent="" if trace is None else traces.trace_parent(trace),
        resource=fact.job,
        revision=fact.revision,
    )
    message.occur_time.FromDatetime(fact.occur_time)
    match fact.kind:
        case FactKind.QUEUED:
            message.job_queued.job = fact.job
        case FactKind.STARTED:
            message.job_started.job = fact.job
        case FactKind.SUCCEEDED:
            message.job_succeeded.job = fact.job
        case FactKind.FAILED:
            message.job_failed.job = fact.job
            message.job_failed.reason = fact.reason
        case FactKind.CANCELLED:
            message.job_cancelled.job = fact.job
    return bytes(message.SerializeToString())
