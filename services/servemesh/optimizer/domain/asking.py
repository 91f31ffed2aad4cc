"""What may be asked for: limits and plans with their defaults, and errors that say what is wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from servemesh.errors import InvalidError, OverloadedError
from servemesh.optimizer.domain.specs import Gate, JobLimits, MeasurementPlan

BATCH_SIZES_MAX = 8
BATCH_ROWS_MAX = 4_096
ROUNDS_MIN, ROUNDS_MAX, ROUNDS_DEFAULT = 5, 100, 15
TOP_K_DEFAULT = 5
THREADS_MAX = 1_024
TOLERANCE_DEFAULT = 1e-4
BATCH_SIZES_DEFAULT = (1, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much of everything the optimizer takes; `job` is both what a job gets and the most it may ask for."""

    job: JobLimits
    jobs_open_max: int = 1_000
    datasets_max: int = 1_000
    watchers_max: int = 256


def checked_limits(asked: JobLimits, most: JobLimits, field: str) -> JobLimits:
    """The limits of a job: 0 means the most; InvalidError for more than that or less than nothing."""
    for name in ("time_s", "memory_bytes", "threads"):
        value, largest = getattr(asked, name), getattr(most, name)
        if not 0 <= value <= largest:
            raise out_of_range(f"{field}.{name.removesuffix('_s')}", f"0 to {largest}", value)
    return JobLimits(
        time_s=asked.time_s or most.time_s,
        memory_bytes=asked.memory_bytes or most.memory_bytes,
        threads=asked.threads or most.threads,
    )


def checked_plan(asked: MeasurementPlan, field: str) -> MeasurementPlan:
    """The plan with its defaults filled in; InvalidError for what cannot be measured."""
    if len(asked.batch_sizes) > BATCH_SIZES_MAX or len(set(asked.batch_sizes)) < len(asked.batch_sizes):
        expected = f"at most {BATCH_SIZES_MAX} different sizes"
        raise out_of_range(f"{field}.batch_sizes", expected, list(asked.batch_sizes))
    for size in asked.batch_sizes:
        if not 1 <= size <= BATCH_ROWS_MAX:
            raise out_of_range(f"{field}.batch_sizes", f"sizes from 1 to {BATCH_ROWS_MAX}", size)
    rounds = asked.rounds or ROUNDS_DEFAULT
    if not ROUNDS_MIN <= rounds <= ROUNDS_MAX:
        raise out_of_range(f"{field}.rounds", f"0, or {ROUNDS_MIN} to {ROUNDS_MAX}", rounds)
    if asked.top_k < 0:
        raise out_of_range(f"{field}.top_k", "0 or more", asked.top_k)
    if not 0 <= asked.threads <= THREADS_MAX:
        raise out_of_range(f"{field}.threads", f"0 to {THREADS_MAX}", asked.threads)
    return MeasurementPlan(
        metric=asked.metric,
        top_k=asked.top_k or TOP_K_DEFAULT,
        output=asked.output,
        batch_sizes=asked.batch_sizes or BATCH_SIZES_DEFAULT,
        threads=asked.threads,
        rounds=rounds,
    )


def checked_tolerance(asked: float) -> float:
    """The tolerance of a conversion's check; 0 means the default."""
    if not (math.isfinite(asked) and asked >= 0):
        raise out_of_range("conversion.tolerance", "0 or more", asked)
    return asked or TOLERANCE_DEFAULT


def checked_gate(asked: Gate) -> Gate:
    """The gate of an optimization; InvalidError for figures that are none, or below nothing."""
    for name in ("metric_loss_max", "size_ratio_max", "speedup_min"):
        value = getattr(asked, name)
        if value is not None and not (math.isfinite(value) and (value >= 0 or name == "metric_loss_max")):
            raise out_of_range(f"optimization.gate.{name}", "a number, 0 or more", value)
    return asked


def check_room(count: int, most: int, what: str, reason: str) -> None:
    """OverloadedError if there are as many as there may be."""
    if count >= most:
        raise OverloadedError(
            f"there are {count} {what}, the most that this optimizer keeps",
            reason=reason,
            retry_after_s=60.0,
            limit=most,
        )


def out_of_range(field: str, expected: str, got: object) -> InvalidError:
    """The error for a value that is not taken."""
    shown: Sequence[object] | object = got if not isinstance(got, str) else got[:100]
    return InvalidError(
        f"{field} is {shown}, expected {expected}",
        reason="OUT_OF_RANGE",
        field=field,
        expected=expected,
        got=shown,
    )
