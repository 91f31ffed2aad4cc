"""What all senders together have counted since this process began to listen: what Prometheus asks for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from servemesh.exponential import ExponentialHistogram
from servemesh.metrics.domain.points import Point, Series
from servemesh.metrics.domain.queries import Kind

UNMERGED_MAX = 32
NOTHING = ExponentialHistogram()


@dataclass(slots=True)
class Total:
    """One series: the sum of what a counter grew by, all that a histogram observed, or the last value."""

    time_ms: int
    number: float = 0.0
    distribution: ExponentialHistogram = NOTHING
    _unmerged: list[ExponentialHistogram] = field(default_factory=list)

    def take(self, point: Point) -> None:
        """Add a point."""
        value = point.value
        if isinstance(value, ExponentialHistogram):
            self._unmerged.append(value)
            if len(self._unmerged) >= UNMERGED_MAX:
                self.merge()
        elif point.series.kind is Kind.COUNTER:
            self.number += value
        elif point.time_ms >= self.time_ms:
            self.number = value
        self.time_ms = max(self.time_ms, point.time_ms)

    def merge(self) -> None:
        """Bring the distribution up to date."""
        if self._unmerged:
            self.distribution = self.distribution.merged(self._unmerged)
            self._unmerged.clear()


class Totals:
    """All series of which something came lately."""

    def __init__(self) -> None:
        self._totals: dict[Series, Total] = {}

    def take(self, points: Iterable[Point]) -> None:
        """Add points."""
        for point in points:
            total = self._totals.get(point.series)
            if total is None:
                total = self._totals[point.series] = Total(point.time_ms)
            total.take(point)

    def families(self, since_ms: int) -> dict[tuple[str, Kind, str], list[tuple[Series, Total]]]:
        """Return by metric, kind and unit the series that had a point since then; the others are forgotten."""
        self._totals = {series: total for series, total in self._totals.items() if total.time_ms >= since_ms}
        found: dict[tuple[str, Kind, str], list[tuple[Series, Total]]] = {}
        for series, total in sorted(self._totals.items(), key=lambda item: (item[0].metric, item[0].labels)):
            total.merge()
            found.setdefault((series.metric, series.kind, series.unit), []).append((series, total))
        return found


def up_to(distribution: ExponentialHistogram, power: int) -> int:
    """Return how many observations are at most 2^power: exactly, because every bucket ends at or before it."""
    buckets, width = distribution.positive, 2.0**-distribution.scale
    under = sum(
        count for index, count in enumerate(buckets.counts, buckets.offset + 1) if index * width <= power
    )
    return distribution.zero_count + distribution.negative.count + under
