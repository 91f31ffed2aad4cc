"""Alerting with everything that it needs: real stores, a clock that the test moves, and a receiver that may be away."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from servemesh.changes import Changes
from servemesh.errors import UnavailableError
from servemesh.metrics.adapters.duck_store import DuckStore
from servemesh.metrics.adapters.duck_store import StoreSettings as DuckSettings
from servemesh.metrics.adapters.sql_store import SqlStore
from servemesh.metrics.domain.alerting.alerts import Alert, State
from servemesh.metrics.domain.alerting.grouping import Delivery, Pace
from servemesh.metrics.domain.alerting.judging import Shortage
from servemesh.metrics.domain.alerting.outbox import RetryRules
from servemesh.metrics.domain.alerting.rules import Rule, Signal, Threshold
from servemesh.metrics.domain.points import Point, Series
from servemesh.metrics.domain.queries import Annotation, Kind, Measure, Window
from servemesh.metrics.service.alert_book import AlertBook
from servemesh.metrics.service.alerting import NOTES_CHANNEL, Alerting, AlertSettings
from servemesh.metrics.service.channels import AlertNotes
from servemesh.metrics.service.delivering import Delivering, DeliverySettings
from servemesh.paging import page_request
from servemesh.sql.engines import StoreSettings
from tests.harness.registry import MovedClock
from tests.harness.simulated_alerts import a_rule

GAUGE = "servemesh.worker.queue.rows"
SIGNAL = Signal(metric=GAUGE, measure=Measure.LAST, window_s=15.0)
SETTINGS = AlertSettings(lag_s=0.0, open_max=3, pace=Pace(wait_s=10.0, interval_s=60.0, repeat_s=3_600.0))
RETRY = RetryRules(first_s=4.0, longest_s=60.0, age_s_max=600.0)


class Receiver:
    """Satisfies delivering.Channel; it may be away."""

    def __init__(self) -> None:
        self.away = False
        self.attempts = 0
        self.taken: list[Delivery] = []

    async def deliver(self, delivery: Delivery) -> None:
        """Take it, unless it is away."""
        self.attempts += 1
        if self.away:
            raise UnavailableError("the receiver is away")
        self.taken.append(delivery)

    @property
    def told(self) -> list[list[tuple[str, State]]]:
        """Models and states of each delivery."""
        return [sorted((each.labels["model"], each.state) for each in taken.alerts) for taken in self.taken]


class ToldShortages:
    """Satisfies alerting.Shortages with what the test says."""

    def __init__(self) -> None:
        self.expected: list[Shortage] = []

    async def shortages(self, within_s: float) -> list[Shortage]:
        """What the test says."""
        return self.expected


def rules(**changes: object) -> dict[str, Rule]:
    """Return one rule about a gauge that fires at once, so that a test needs one look."""
    condition = Threshold(signal=SIGNAL, divisor=None, is_above=True, limit=1.0, until=0.5)
    return {"hot": a_rule(**{"condition": condition, "for_s": 0.0, **changes})}


@dataclass(slots=True)
class Service:
    """Alerting over what `values` are by model."""

    store: SqlStore
    readings: DuckStore
    rules: dict[str, Rule]
    values: dict[str, float] = field(default_factory=dict)
    shortages: ToldShortages = field(default_factory=ToldShortages)
    receiver: Receiver = field(default_factory=Receiver)
    clock: MovedClock = field(default_factory=MovedClock)
    changes: Changes = field(default_factory=Changes)

    @property
    def book(self) -> AlertBook:
        """Alerts as users see them."""
        return AlertBook(self.store, self.rules, self.clock, self.changes, silences_max=2, watchers_max=1)

    async def look(self, after_s: float = 15.0) -> list[tuple[str, State]]:
        """Let time pass, measure, look, deliver; what came to fire or was resolved."""
        self.clock.advance(after_s)
        await self._measure()
        alerting = Alerting(
            self.store,
            self.readings,
            self.shortages,
            self.rules,
            ["hook"],
            self.clock,
            self.changes,
            SETTINGS,
        )
        news = await alerting.look(up_s=3_600.0)
        await self.deliver()
        return sorted((alert.labels["model"], alert.state) for alert in news)

    def delivering(self, kind: type[Delivering] = Delivering) -> Delivering:
        """What delivers to the receiver and to the annotations."""
        channels = {"hook": self.receiver, NOTES_CHANNEL: AlertNotes(self.readings)}
        settings = DeliverySettings(retry=RETRY)
        return kind(self.store, channels, self.clock, random.Random(1), self.changes, settings)

    async def deliver(self) -> float:
        """Deliver until nothing is due any more; return in how many seconds there will be."""
        delivering = self.delivering()
        while (wait_s := await delivering.deliver_due()) == 0:
            pass
        return wait_s

    async def alerts(self) -> list[Alert]:
        """Those that are pending or firing, newest first."""
        page = await self.book.list(page_request("test", 100, ""), with_resolved=False)
        return [each.alert for each in page.items]

    async def notes(self) -> list[Annotation]:
        """What was noted, oldest first."""
        now_s = self.clock.now().timestamp()
        found = await self.readings.annotations(Window(begin_s=now_s - 3_600, end_s=now_s + 1))
        return [*reversed(found)]

    async def _measure(self) -> None:
        time_ms = round(self.clock.now().timestamp() * 1_000) - 1_000
        await self.readings.append(
            [
                Point(Series.of(GAUGE, Kind.GAUGE, model=model), time_ms, value)
                for model, value in self.values.items()
            ]
        )


@asynccontextmanager
async def alerting_in(folder: Path, *, answers_max: int = 1_000, **changes: object) -> AsyncIterator[Service]:
    """Alerting whose state is kept in `folder`; a question with more answers than `answers_max` is refused."""
    url = f"sqlite:///{folder / 'state.db'}"
    async with (
        SqlStore.opened(StoreSettings(url=url)) as store,
        DuckStore.opened(":memory:", DuckSettings(values_max=answers_max)) as readings,
    ):
        yield Service(store=store, readings=readings, rules=rules(**changes))
