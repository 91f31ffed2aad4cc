"""Delivers to the event bus: a fact for each alert that fired or was resolved."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

from servemesh.api.events.v1 import events_pb2 as pb
from servemesh.events import subjects
from servemesh.events.ports import Publisher
from servemesh.metrics.domain.alerting.alerts import Alert, State
from servemesh.metrics.domain.alerting.grouping import Delivery

SOURCE = "metrics"
_IDS = uuid.UUID("6f1c2f34-9a53-4b0e-8a37-2f6c6f0b5f11")


class AlertEvents:
    """Satisfies delivering.Channel."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def deliver(self, delivery: Delivery) -> None:
        """Publish; what was published before has the same id and is dropped by the broker or by its readers."""
        if delivery.is_reminder:
            return
        for alert in delivery.alerts:
            is_over = alert.state is State.RESOLVED
            subject = subjects.alert_fact("resolved" if is_over else "fired", alert.rule_id)
            event = _event(alert, is_over=is_over)
            await self._publisher.publish(subject, event.SerializeToString(), message_id=event.event_id)


def _event(alert: Alert, *, is_over: bool) -> pb.Event:
    event = pb.Event(
        event_id=str(uuid.uuid5(_IDS, f"{alert.alert_id}/{alert.state}")),
        source=SOURCE,
        resource=alert.name,
        revision=2 if is_over else 1,
    )
    event.occur_time.FromDatetime(datetime.fromtimestamp(alert.change_s, UTC))
    fact = event.alert_resolved if is_over else event.alert_fired
    fact.alert, fact.rule = alert.name, alert.rule_id
    return event
