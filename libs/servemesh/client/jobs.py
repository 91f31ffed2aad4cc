"""What the optimizer hands back: datasets, jobs and their results; plain values, all times in UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Files that were given to the optimizer; `source` is their sha256, by which they are named."""

    source: str
    size_bytes: int
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Shares of a dataset's rows in per cent, at most 100 together, drawn once by `seed`."""

    calibrate_percent: int = 10
    train_percent: int = 70
    evaluate_percent: int = 20
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: OIP datatype and the shape of one row, () for a scalar. A label is an answer, not an input."""

    name: str
    datatype: str
    row_shape: tuple[int, ...]
    label: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Rows of named columns. `format` is NPZ, PARQUET, CSV or ARRAYS."""

    dataset: str
    source: str
    format: str
    columns: tuple[Column, ...]
    row_count: int
    size_bytes: int
    split: Split
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JobError:
    """Why a job failed; `field` is the pass, node, column or parameter that it is about, or empty."""

    reason: str
    message: str
    field: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """How long work stands. `state` is QUEUED, RUNNING, SUCCEEDED, FAILED or CANCELLED."""

    name: str
    """`conversions/ID`, `optimizations/ID` or `evaluations/ID`."""
    state: str
    progress_percent: float
    step: str
    error: JobError | None
    epoch: int
    create_time: datetime
    start_time: datetime | None
    end_time: datetime | None

    @property
    def is_ended(self) -> bool:
        """Whether it will change no more."""
        return self.state in ENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of a job's log."""

    time: datetime
    epoch: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A figure with its 95 % interval of confidence."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How near two models are on the same rows; differences over all outputs, agreement 0 to 1."""

    row_count: int
    generated: bool
    max_abs: float
    max_rel: float
    argmax_agreement: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A pass with its parameters; those that are left out have their defaults."""

    pass_id: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Latency at one batch size; `speedup` is the baseline's time ÷ this one's."""

    batch_size: int
    run_ms: Interval
    speedup: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One measured model. What was not measured is None."""

    model: str
    version: int | None
    """The Version, or None if it was not accepted and so not registered."""
    steps: tuple[Step, ...]
    sha256: str
    accepted: bool
    refusals: tuple[str, ...]
    pareto: bool
    size_bytes: int
    size_ratio: float
    sparsity: float
    metric: Interval | None
    metric_loss: Interval | None
    metric_loss_chance: float | None
    """Of a loss as far from 0, if it were as good as the baseline: below 0.05 it is hardly chance."""
    speeds: tuple[Speed, ...]
    cold_load_s: Interval | None
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """The machine that measured."""

    processor: str
    processor_count: int
    memory_bytes: int
    accelerators: tuple[str, ...]
    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """The baseline, if there is one, and every variant, best first, measured in one run."""

    baseline: Variant | None
    variants: tuple[Variant, ...]
    hardware: Hardware
    libraries: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionResult:
    """A converted Version with its proof."""

    model: str
    version: int | None
    format: str
    parity: Parity
    warnings: tuple[str, ...]
    libraries: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """A conversion to ONNX; `result` is None until it has succeeded."""

    name: str
    model: str
    source: str
    dataset: str
    job: Job
    result: ConversionResult | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimization:
    """A search for smaller or faster variants; `result` grows while it runs and is kept when it fails."""

    name: str
    model: str
    version: int
    recipe: str
    steps: tuple[Step, ...]
    dataset: str
    alias: str
    job: Job
    result: Measurements | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A Version measured on a dataset, alone or beside another."""

    name: str
    model: str
    version: int
    baseline: str
    """MODEL@VERSION of what it is compared to, or empty."""
    dataset: str
    job: Job
    result: Measurements | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter of a pass; `default` is a value as JSON has it."""

    name: str
    description: str
    type: str
    default: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """Something that the optimizer can do to a model."""

    pass_id: str
    description: str
    origin: str
    parameters: tuple[Parameter, ...]
    calibrates: bool
    trains: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A named sequence of passes."""

    recipe: str
    description: str
    steps: tuple[Step, ...]


AnyJob = Conversion | Optimization | Evaluation
