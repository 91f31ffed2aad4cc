"""The relay: publishes what the outbox holds, and again what the broker turns out to have lost."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from servemesh.changes import Changes
from servemesh.errors import UnavailableError
from servemesh.events.ports import Link, Publisher, StreamInspector, StreamState
from servemesh.observe import metrics
from servemesh.observe import names as telemetry
from servemesh.registry.domain.outbox import OutboxRow, SentMark
from servemesh.registry.service.duties import SoleDuty
from servemesh.registry.service.ports import Clock, Store

log = logging.getLogger(__name__)

MEASURE_INTERVAL_S = 2.0


class Broker(Link, Publisher, StreamInspector, Protocol):
    """What the relay needs of the event bus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySettings:
    """How eagerly the relay works, and how long it keeps what the broker has confirmed."""

    interval_s: float = 1.0
    batch_max: int = 100
    retention_s: float = 600.0
    check_interval_s: float = 60.0


class Relay:
    """At least once, in order per resource; consumers drop what they have seen."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        changes: Changes,
        broker: Broker,
        duty: SoleDuty,
        settings: RelaySettings,
    ) -> None:
        self._store = store
        self._clock = clock
        self._changes = changes
        self._broker = broker
        self._duty = duty
        self._settings = settings
        self._connections_checked = -1
        self._checked_at_s = 0.0
        self._measured_at_s = 0.0
        self._stream_create_time: datetime | None = None

    async def run(self) -> None:
        """Relay until cancelled. While the broker is away the outbox grows, on disk."""
        while True:
            seen = self._changes.count
            more = False
            try:
                await self._measure()
                if self._broker.is_connected and await self._duty.holds():
                    await self.check()
                    more = await self.relay()
            except UnavailableError as error:
                log.info(telemetry.RELAY_WAITING, extra={"reason": error.reason})
            if not more:
                await self._changes.wait(seen, timeout_s=self._settings.interval_s)

    async def relay(self) -> bool:
        """Publish some of what is unsent, oldest first; whether there may be more."""
        async with self._store.reading() as tx:
            rows = await tx.outbox.list_unsent(limit=self._settings.batch_max)
        if not rows:
            return False
        sent: list[tuple[OutboxRow, int]] = []
        try:
            for row in rows:
                receipt = await self._broker.publish(row.subject, row.data, message_id=row.event_id)
                sent.append((row, receipt.sequence))
        finally:
            await self._mark(sent)
        return len(rows) == self._settings.batch_max

    async def check(self) -> None:
        """After each new connection and every `check_interval_s`: has the broker still got what it confirmed?"""
        connections, now_s = self._broker.connections, self._clock.monotonic_s()
        is_due = now_s - self._checked_at_s >= self._settings.check_interval_s
        if connections == self._connections_checked and not is_due:
            return
        state = await self._broker.stream_state()
        async with self._store.reading() as tx:
            mark = await tx.outbox.find_newest_sent()
        if await self._has_lost(state, mark):
            async with self._store.writing("outbox") as tx:
                count = await tx.outbox.mark_all_unsent()
            log.warning(telemetry.RELAY_HISTORY_LOST, extra={"republished": count})
        horizon = self._clock.now() - timedelta(seconds=self._settings.retention_s)
        async with self._store.writing("outbox") as tx:
            await tx.outbox.delete_sent(sent_before=horizon)
        self._connections_checked, self._checked_at_s = connections, now_s
        self._stream_create_time = state.create_time

    async def _has_lost(self, state: StreamState, mark: SentMark | None) -> bool:
        if mark is None:
            return False
        known = self._stream_create_time
        if (known is not None and known != state.create_time) or state.last_sequence < mark.stream_sequence:
            return True
        if state.first_sequence > mark.stream_sequence:
            return False  # a full stream drops its oldest facts: those were stored
        return await self._broker.find_message_id(mark.stream_sequence) != mark.event_id

    async def _measure(self) -> None:
        """Show how much waits, also while the broker is away."""
        now_s = self._clock.monotonic_s()
        if now_s - self._measured_at_s < MEASURE_INTERVAL_S:
            return
        async with self._store.reading() as tx:
            waiting = await tx.outbox.count_unsent()
        metrics.gauge(telemetry.REGISTRY_EVENTS_WAITING).set(waiting)
        self._measured_at_s = now_s

    async def _mark(self, sent: Sequence[tuple[OutboxRow, int]]) -> None:
        if not sent:
            return
        metrics.counter(telemetry.REGISTRY_EVENTS_SENT).inc(len(sent))
        now = self._clock.now()
        async with self._store.writing("outbox") as tx:
            for row, sequence in sent:
                await tx.outbox.mark_sent(row.row_id, stream_sequence=sequence, sent_time=now)
