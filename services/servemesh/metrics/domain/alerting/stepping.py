"""One look at everything: which alerts begin, fire, are resolved or were nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from servemesh.metrics.domain.alerting.alerts import Alert, Observation, State, advanced, subject_of
from servemesh.metrics.domain.alerting.rules import Rule

RULE_IS_GONE = "its rule is gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a look made of the alerts that had not ended."""

    kept: tuple[Alert, ...]
    """New ones, and those that differ from before."""
    dropped: tuple[Alert, ...]
    """Pending ones whose condition did not hold for long enough."""
    news: tuple[Alert, ...]
    """Those that came to fire, and those that were resolved."""
    ignored_count: int
    """Conditions that hold, and for which there is no room."""


def stepped(
    rules: Mapping[str, Rule],
    alerts: Sequence[Alert],
    observed: Mapping[str, Sequence[Observation]],
    now_s: float,
    *,
    gap_s: float,
    open_max: int,
) -> Step:
    """Return what changes; `alerts` are those pending or firing, `observed` what each rule saw, by its id.

    A rule that could not be looked at is not in `observed`, or has seen nothing.
    """
    before = {alert.subject: alert for alert in alerts}
    seen = {
        subject_of(rule_id, each.labels): (rules[rule_id], each)
        for rule_id, found in observed.items()
        if rule_id in rules
        for each in found
    }
    kept: list[Alert] = []
    dropped: list[Alert] = []
    for subject, alert in before.items():
        rule = rules.get(alert.rule_id)
        after = (
            advanced(rule, alert, seen[subject][1] if subject in seen else None, now_s, gap_s=gap_s)
            if rule is not None
            else _without_rule(alert, now_s)
        )
        if after is None:
            dropped.append(alert)
        elif after != alert:
            kept.append(after)
            if after.alert_id != alert.alert_id:
                dropped.append(alert)
    room, ignored = open_max - len(before) + len(dropped), 0
    for subject in sorted(seen.keys() - before.keys()):
        begun = advanced(seen[subject][0], None, seen[subject][1], now_s, gap_s=gap_s)
        if begun is not None and room <= 0:
            ignored += 1
        elif begun is not None:
            kept.append(begun)
            room -= 1
    return Step(kept=tuple(kept), dropped=tuple(dropped), news=_news(before, kept), ignored_count=ignored)


def _without_rule(alert: Alert, now_s: float) -> Alert | None:
    if alert.state is State.PENDING:
        return None
    text = f"{alert.text} ({RULE_IS_GONE})"
    return replace(alert, state=State.RESOLVED, resolve_s=now_s, text=text)


def _news(before: Mapping[tuple[str, ...], Alert], kept: Sequence[Alert]) -> tuple[Alert, ...]:
    return tuple(
        alert
        for alert in kept
        if alert.state is not State.PENDING
        and (alert.subject not in before or before[alert.subject].state is not alert.state)
    )
