"""The ways to tell of alerts that need nothing else: the log, and the annotations."""

from __future__ import annotations

import logging

from servemesh.metrics.domain.alerting.alerts import Alert, State
from servemesh.metrics.domain.alerting.grouping import Delivery
from servemesh.metrics.domain.queries import Annotation
from servemesh.metrics.service.ports import Notes
from servemesh.observe import names as telemetry

log = logging.getLogger(__name__)
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.ERROR}


class AlertLog:
    """Satisfies delivering.Channel: a line for each alert."""

    async def deliver(self, delivery: Delivery) -> None:
        """Log."""
        for alert in delivery.alerts:
            is_over = alert.state is State.RESOLVED
            level = logging.INFO if is_over else _LEVELS[alert.severity]
            event = telemetry.ALERT_RESOLVED if is_over else telemetry.ALERT_FIRING
            log.log(
                level,
                event,
                extra={
                    "alert": alert.name,
                    "rule": alert.rule_id,
                    "severity": alert.severity.value,
                    "labels": dict(alert.labels),
                    "text": alert.text,
                    "runbook": f"docs/runbooks/{alert.runbook}",
                },
            )


class AlertNotes:
    """Satisfies delivering.Channel: each change of an alert is an annotation, once."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    async def deliver(self, delivery: Delivery) -> None:
        """Keep what happened."""
        for alert in delivery.alerts:
            verb = "resolved" if alert.state is State.RESOLVED else "firing"
            await self._notes.annotate(
                Annotation(
                    annotation_id=f"{alert.alert_id}-{verb}",
                    time_s=alert.change_s,
                    kind=f"alert.{verb}",
                    resource=_resource(alert),
                    text=alert.text,
                )
            )


def _resource(alert: Alert) -> str:
    """What the alert is about, so that it stands beside the changes of that; the alert itself if nothing is known."""
    if model := alert.labels.get("model"):
        version = alert.labels.get("version")
        return f"models/{model}/versions/{version}" if version else f"models/{model}"
    worker = alert.labels.get("worker") or alert.labels.get("instance", "")
    return f"workers/{worker}" if worker else alert.name
