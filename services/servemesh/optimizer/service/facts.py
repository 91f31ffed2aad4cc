"""Publishes what happened to jobs, and hears that jobs wait."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from servemesh.changes import Changes
from servemesh.errors import ServemeshError, UnavailableError
from servemesh.events import subjects
from servemesh.events.ports import Consumer, Link, Publisher
from servemesh.observe import metrics
from servemesh.observe import names as telemetry
from servemesh.optimizer.service.storage import Store

BATCH_MAX = 100
QUEUE = "optimizer-jobs"
RETRY_S = 2.0

log = logging.getLogger(__name__)


class Broker(Link, Publisher, Protocol):
    """What publishing needs of the event bus."""


class FactRelay:
    """Runs for the life of the process. At least once, in order per job; two relays publish twice under one id."""

    def __init__(self, store: Store, changes: Changes, broker: Broker, *, interval_s: float) -> None:
        self._store = store
        self._changes = changes
        self._broker = broker
        self._interval_s = interval_s

    async def run(self) -> None:
        """Relay until cancelled. While the broker is away facts wait in the database."""
        while True:
            seen, more = self._changes.count, False
            try:
                if self._broker.is_connected:
                    more = await self.relay()
            except UnavailableError as error:
                log.info(telemetry.FACTS_WAITING, extra={"reason": error.reason})
                await asyncio.sleep(self._interval_s)
            if not more:
                await self._changes.wait(seen, timeout_s=self._interval_s)

    async def relay(self) -> bool:
        """Publish some of what waits, oldest first; whether there may be more."""
        async with self._store.reading() as tx:
            rows = await tx.facts.list_unsent(limit=BATCH_MAX)
        sent: list[int] = []
        try:
            for row in rows:
                await self._broker.publish(row.subject, row.data, message_id=row.event_id)
                sent.append(row.row_id)
        finally:
            if sent:
                metrics.counter(telemetry.OPTIMIZER_FACTS_SENT).inc(len(sent))
                async with self._store.writing("facts") as tx:
                    await tx.facts.delete(sent)
        return len(rows) == BATCH_MAX


class WakeUps:
    """The work queue: each message that a job waits goes to one optimizer, which then looks into the database.

    The database is the truth. A message lost costs one interval of looking; one too many costs one look.
    """

    def __init__(self, consumer: Consumer, changes: Changes) -> None:
        self._consumer = consumer
        self._changes = changes

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                async with self._consumer.consume(QUEUE, subjects=[subjects.JOBS_QUEUED]) as deliveries:
                    async for delivery in deliveries:
                        self._changes.notify()
                        await delivery.ack()
            except ServemeshError as error:
                log.warning(telemetry.WAKE_UPS_LOST, extra={"reason": error.reason})
                await asyncio.sleep(RETRY_S)
