"""What the metrics service hands back of what was measured: plain values, all times in UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricInfo:
    """A metric in the store. `kind` is GAUGE, COUNTER, UP_DOWN_COUNTER or HISTOGRAM."""

    metric: str
    kind: str
    unit: str
    labels: tuple[str, ...]
    series_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One line: a value for each step, NaN where nothing was measured."""

    labels: Mapping[str, str]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One measure of a metric: steps of `step_s` from `begin_time` on, a track for each combination of labels."""

    metric: str
    measure: str
    unit: str
    begin_time: datetime
    step_s: float
    tracks: tuple[Track, ...]

    @property
    def times(self) -> tuple[datetime, ...]:
        """When each step begins."""
        count = max((len(track.values) for track in self.tracks), default=0)
        return tuple(self.begin_time + timedelta(seconds=self.step_s * index) for index in range(count))


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """Something that changed in the mesh; `kind` is `deployment.updated`, `worker.left` and the like."""

    time: datetime
    kind: str
    resource: str
    text: str
