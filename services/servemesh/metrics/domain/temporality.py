"""Turns what senders count into what grew, stream by stream, as OpenTelemetry's data model says."""

from __future__ import annotations

from dataclasses import dataclass

from servemesh.exponential import ExponentialHistogram
from servemesh.metrics.domain.points import Series
from servemesh.metrics.domain.samples import Drop, Explicit, Flow

Value = float | Explicit | ExponentialHistogram
REMEMBERED_MAX = 4
"""Ends of intervals remembered of a stream of growth: one that comes again is a duplicate, however late."""


@dataclass(slots=True)
class Stream:
    """What is remembered of the points of one sender for one series."""

    series: Series
    flow: Flow
    start_ms: int = 0
    last_ms: int = 0
    value: Value | None = None
    ends_ms: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Which times are believed."""

    future_ms: int = 60_000
    ancient_ms: int = 6 * 3_600_000


def mistimed(time_ms: int, now_ms: int, bounds: Bounds) -> Drop | None:
    """Return what is wrong with the time of a point."""
    if now_ms - bounds.ancient_ms <= time_ms <= now_ms + bounds.future_ms:
        return None
    if not time_ms:
        return Drop.NO_TIME
    return Drop.FUTURE if time_ms > now_ms else Drop.ANCIENT


def taken(stream: Stream, start_ms: int, time_ms: int, value: Value, watched_ms: int) -> Value | Drop:
    """Return what there is to store of a point, and remember what the next ones need.

    `watched_ms` says since when somebody has listened: a sum that began later is new in full, of one that began
    earlier only the growth is.
    """
    flow = stream.flow
    if flow is Flow.GAUGE or flow is Flow.CUMULATIVE_UP_DOWN:
        return _as_it_is(stream, time_ms, value)
    if flow is Flow.CUMULATIVE_COUNTER or flow is Flow.CUMULATIVE_HISTOGRAM:
        return _grown(stream, start_ms, time_ms, value, watched_ms)
    growth = _once(stream, time_ms, value)
    if flow is Flow.DELTA_UP_DOWN and isinstance(growth, float):
        before = stream.value if isinstance(stream.value, float) else 0.0
        stream.value = before + growth
        return stream.value
    return growth


def _as_it_is(stream: Stream, time_ms: int, value: Value) -> Value | Drop:
    if time_ms == stream.last_ms:
        return Drop.DUPLICATE
    if time_ms > stream.last_ms:
        stream.last_ms = time_ms
    return value


def _once(stream: Stream, time_ms: int, value: Value) -> Value | Drop:
    """Growth is additive, so its order does not matter; that it is counted once does."""
    ends = stream.ends_ms
    if time_ms in ends:
        return Drop.DUPLICATE
    if time_ms < stream.last_ms and len(ends) == REMEMBERED_MAX and time_ms < min(ends):
        return Drop.LATE
    stream.ends_ms = (time_ms, *ends[: REMEMBERED_MAX - 1])
    stream.last_ms = max(stream.last_ms, time_ms)
    return value


def _grown(stream: Stream, start_ms: int, time_ms: int, value: Value, watched_ms: int) -> Value | Drop:
    if time_ms == stream.last_ms:
        return Drop.DUPLICATE
    if time_ms < stream.last_ms or (start_ms and start_ms < stream.start_ms):
        return Drop.LATE
    before, started_ms = stream.value, stream.start_ms
    stream.start_ms, stream.last_ms, stream.value = start_ms, time_ms, value
    if before is None:
        return value if start_ms >= watched_ms else Drop.BASELINE
    if start_ms > started_ms and started_ms:
        return value  # it began anew, and said so
    growth = _difference(value, before)
    return value if growth is None else growth


def _difference(now: Value, before: Value) -> Value | None:
    """Return what grew; None if this is less than before: it began anew without saying so."""
    if isinstance(now, float) and isinstance(before, float):
        return now - before if now >= before else None
    if isinstance(now, Explicit) and isinstance(before, Explicit):
        return now.growth_since(before)
    if isinstance(now, ExponentialHistogram) and isinstance(before, ExponentialHistogram):
        return now.growth_since(before)
    return None
