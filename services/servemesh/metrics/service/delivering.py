"""Takes deliveries out of the outbox to those who are to be told: at least once, in order for each group."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from servemesh.changes import Changes
from servemesh.errors import ServemeshError, UnavailableError
from servemesh.lifecycle import Clock
from servemesh.metrics.domain.alerting.grouping import Delivery
from servemesh.metrics.domain.alerting.outbox import OutboxRow, RetryRules, failed
from servemesh.metrics.service.alert_storage import AlertStore
from servemesh.observe import metrics
from servemesh.observe import names as telemetry

RETRY_S = 1.0  # until the outbox is read again, when it could not be

log = logging.getLogger(__name__)


class Channel(Protocol):
    """Somebody who is to be told."""

    async def deliver(self, delivery: Delivery) -> None:
        """Return once it is taken. UnavailableError: try again later. The same one may come again."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """How many deliveries are under way at a time, how long the outbox is left alone at most, and how to retry."""

    at_once_max: int = 8
    interval_s: float = 30.0
    retry: RetryRules = RetryRules()  # noqa: RUF009 - it is frozen


class Delivering:
    """Runs for the life of the process."""

    def __init__(
        self,
        store: AlertStore,
        channels: Mapping[str, Channel],
        clock: Clock,
        chance: random.Random,
        changes: Changes,
        settings: DeliverySettings,
    ) -> None:
        self._store = store
        self._channels = channels
        self._clock = clock
        self._chance = chance
        self._changes = changes
        self._settings = settings

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            seen = self._changes.count
            try:
                wait_s = await self.deliver_due()
            except UnavailableError as error:
                log.warning(telemetry.ALERTS_WAITING, extra={"reason": error.reason})
                wait_s = RETRY_S
            if wait_s > 0:
                await self._changes.wait(seen, timeout_s=wait_s)

    async def deliver_due(self) -> float:
        """Try what is due, the oldest of each channel and group; return in how many seconds to look again."""
        now_s = self._clock.now().timestamp()
        async with self._store.reading() as tx:
            rows = await tx.outbox.list_first()
        due = [row for row in rows if row.due_s <= now_s]
        for start in range(0, len(due), self._settings.at_once_max):
            await self._deliver(due[start : start + self._settings.at_once_max])
        if due:
            return 0.0
        return min([self._settings.interval_s, *(row.due_s - now_s for row in rows)])

    async def _deliver(self, rows: Sequence[OutboxRow]) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._tried(row)) for row in rows]
        results = [task.result() for task in tasks]
        gone = [row.row_id for row, after in zip(rows, results, strict=True) if after is None]
        async with self._store.writing() as tx:
            await tx.outbox.delete(gone)
            for after in results:
                if after is not None:
                    await tx.outbox.put(after)

    async def _tried(self, row: OutboxRow) -> OutboxRow | None:
        """The row as it is to be tried again; None if it is done with."""
        channel = self._channels.get(row.channel)
        if channel is None:  # it was switched off since
            return None
        try:
            await channel.deliver(row.delivery)
        except ServemeshError as error:
            return self._failed(row, error)
        metrics.counter(telemetry.METRICS_DELIVERIES).labels(row.channel, "taken").inc()
        return None

    def _failed(self, row: OutboxRow, error: ServemeshError) -> OutboxRow | None:
        now_s = self._clock.now().timestamp()
        after = failed(row, now_s, self._settings.retry, self._chance)
        outcome = "retried" if after is not None else "lost"
        metrics.counter(telemetry.METRICS_DELIVERIES).labels(row.channel, outcome).inc()
        extra = {
            "channel": row.channel,
            "group": row.delivery.group,
            "reason": error.reason,
            "outcome": outcome,
        }
        if after is None:
            metrics.counter(telemetry.METRICS_DELIVERIES_LOST).labels(row.channel).inc()
            log.error(telemetry.DELIVERY_FAILED, extra=extra)
        else:
            log.warning(telemetry.DELIVERY_FAILED, extra=extra)
        return after
