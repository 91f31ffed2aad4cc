"""What the analysis hands back: plain values, all times in UTC; NaN where nothing was measured."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Figures of one subject over a window; docs/metrics.md defines each. `subject` is empty for the mesh."""

    subject: str
    call_count: int
    call_rate: float
    error_ratio: float
    p50_s: float
    p95_s: float
    p99_s: float
    queue_share: float
    rows_per_run: float
    busy_share: float
    utilisation: float
    fault_tolerance: float
    cpu_s_per_1000: float
    gpu_s_per_1000: float
    cost_per_1000: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The mesh and its subjects, by calls, largest first."""

    mesh: Figures
    subjects: tuple[Figures, ...]
    worker_count: int
    firing_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One measure of two Versions; `low` to `high` is the 95 % interval of `difference`."""

    measure: str
    baseline: float
    candidate: float
    difference: float
    low: float
    high: float
    p_value: float
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two Versions over the same window."""

    baseline: str
    candidate: str
    differences: tuple[Difference, ...]
    baseline_call_count: int
    candidate_call_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """A stretch of time in which a measure of a model was not what its season lets expect."""

    model: str
    measure: str
    begin_time: datetime
    end_time: datetime
    value: float
    expected: float
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDrift:
    """How far one feature has moved; `feature` is -1 for all of a tensor together."""

    tensor: str
    feature: int
    psi: float
    ks: float
    p_value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Features by psi, largest first, and the rows that were sampled."""

    features: tuple[FeatureDrift, ...]
    row_count: int
    reference_row_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastPoint:
    """Rows per second in one step, with the 90 % interval."""

    time: datetime
    expected: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Demand for a model; the errors are mean absolute ones of the backtest, in rows per second."""

    model: str
    points: tuple[ForecastPoint, ...]
    step_s: float
    method: str
    backtest_error: float
    naive_error: float
    history_begin_time: datetime
    history_end_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCapacity:
    """What one model needs, in rows per second; `exceeded_time` is None if the workers suffice."""

    model: str
    rows_per_worker: float
    demand: float
    peak_demand: float
    peak_time: datetime
    exceeded_time: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """Workers there are and workers needed, now and at the peak, with the 90 % interval of that."""

    worker_count: int
    needed_now: int
    needed_at_peak: int
    needed_at_peak_low: int
    needed_at_peak_high: int
    peak_time: datetime
    models: tuple[ModelCapacity, ...]
