"""Looks at every rule again and again, and keeps what follows: alerts, and deliveries in the outbox, at once or not."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from servemesh.changes import Changes
from servemesh.errors import ServemeshError, UnavailableError
from servemesh.lifecycle import Clock
from servemesh.metrics.domain.alerting.alerts import Alert, Observation, State
from servemesh.metrics.domain.alerting.grouping import Delivery, Pace, gathered
from servemesh.metrics.domain.alerting.judging import Shortage, observations, questions
from servemesh.metrics.domain.alerting.outbox import OutboxRow
from servemesh.metrics.domain.alerting.rules import Absence, CapacityForecast, Rule
from servemesh.metrics.domain.alerting.stepping import stepped
from servemesh.metrics.domain.queries import Annotation, Window
from servemesh.metrics.service.alert_storage import AlertStore, Transaction
from servemesh.metrics.service.ports import Readings
from servemesh.observe import metrics
from servemesh.observe import names as telemetry

NOTES_CHANNEL = "notes"
"""Takes every change of every alert as an annotation, silenced or not."""
NOTES_MAX = 1_000
log = logging.getLogger(__name__)


class Shortages(Protocol):
    """What is expected of the demand."""

    async def shortages(self, within_s: float) -> Sequence[Shortage]:
        """When each model will need more than there is, looking so far ahead; never is infinity."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSettings:
    """How often the rules are looked at, and how much is kept."""

    interval_s: float = 15.0
    gap_s: float = 120.0
    lag_s: float = 5.0
    """Points that are younger may still be on their way."""
    open_max: int = 5_000
    outbox_max: int = 10_000
    retention_s: float = 30 * 86_400.0
    pace: Pace = Pace(wait_s=10.0, interval_s=60.0, repeat_s=4 * 3_600.0)  # noqa: RUF009 - it is frozen


class Alerting:
    """Runs for the life of the process. Whatever it has seen is on disk before anybody is told."""

    def __init__(
        self,
        store: AlertStore,
        readings: Readings,
        shortages: Shortages,
        rules: Mapping[str, Rule],
        channels: Sequence[str],
        clock: Clock,
        changes: Changes,
        settings: AlertSettings,
    ) -> None:
        self._store = store
        self._readings = readings
        self._shortages = shortages
        self._rules = rules
        self._channels = channels
        self._clock = clock
        self._changes = changes
        self._settings = settings

    async def run(self) -> None:
        """Look until cancelled."""
        begun_s = self._clock.monotonic_s()
        while True:
            looked_s = self._clock.monotonic_s()
            try:
                await self.look(up_s=looked_s - begun_s)
            except UnavailableError as error:
                log.warning(telemetry.ALERTS_WAITING, extra={"reason": error.reason})
            spent_s = self._clock.monotonic_s() - looked_s
            metrics.gauge(telemetry.METRICS_RULES_DURATION).set(spent_s)
            await self._clock.sleep(max(0.0, self._settings.interval_s - spent_s))

    async def look(self, *, up_s: float) -> Sequence[Alert]:
        """Look at every rule once; return the alerts that came to fire or were resolved.

        `up_s` is for how long the service has taken in measurements.
        """
        now_s = self._clock.now().timestamp()
        observed = {
            rule.rule_id: seen
            for rule in self._rules.values()
            if (seen := await self._seen(rule, now_s, up_s)) is not None
        }
        async with self._store.writing() as tx:
            before = [each for each in await tx.alerts.list_unsettled() if each.state is not State.RESOLVED]
            step = stepped(
                self._rules,
                before,
                observed,
                now_s,
                gap_s=self._settings.gap_s,
                open_max=self._settings.open_max,
            )
            await tx.alerts.put(step.kept)
            await tx.alerts.delete([alert.alert_id for alert in step.dropped])
            await tx.outbox.add([_note(alert, now_s) for alert in step.news])
            await self._gather(tx, now_s)
            await tx.alerts.delete_resolved(before_s=now_s - self._settings.retention_s)
            lost = await tx.outbox.trim(rows_max=self._settings.outbox_max)
        self._count(step.ignored_count, lost)
        self._changes.notify()
        return step.news

    async def _gather(self, tx: Transaction, now_s: float) -> None:
        alerts = await tx.alerts.list_unsettled()
        _show(alerts)
        silences = await tx.silences.list(now_s=now_s)
        found = gathered(alerts, await tx.groups.all(), silences, now_s, self._settings.pace)
        await tx.alerts.put(found.alerts)
        await tx.groups.put(found.groups)
        await tx.groups.delete(found.ended)
        await tx.outbox.add(
            [
                OutboxRow(channel=channel, delivery=delivery)
                for delivery in found.deliveries
                for channel in self._channels
            ]
        )

    async def _seen(self, rule: Rule, now_s: float, up_s: float) -> Sequence[Observation] | None:
        """What the rule sees; None if it could not be looked at."""
        until_s = now_s - self._settings.lag_s
        try:
            answers = [await self._readings.query(query) for query in questions(rule, until_s)]
            return observations(
                rule,
                answers,
                until_s,
                notes=await self._notes(rule, until_s),
                shortages=await self._expected(rule),
                up_s=up_s,
            )
        except ServemeshError as error:
            metrics.counter(telemetry.METRICS_RULES_FAILED).labels(rule.rule_id).inc()
            log.warning(telemetry.RULE_FAILED, extra={"rule": rule.rule_id, "reason": error.reason})
            return None

    async def _notes(self, rule: Rule, now_s: float) -> Sequence[Annotation]:
        condition = rule.condition
        if not isinstance(condition, Absence) or not condition.unless:
            return ()
        window = Window(begin_s=now_s - condition.lookback_s, end_s=now_s + self._settings.lag_s)
        notes = await self._readings.annotations(window, count_max=NOTES_MAX)
        return [note for note in notes if note.kind in condition.unless]

    async def _expected(self, rule: Rule) -> Sequence[Shortage]:
        condition = rule.condition
        if not isinstance(condition, CapacityForecast):
            return ()
        return await self._shortages.shortages(condition.within_s)

    def _count(self, ignored: int, lost: int) -> None:
        if ignored:
            metrics.counter(telemetry.METRICS_ALERTS_IGNORED).inc(ignored)
            log.warning(telemetry.ALERTS_IGNORED, extra={"count": ignored})
        if lost:
            metrics.counter(telemetry.METRICS_DELIVERIES_LOST).labels("any").inc(lost)
            log.error(telemetry.DELIVERIES_TRIMMED, extra={"count": lost})


def _note(alert: Alert, now_s: float) -> OutboxRow:
    delivery_id = f"{alert.alert_id}-{alert.state}"
    delivery = Delivery(delivery_id=delivery_id, group=alert.group, create_s=now_s, alerts=(alert,))
    return OutboxRow(channel=NOTES_CHANNEL, delivery=delivery)


def _show(alerts: Sequence[Alert]) -> None:
    gauge = metrics.gauge(telemetry.METRICS_ALERTS_OPEN)
    for state in (State.PENDING, State.FIRING):
        gauge.labels(state.value).set(sum(alert.state is state for alert in alerts))
