"""What the metrics service hands back of alerts and reports: plain values, all times in UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRule:
    """What alerts are made by. `severity` is INFO, WARNING or CRITICAL."""

    rule: str
    summary: str
    severity: str
    kind: str
    condition: str
    runbook: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A rule that holds, or held, for one subject. `state` is PENDING, FIRING or RESOLVED."""

    name: str
    rule: str
    labels: Mapping[str, str]
    state: str
    severity: str
    text: str
    value: float
    start_time: datetime
    fire_time: datetime | None
    resolve_time: datetime | None
    silenced: bool
    runbook: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Keeps alerts from being delivered that have, for each label of `filters`, one of its values."""

    name: str
    filters: Mapping[str, tuple[str, ...]]
    end_time: datetime
    comment: str
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A page about a window of time; `model` is empty for the mesh, `formats` some of HTML, CSV and PDF."""

    name: str
    kind: str
    model: str
    start_time: datetime
    end_time: datetime
    formats: tuple[str, ...]
    create_time: datetime
    size_bytes: int
