"""What jobs are asked to do, as checked values."""

from __future__ import annotations

from dataclasses import dataclass, field

from servemesh.optimizer.domain.results import PassStep


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLimits:
    """Bounds of one job: `time_s` is the wall clock of the whole job, the others are of one child process."""

    time_s: float
    memory_bytes: int
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementPlan:
    """How models are measured; empty and 0 mean the defaults of the contract."""

    metric: str = ""
    top_k: int = 5
    output: str = ""
    batch_sizes: tuple[int, ...] = (1, 8)
    threads: int = 0
    rounds: int = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What a Variant must keep and reach; None asks nothing."""

    metric_loss_max: float | None = None
    size_ratio_max: float | None = None
    speedup_min: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionSpec:
    """One conversion; `format` is empty for "found by content", else as in domain/sources.py."""

    source: str
    model: str
    format: str = ""
    dataset: str = ""
    tolerance: float = 1e-4
    opset: int = 0
    limits: JobLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizationSpec:
    """One optimization; both Versions are names, resolved when the job was created; no teacher means the source."""

    source_version: str
    recipe: str = ""
    steps: tuple[PassStep, ...] = ()
    dataset: str = ""
    gate: Gate = field(default_factory=lambda: Gate(metric_loss_max=0.01))
    measurement: MeasurementPlan = MeasurementPlan()
    alias: str = ""
    teacher_version: str = ""
    limits: JobLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSpec:
    """One evaluation; both Versions are resolved when the job is created, the baseline's may be empty."""

    version: str
    baseline_version: str = ""
    dataset: str = ""
    measurement: MeasurementPlan = MeasurementPlan()
    limits: JobLimits


JobSpec = ConversionSpec | OptimizationSpec | EvaluationSpec
