"""Takes spans and keeps them for a while; what there is no room for is refused and counted."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from servemesh.errors import UnavailableError
from servemesh.lifecycle import Clock
from servemesh.metrics.domain.queries import Window
from servemesh.metrics.domain.spans import Order, Span
from servemesh.observe import metrics, names

_log = logging.getLogger(__name__)


class Traces(Protocol):
    """The spans that are kept."""

    async def trace(self, trace_id: str) -> tuple[Span, ...]:
        """Return the spans of one trace, in order of their begin."""
        ...

    async def spans(
        self, window: Window, *, failed: bool = False, order: Order = Order.SLOWEST, count_max: int = 100
    ) -> tuple[Span, ...]:
        """Return spans that began in the window; only those that failed if `failed`."""
        ...


class SpanStore(Protocol):
    """What keeps spans."""

    async def append_spans(self, spans: Sequence[Span]) -> None:
        """Store them. UnavailableError if that is not possible now."""
        ...

    async def trim_spans(self, before_ms: int, count_max: int) -> None:
        """Delete those that began earlier, and the oldest of those that are too many."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanSettings:
    """How many spans are kept, and how long."""

    waiting_max: int = 20_000
    flush_s: float = 2.0
    kept_max: int = 200_000
    kept_s: float = 86_400.0
    labels_kept: frozenset[str] = frozenset()


class SpanIntake:
    """Waits with what came until the next flush. Spans are not worth a retry: what cannot be stored is lost."""

    def __init__(self, store: SpanStore, clock: Clock, settings: SpanSettings) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._waiting: list[Span] = []

    def take(self, spans: Iterable[Span | None]) -> int:
        """Keep spans; return how many were refused. None is one that is malformed."""
        kept = self._settings.labels_kept
        refused_count = 0
        for span in spans:
            if span is None or len(self._waiting) >= self._settings.waiting_max:
                refused_count += 1
                continue
            labels = tuple((label, value) for label, value in span.labels if label in kept)
            self._waiting.append(replace(span, labels=labels))
        if refused_count:
            metrics.counter(names.METRICS_SPANS_DROPPED).inc(refused_count)
        return refused_count

    async def run(self) -> None:
        """Store what came, again and again."""
        while True:
            await self._clock.sleep(self._settings.flush_s)
            await self.flush()

    async def flush(self) -> None:
        """Store what has come, and delete what is old or too much."""
        taken, self._waiting = self._waiting, []
        before_ms = round((self._clock.now().timestamp() - self._settings.kept_s) * 1000)
        try:
            if taken:
                await self._store.append_spans(taken)
                metrics.counter(names.METRICS_SPANS_STORED).inc(len(taken))
                await self._store.trim_spans(before_ms, self._settings.kept_max)
        except UnavailableError as error:
            _log.warning(names.METRICS_STORE_FAILED, extra={"reason": error.reason})
            metrics.counter(names.METRICS_SPANS_DROPPED).inc(len(taken))
