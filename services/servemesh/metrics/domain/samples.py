"""What a sender says, before the store's rules are applied: one data point of OpenTelemetry's."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from typing import NamedTuple

from servemesh.exponential import ExponentialHistogram
from servemesh.metrics.domain.points import Labels
from servemesh.metrics.domain.queries import Kind


class Flow(IntEnum):
    """How the points of a stream follow each other."""

    GAUGE = 1
    CUMULATIVE_COUNTER = 2
    DELTA_COUNTER = 3
    CUMULATIVE_UP_DOWN = 4
    DELTA_UP_DOWN = 5
    CUMULATIVE_HISTOGRAM = 6
    DELTA_HISTOGRAM = 7


KIND_OF = {
    Flow.GAUGE: Kind.GAUGE,
    Flow.CUMULATIVE_COUNTER: Kind.COUNTER,
    Flow.DELTA_COUNTER: Kind.COUNTER,
    Flow.CUMULATIVE_UP_DOWN: Kind.UP_DOWN_COUNTER,
    Flow.DELTA_UP_DOWN: Kind.UP_DOWN_COUNTER,
    Flow.CUMULATIVE_HISTOGRAM: Kind.HISTOGRAM,
    Flow.DELTA_HISTOGRAM: Kind.HISTOGRAM,
}


class Drop(StrEnum):
    """Why a point is not stored."""

    DUPLICATE = "duplicate"  # it came before
    BASELINE = "baseline"  # the first of a sum that began before anybody looked: growth is counted from it
    NO_VALUE = "no_value"  # the sender says that there is none
    LATE = "late"  # newer ones of its stream were stored already
    FUTURE = "future"
    ANCIENT = "ancient"
    NO_TIME = "no_time"
    NOT_FINITE = "not_finite"
    MALFORMED = "malformed"
    CONFLICT = "conflict"  # the metric is known with another kind or unit
    SUMMARY = "summary"  # quantiles that were computed elsewhere cannot be merged
    STREAMS = "streams"  # there are too many streams
    SHED = "shed"  # the queue was full


AS_IT_SHOULD_BE = frozenset({Drop.DUPLICATE, Drop.BASELINE, Drop.NO_VALUE})
"""Of these the sender is not told."""


class Source(NamedTuple):
    """Who sends, and what it says of itself."""

    labels: Labels
    scope: str


class Shape(NamedTuple):
    """A metric as a sender describes it."""

    name: str
    unit: str
    flow: Flow


class Sample(NamedTuple):
    """One data point; times in milliseconds since 1970, 0 where they were not sent."""

    source: Source
    shape: Shape
    attributes: Labels
    start_ms: int
    time_ms: int
    value: float | Explicit | ExponentialHistogram | Drop


@dataclass(frozen=True, slots=True)
class Explicit:
    """A histogram with explicit bounds, as OpenTelemetry has it; what is not known is NaN."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float = math.nan
    min: float = math.nan
    max: float = math.nan

    @property
    def count(self) -> int:
        """How many observations there are."""
        return sum(self.counts)

    def growth_since(self, earlier: Explicit) -> Explicit | None:
        """Return what was observed since; None if `earlier` is not a part of this one."""
        if self.bounds != earlier.bounds or len(self.counts) != len(earlier.counts):
            return None
        counts = tuple(now - then for now, then in zip(self.counts, earlier.counts, strict=True))
        if min(counts, default=0) < 0:
            return None
        return Explicit(self.bounds, counts, self.sum - earlier.sum)

    def exponential(self) -> ExponentialHistogram:
        """Return it as the store keeps it; without any bounds, as if all had been equal to the mean."""
        if self.bounds or not self.count:
            return ExponentialHistogram.of_bounds(
                self.bounds, self.counts, sum=self.sum, min=self.min, max=self.max
            )
        mean = self.sum / self.count
        least, greatest = (mean if math.isnan(edge) else edge for edge in (self.min, self.max))
        flat = ExponentialHistogram.of_bounds((), self.counts, sum=self.sum, min=least, max=greatest)
        return replace(flat, min=self.min, max=self.max)
