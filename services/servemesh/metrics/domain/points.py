"""What is stored: points of series. Counters and histograms as growth, all else as it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from servemesh.exponential import ExponentialHistogram
from servemesh.metrics.domain.queries import Kind

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one metric that carry the same labels, which are in order of their names."""

    metric: str
    kind: Kind
    unit: str
    labels: Labels
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Every point looks its series up more than once.
        object.__setattr__(self, "_hash", hash((self.metric, self.kind, self.unit, self.labels)))

    def __hash__(self) -> int:
        return self._hash

    @staticmethod
    def of(metric: str, kind: Kind, unit: str = "", **labels: str) -> Series:
        """Bring labels in order."""
        return Series(metric, kind, unit, tuple(sorted(labels.items())))


class Point(NamedTuple):
    """One measurement: what a counter grew by, what a histogram observed since the point before, or a value."""

    series: Series
    time_ms: int
    value: float | ExponentialHistogram
