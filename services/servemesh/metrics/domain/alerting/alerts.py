"""Alerts as a state machine: pending, firing, resolved. Plain functions of a rule, what was seen, and the time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from servemesh.metrics.domain.alerting.rules import Rule, Severity

NOT_MEASURED = "was not measured any more"


class State(StrEnum):
    """Where an alert stands."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


class Told(StrEnum):
    """What those who are told of an alert believe."""

    NOTHING = "nothing"
    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a rule makes of one subject now. Between `holds` and `is_over` lies a band in which nothing changes."""

    labels: Mapping[str, str]
    value: float
    holds: bool
    is_over: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One time that a rule held for a subject. Times in seconds since 1970."""

    rule_id: str
    labels: Mapping[str, str]
    severity: Severity
    runbook: str
    group: str
    state: State
    text: str
    value: float
    start_s: float
    seen_s: float
    """When the subject was last measured."""
    fire_s: float | None = None
    resolve_s: float | None = None
    over_s: float | None = None
    """Since when the condition is over, while it fires all the same."""
    told: Told = Told.NOTHING

    @property
    def alert_id(self) -> str:
        """The same for the same rule, subject and start, also after a crash."""
        told = json.dumps([self.rule_id, sorted(self.labels.items()), round(self.start_s * 1e6)])
        return f"a{hashlib.sha256(told.encode()).hexdigest()[:16]}"

    @property
    def name(self) -> str:
        """`alerts/{alert}`."""
        return f"alerts/{self.alert_id}"

    @property
    def subject(self) -> tuple[str, ...]:
        """Rule and labels: of alerts that have not ended there is one for each."""
        return subject_of(self.rule_id, self.labels)

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state is State.RESOLVED and self.told is not Told.FIRING

    @property
    def change_s(self) -> float:
        """When its state came to be what it is."""
        return self.resolve_s or self.fire_s or self.start_s


def subject_of(rule_id: str, labels: Mapping[str, str]) -> tuple[str, ...]:
    """Return what tells the alerts of a moment apart."""
    return rule_id, *(part for item in sorted(labels.items()) for part in item)


def group_of(rule: Rule, labels: Mapping[str, str]) -> str:
    """Return the key of the group in which alerts are delivered together."""
    parts = [rule.rule_id, *(f"{label}={labels.get(label, '')}" for label in rule.group_by)]
    return "/".join(parts)


def advanced(
    rule: Rule, alert: Alert | None, seen: Observation | None, now_s: float, *, gap_s: float
) -> Alert | None:
    """Return the alert of one subject after a look at it; None if there is none (any more).

    `seen` is None if the subject was not measured. What happened in a gap of more than `gap_s` between two looks is
    not known: a condition must then hold, or be over, for its whole time anew.
    """
    if alert is None:
        return _begun(rule, seen, now_s) if seen is not None and seen.holds else None
    if alert.state is State.PENDING:
        return _pending(rule, alert, seen, now_s, gap_s)
    return _firing(rule, alert, seen, now_s, gap_s)


def _begun(rule: Rule, seen: Observation, now_s: float) -> Alert:
    alert = Alert(
        rule_id=rule.rule_id,
        labels=dict(seen.labels),
        severity=rule.severity,
        runbook=rule.runbook,
        group=group_of(rule, seen.labels),
        state=State.PENDING,
        text=seen.text,
        value=seen.value,
        start_s=now_s,
        seen_s=now_s,
    )
    return _fired(alert, now_s) if rule.for_s <= 0 else alert


def _pending(rule: Rule, alert: Alert, seen: Observation | None, now_s: float, gap_s: float) -> Alert | None:
    if seen is None:
        return alert if now_s - alert.seen_s <= gap_s else None
    if not seen.holds:
        return None
    if now_s - alert.seen_s > gap_s:
        return _begun(rule, seen, now_s)
    alert = replace(alert, text=seen.text, value=seen.value, seen_s=now_s)
    return _fired(alert, now_s) if now_s - alert.start_s >= rule.for_s else alert


def _firing(rule: Rule, alert: Alert, seen: Observation | None, now_s: float, gap_s: float) -> Alert:
    if seen is None:
        if now_s - alert.seen_s < rule.forget_s:
            return alert
        return _resolved(replace(alert, text=f"{alert.text} ({NOT_MEASURED})"), now_s)
    over_s = None
    if seen.is_over:
        had_gap = now_s - alert.seen_s > gap_s
        over_s = now_s if alert.over_s is None or had_gap else alert.over_s
    text = seen.text if over_s is None else alert.text  # what it fired for, not that it is over
    alert = replace(alert, text=text, value=seen.value, seen_s=now_s, over_s=over_s)
    if over_s is not None and now_s - over_s >= rule.keep_s:
        return _resolved(alert, now_s)
    return alert


def _fired(alert: Alert, now_s: float) -> Alert:
    return replace(alert, state=State.FIRING, fire_s=now_s)


def _resolved(alert: Alert, now_s: float) -> Alert:
    return replace(alert, state=State.RESOLVED, resolve_s=now_s)
