"""Facts as they come over NATS JetStream, as annotations: what changed, when, and a sentence about it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from google.protobuf.message import DecodeError

from servemesh.api.events.v1 import events_pb2 as pb
from servemesh.events import subjects
from servemesh.events.ports import Consumer, Delivery
from servemesh.metrics.domain.queries import Annotation

DURABLE = "metrics_notes"
OWN_SOURCE = "metrics"
LOST = "worker.lost"  # it did not say goodbye
TEXTS: dict[str, Callable[[Any], str]] = {
    "model_created": lambda fact: f"{fact.model} was created.",
    "model_updated": lambda fact: f"Description or labels of {fact.model} changed.",
    "model_deleted": lambda fact: f"{fact.model} was deleted with its Versions.",
    "model_version_created": lambda fact: f"{fact.version} was pushed.",
    "model_version_deleted": lambda fact: f"{fact.version} was deleted.",
    "model_version_quarantined": lambda fact: (
        f"{fact.version} was given up: it ended the process of a worker."
    ),
    "alias_moved": lambda fact: f"{fact.alias} now points to {fact.version}.",
    "alias_deleted": lambda fact: f"{fact.alias} was deleted.",
    "deployment_created": lambda fact: f"{fact.deployment} was created.",
    "deployment_updated": lambda fact: f"{fact.deployment} changed.",
    "deployment_deleted": lambda fact: f"{fact.deployment} was deleted.",
    "worker_joined": lambda fact: f"{fact.worker} joined.",
    "worker_left": lambda fact: (
        f"{fact.worker} fell silent and lost its lease." if fact.lease_expired else f"{fact.worker} left."
    ),
    "job_queued": lambda fact: f"{fact.job} was queued.",
    "job_started": lambda fact: f"{fact.job} was started.",
    "job_succeeded": lambda fact: f"{fact.job} succeeded.",
    "job_failed": lambda fact: f"{fact.job} failed: {fact.reason or 'no reason given'}.",
    "job_cancelled": lambda fact: f"{fact.job} was cancelled.",
    "alert_fired": lambda fact: f"{fact.alert} of rule {fact.rule} fires.",
    "alert_resolved": lambda fact: f"{fact.alert} of rule {fact.rule} is resolved.",
}


class EventFact:
    """One fact, and the delivery that it came by."""

    def __init__(self, delivery: Delivery) -> None:
        self.annotation = annotation_of(delivery.data)
        self._delivery = delivery

    async def settled(self) -> None:
        """Tell the broker that it is kept."""
        await self._delivery.ack()

    async def unsettled(self, *, delay_s: float) -> None:
        """Have the broker send it again."""
        await self._delivery.nak(delay_s=delay_s)


class EventFacts:
    """All facts of the stream, for one reader that goes on where it was."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    @asynccontextmanager
    async def heard(self) -> AsyncIterator[AsyncIterator[EventFact]]:
        """Iterate facts for ever."""
        async with self._consumer.consume(DURABLE, subjects=subjects.STREAM_SUBJECTS) as deliveries:
            yield (EventFact(delivery) async for delivery in deliveries)


def annotation_of(data: bytes) -> Annotation | None:
    """Return what is kept of a fact; None if it is malformed or of a newer kind than is known here.

    Alerts come from this service itself, which notes them with more words when they change; they are not noted twice.
    """
    try:
        event = pb.Event.FromString(data)
    except DecodeError:
        return None
    kind = event.WhichOneof("fact")
    if kind not in TEXTS or not event.event_id or event.source == OWN_SOURCE:
        return None
    return Annotation(
        annotation_id=event.event_id,
        time_s=event.occur_time.ToNanoseconds() / 1e9,
        kind=LOST if kind == "worker_left" and event.worker_left.lease_expired else _dotted(kind),
        resource=event.resource,
        text=TEXTS[kind](getattr(event, kind)),
    )


def _dotted(kind: str) -> str:
    """Return noun and participle, as in `deployment.updated`."""
    noun, _, participle = kind.removeprefix("model_version_" if "version" in kind else "").rpartition("_")
    return f"{noun or 'version'}.{participle}"
