"""A delivery as a message to a webhook, signed as Standard Webhooks says, so that its libraries can verify it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

from servemesh.metrics.domain.alerting.alerts import Alert
from servemesh.metrics.domain.alerting.grouping import Delivery

_ENCODED = "whsec_"


def body(delivery: Delivery) -> bytes:
    """Return the message; the same delivery gives the same bytes."""
    said = {
        "type": f"alerts.{delivery.state}",
        "timestamp": _time(delivery.create_s),
        "data": {
            "delivery": delivery.delivery_id,
            "group": delivery.group,
            "reminder": delivery.is_reminder,
            "alerts": [_alert(alert) for alert in delivery.alerts],
            "more_count": delivery.more_count,
        },
    }
    return json.dumps(said, separators=(",", ":"), ensure_ascii=False).encode()


def headers(delivery_id: str, message: bytes, secret: str, now_s: float) -> dict[str, str]:
    """Return what goes with the message; receivers drop an id that they have seen, and times that are long ago.

    Without a secret nothing is signed.
    """
    timestamp = str(int(now_s))
    said = {"content-type": "application/json", "webhook-id": delivery_id, "webhook-timestamp": timestamp}
    if secret:
        said["webhook-signature"] = f"v1,{signature(delivery_id, timestamp, message, secret)}"
    return said


def signature(delivery_id: str, timestamp: str, message: bytes, secret: str) -> str:
    """Return HMAC-SHA256 over id, time and message, in base64. A secret may be `whsec_` with its bytes in base64."""
    key = base64.b64decode(secret.removeprefix(_ENCODED)) if secret.startswith(_ENCODED) else secret.encode()
    signed = f"{delivery_id}.{timestamp}.".encode() + message
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "name": alert.name,
        "rule": alert.rule_id,
        "state": alert.state.value,
        "severity": alert.severity.value,
        "labels": dict(alert.labels),
        "text": alert.text,
        "value": alert.value,
        "start_time": _time(alert.start_s),
        "fire_time": _time(alert.fire_s),
        "resolve_time": _time(alert.resolve_s),
        "runbook": f"docs/runbooks/{alert.runbook}",
    }


def _time(moment_s: float | None) -> str | None:
    if moment_s is None:
        return None
    return datetime.fromtimestamp(moment_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
