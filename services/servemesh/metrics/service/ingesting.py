"""Takes what senders send: digests it at once, stores it in batches, and says so when it cannot keep up."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Protocol

from servemesh.errors import OverloadedError, UnavailableError
from servemesh.lifecycle import Clock
from servemesh.metrics.domain.digesting import Census, Digestion
from servemesh.metrics.domain.points import Point, Series
from servemesh.metrics.domain.samples import AS_IT_SHOULD_BE, Drop, Sample
from servemesh.observe import metrics, names

RETRY_AFTER_S = 2.0

_log = logging.getLogger(__name__)


class Appender(Protocol):
    """What stores points."""

    async def append(self, points: Sequence[Point]) -> None:
        """Store points; they survive a crash once this returns. UnavailableError if that is not possible now."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSettings:
    """How much may wait, and how long."""

    bytes_max: int = 32 << 20
    flush_s: float = 2.0
    batch_points_max: int = 200_000
    stream_idle_s: float = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A request: its samples, how many they are, if that is asked for, and how long it was as a message."""

    samples: Iterable[Sample]
    count: Callable[[], int]
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What the sender is told: how many points were refused, and why."""

    rejected_count: int = 0
    reason: str = ""


@dataclass(slots=True)
class _Batch:
    points: list[Point] = field(default_factory=list)
    size_bytes: int = 0


class Ingest:
    """One request is digested at a time, in `executor`, which must have one thread."""

    def __init__(
        self,
        store: Appender,
        digestion: Digestion,
        executor: Executor,
        clock: Clock,
        settings: IngestSettings,
    ) -> None:
        self._store = store
        self._digestion = digestion
        self._executor = executor
        self._clock = clock
        self._settings = settings
        self._open = _Batch()
        self._waiting: deque[_Batch] = deque()
        self._pending_bytes = 0
        self._is_failing = False
        self._shown = digestion.census

    async def take(self, arrived: Arrived) -> Receipt:
        """Digest a request. OverloadedError if too much waits already."""
        if self._pending_bytes + arrived.size_bytes > self._settings.bytes_max and self._pending_bytes:
            self._count({Drop.SHED: arrived.count()})
            raise OverloadedError(
                "the metrics service cannot keep up: send this again later",
                reason="INGEST_FULL",
                retry_after_s=RETRY_AFTER_S,
            )
        self._pending_bytes += arrived.size_bytes
        # Goes on if the sender leaves: what it digests is stored, and counted as waiting until then.
        digesting = asyncio.get_running_loop().run_in_executor(self._executor, self._digest, arrived)
        drops = await asyncio.shield(digesting)
        self._count(drops)
        rejected = {drop: count for drop, count in drops.items() if drop not in AS_IT_SHOULD_BE}
        told = ", ".join(f"{drop}: {count}" for drop, count in rejected.items())
        return Receipt(rejected_count=sum(rejected.values()), reason=told)

    def forget(self, forgotten: Sequence[Series]) -> None:
        """Make room for other series: the store has these no more."""
        self._executor.submit(self._digestion.forget_series, tuple(forgotten))

    async def run(self) -> None:
        """Store what came, again and again."""
        try:
            while True:
                await self._clock.sleep(self._settings.flush_s)
                await self.flush()
        finally:
            # What was taken is stored, even when the process ends.
            await asyncio.shield(self.flush())

    async def flush(self) -> None:
        """Store what has come so far; what cannot be stored now waits for the next time."""
        loop = asyncio.get_running_loop()
        batch = await loop.run_in_executor(self._executor, self._closed)
        if batch.size_bytes:
            self._waiting.append(batch)
        try:
            while self._waiting:
                await self._stored(self._waiting[0])
                self._pending_bytes -= self._waiting.popleft().size_bytes
        except UnavailableError as error:
            if not self._is_failing:
                _log.warning(names.METRICS_STORE_FAILED, extra={"reason": error.reason})
            self._is_failing = True
        else:
            self._is_failing = False
        metrics.gauge(names.METRICS_INGEST_WAITING).set(self._pending_bytes)
        self._show(self._digestion.census)

    async def _stored(self, batch: _Batch) -> None:
        points = batch.points
        while points:
            part = points[: self._settings.batch_points_max]
            await self._store.append(part)
            metrics.counter(names.METRICS_POINTS_STORED).inc(len(part))
            del points[: len(part)]

    def _digest(self, arrived: Arrived) -> Counter[Drop]:
        digest = self._digestion.digested(arrived.samples, self._now_ms())
        self._open.points.extend(digest.points)
        self._open.size_bytes += arrived.size_bytes
        return digest.drops

    def _closed(self) -> _Batch:
        closed, self._open = self._open, _Batch()
        self._digestion.forget(self._now_ms() - round(self._settings.stream_idle_s * 1000))
        return closed

    def _show(self, census: Census) -> None:
        metrics.gauge(names.METRICS_STREAMS).set(census.streams)
        metrics.gauge(names.METRICS_SERIES).set(census.series)
        metrics.gauge(names.METRICS_SERIES_MAX).set(census.series_max)
        metrics.counter(names.METRICS_POINTS_FOLDED).inc(census.folded - self._shown.folded)
        metrics.counter(names.METRICS_LABELS_DROPPED).inc(census.labels_dropped - self._shown.labels_dropped)
        self._shown = census

    def _now_ms(self) -> int:
        return round(self._clock.now().timestamp() * 1000)

    def _count(self, drops: dict[Drop, int]) -> None:
        for drop, count in drops.items():
            metrics.counter(names.METRICS_POINTS_DROPPED).labels(reason=drop.value).inc(count)
