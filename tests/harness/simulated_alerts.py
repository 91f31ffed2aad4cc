"""A day of alerting under a virtual clock: subjects that swing, looks that fail, restarts, silences, and a receiver."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise

from servemesh.metrics.domain.alerting.alerts import Alert, Observation, State, Told
from servemesh.metrics.domain.alerting.grouping import Delivery, Group, Pace, gathered
from servemesh.metrics.domain.alerting.rules import Rule, Severity, Shows, Signal, Threshold
from servemesh.metrics.domain.alerting.silences import Silence, is_silenced
from servemesh.metrics.domain.alerting.stepping import stepped
from servemesh.metrics.domain.queries import Measure
from servemesh.sql.codec import Codec
from tests.harness.simulation import History

_ALERTS, _GROUPS = Codec(Alert, figures=True), Codec(Group)
SIGNAL = Signal(metric="servemesh.worker.calls", measure=Measure.RATE, window_s=60.0)


def a_rule(rule_id: str = "hot", **changes: object) -> Rule:
    """Return a rule about models."""
    condition = Threshold(signal=SIGNAL, divisor=None, is_above=True, limit=1.0, until=0.5)
    values = {
        "rule_id": rule_id,
        "summary": "It is hot.",
        "text": "$model is at $value",
        "severity": Severity.WARNING,
        "runbook": "model-p99-high.md",
        "by": ("model",),
        "group_by": (),
        "condition": condition,
        "for_s": 60.0,
        "keep_s": 60.0,
        "forget_s": 600.0,
        "shows": Shows.NUMBER,
    }
    return Rule(**{**values, **changes})  # type: ignore[arg-type]


def seen(model: str, value: float) -> Observation:
    """Return what `a_rule` sees of a model at that value."""
    return Observation(
        labels={"model": model},
        value=value,
        holds=value > 1.0,
        is_over=value <= 0.5,
        text=f"{model} is at {value}",
    )


@dataclass(slots=True)
class World:
    """Rules and subjects, the state that is kept, and what a receiver believes."""

    history: History
    rules: dict[str, Rule]
    pace: Pace
    gap_s: float
    now_s: float = 1_000_000.0
    alerts: dict[str, Alert] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    silences: list[Silence] = field(default_factory=list)
    values: dict[tuple[str, str], float] = field(default_factory=dict)
    looks: dict[tuple[str, str], list[tuple[float, Observation]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    fired: dict[tuple[str, ...], list[float]] = field(default_factory=lambda: defaultdict(list))
    told_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    believed: dict[str, Alert] = field(default_factory=dict)

    @property
    def unsettled(self) -> list[Alert]:
        """What the store would list."""
        return [alert for alert in self.alerts.values() if not alert.is_settled]

    def look(self, *, blind: bool = False) -> None:
        """Look once; `blind` looks find nothing measured."""
        observed = {
            rule_id: []
            if blind
            else [self._seen(rule_id, model) for rule_id_, model in self.values if rule_id_ == rule_id]
            for rule_id in self.rules
        }
        before = [alert for alert in self.unsettled if alert.state is not State.RESOLVED]
        step = stepped(self.rules, before, observed, self.now_s, gap_s=self.gap_s, open_max=100)
        for alert in step.dropped:
            del self.alerts[alert.alert_id]
        self.alerts |= {alert.alert_id: alert for alert in step.kept}
        for alert in step.news:
            self.history.tell(self.now_s, alert.rule_id, alert.labels, alert.state)
            self._check(alert)
        self._tell()
        self._check_subjects()

    def restart(self) -> None:
        """All that is kept goes to disk and comes back."""
        self.alerts = {key: _ALERTS.loads(_ALERTS.dumps(alert)) for key, alert in self.alerts.items()}
        self.groups = {key: _GROUPS.loads(_GROUPS.dumps(group)) for key, group in self.groups.items()}

    def _seen(self, rule_id: str, model: str) -> Observation:
        found = seen(model, self.values[rule_id, model])
        self.looks[rule_id, model].append((self.now_s, found))
        return found

    def _tell(self) -> None:
        found = gathered(self.unsettled, self.groups, self.silences, self.now_s, self.pace)
        self.alerts |= {alert.alert_id: alert for alert in found.alerts}
        self.groups |= {group.key: group for group in found.groups}
        for key in found.ended:
            del self.groups[key]
        for delivery in found.deliveries:
            self._receive(delivery)

    def _receive(self, delivery: Delivery) -> None:
        self.history.tell(
            self.now_s, "told of", delivery.group, [alert.state.value for alert in delivery.alerts]
        )
        spans = [self.now_s - told_s for told_s in self.told_s[delivery.group][-1:]]
        assert all(span_s >= self.pace.interval_s for span_s in spans), (
            f"{delivery.group} is told of too often"
        )
        self.told_s[delivery.group].append(self.now_s)
        assert delivery.alerts, "a delivery without alerts"
        for alert in delivery.alerts:
            assert not is_silenced(alert, self.silences, self.now_s), "a silenced alert was told of"
            if alert.state is State.FIRING:
                self.believed[alert.alert_id] = alert
            else:
                assert self.believed.pop(alert.alert_id, None), "one is over of which nobody was told"

    def _check(self, alert: Alert) -> None:
        rule, looks = self.rules[alert.rule_id], self.looks[alert.rule_id, alert.labels["model"]]
        if alert.state is State.FIRING:
            self._check_lasting(looks, rule.for_s, lambda found: found.holds)
            fired = self.fired[alert.subject]
            assert all(self.now_s - fired_s >= rule.keep_s for fired_s in fired[-1:]), "it flaps"
            fired.append(self.now_s)
        elif self.now_s - alert.seen_s < rule.forget_s:
            self._check_lasting(looks, rule.keep_s, lambda found: found.is_over)

    def _check_lasting(self, looks, span_s, is_so) -> None:  # type: ignore[no-untyped-def]
        """It was so at every look of the span, and the looks were near enough to each other."""
        lasting = [look for look in looks if look[0] >= self.now_s - span_s]
        assert all(is_so(found) for _, found in lasting), "it was not so all the time"
        times = [self.now_s - span_s, *(at_s for at_s, _ in lasting)]
        gaps = [later - sooner for sooner, later in pairwise(times)]
        assert all(gap <= self.gap_s for gap in gaps), "nobody knows whether it was so all the time"

    def _check_subjects(self) -> None:
        subjects = [alert.subject for alert in self.unsettled if alert.state is not State.RESOLVED]
        assert len(subjects) == len(set(subjects)), "two alerts of one subject"
        assert all(
            alert.told is not Told.RESOLVED or alert.state is State.RESOLVED for alert in self.alerts.values()
        )
