"""What jobs find: parity, variants and their figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A figure with its interval of confidence."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedReport:
    """Latency at one batch size; `speedup` is paired by round with the baseline."""

    batch_size: int
    run_ms: Interval
    speedup: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class PassStep:
    """One step of a recipe: a pass with parameters."""

    pass_id: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantReport:
    """One model, measured. `version` is empty unless it is registered; `steps` is empty for the baseline."""

    version: str = ""
    steps: tuple[PassStep, ...] = ()
    sha256: str = ""
    accepted: bool = False
    refusals: tuple[str, ...] = ()
    pareto: bool = False
    size_bytes: int = 0
    size_ratio: float = 1.0
    sparsity: float = 0.0
    metric: Interval | None = None
    metric_loss: Interval | None = None
    metric_loss_chance: float | None = None  # of one as far from 0, if it were as good as the baseline
    speeds: tuple[SpeedReport, ...] = ()
    cold_load_s: Interval | None = None
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """The machine that measured."""

    processor: str = ""
    processor_count: int = 0
    memory_bytes: int = 0
    accelerators: tuple[str, ...] = ()
    provider: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizationResult:
    """What an Optimization or an Evaluation found: the baseline and every variant, best first."""

    baseline: VariantReport | None = None
    variants: tuple[VariantReport, ...] = ()
    hardware: Hardware = Hardware()
    libraries: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityReport:
    """How near a converted Version is to its source; `generated` says that no dataset gave the rows."""

    row_count: int
    generated: bool
    max_abs: float
    max_rel: float
    argmax_agreement: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionResult:
    """A converted Version with its proof. `version` is empty until it is registered; `files` are digests by path."""

    version: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    format: str
    parity: ParityReport
    warnings: tuple[str, ...] = ()
    libraries: Mapping[str, str] = field(default_factory=dict)


JobResult = ConversionResult | OptimizationResult
