"""What can be asked of the store of measurements, and its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class Kind(StrEnum):
    """What a metric measures, as OpenTelemetry tells it."""

    GAUGE = "gauge"
    COUNTER = "counter"
    UP_DOWN_COUNTER = "up_down_counter"
    HISTOGRAM = "histogram"


class Measure(StrEnum):
    """What is made of the points of a step."""

    RATE = "rate"
    INCREASE = "increase"
    MEAN = "mean"
    MIN = "min"
    MAX = "max"
    LAST = "last"
    QUANTILE = "quantile"
    SUM_RATE = "sum_rate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A span of time in seconds since 1970, its end excluded."""

    begin_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One measure of one metric over time, a track for each combination of the labels of `group_by`."""

    metric: str
    measure: Measure
    window: Window
    step_s: float
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """A series is looked at if each of these labels has one of its values."""
    group_by: tuple[str, ...] = ()
    quantile: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One line of an answer; `values` has one float64 for each step, NaN where nothing was measured."""

    labels: Mapping[str, str]
    values: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Tracks by labels, their first step and the length of all."""

    begin_s: float
    step_s: float
    unit: str
    tracks: tuple[Track, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricInfo:
    """A metric in the store."""

    name: str
    kind: Kind
    unit: str
    labels: tuple[str, ...]
    series_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """Something that changed in the mesh. The same `annotation_id` is kept once."""

    annotation_id: str
    time_s: float
    kind: str
    resource: str
    text: str
