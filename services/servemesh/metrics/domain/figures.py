"""The figures of a subject over a window, from sums that can be added up; docs/metrics.md defines each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from servemesh.exponential import ExponentialHistogram

NAN = math.nan
Subject = tuple[str, ...]
"""The labels that tell a subject from others."""
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What an hour of one processor and of one GPU costs; None where nobody has said."""

    cpu_hour: float | None = None
    gpu_hour: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What happened to one subject. NaN where nothing was measured; adding takes what was."""

    answered: float = 0.0
    failed: float = 0.0
    refused: float = 0.0
    """Calls whose caller made the mistake, or left."""
    duration: ExponentialHistogram | None = None
    """Of answered calls."""
    queue_s: float = NAN
    rows: float = NAN
    runs: float = NAN
    run_s: float = NAN
    slot_s: float = NAN
    cpu_s: float = NAN
    gpu_s: float = NAN
    faults: float = NAN
    """Calls that met a fault of the mesh."""
    recovered: float = NAN
    """Those of them that were answered all the same."""

    @property
    def calls(self) -> float:
        """Calls that ended."""
        return self.answered + self.failed + self.refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Figures of one subject; NaN where nothing was measured. The fields are those of the API."""

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


def figures(subject: str, tally: Tally, *, window_s: float, prices: Prices) -> Figures:
    """Return the figures that `tally` gives over `window_s` seconds."""
    cpu_s_per_1000 = ratio(1000 * tally.cpu_s, tally.calls)
    gpu_s_per_1000 = ratio(1000 * tally.gpu_s, tally.calls)
    return Figures(
        subject=subject,
        call_count=round(tally.calls),
        call_rate=tally.calls / window_s,
        error_ratio=ratio(tally.failed, tally.calls),
        p50_s=_quantile(tally, 0.5),
        p95_s=_quantile(tally, 0.95),
        p99_s=_quantile(tally, 0.99),
        queue_share=ratio(tally.queue_s, tally.duration.sum if tally.duration else NAN),
        rows_per_run=ratio(tally.rows, tally.runs),
        busy_share=ratio(tally.run_s, tally.slot_s),
        utilisation=ratio(tally.answered, tally.calls),
        fault_tolerance=ratio(tally.recovered, tally.faults),
        cpu_s_per_1000=cpu_s_per_1000,
        gpu_s_per_1000=gpu_s_per_1000,
        cost_per_1000=_cost(cpu_s_per_1000, gpu_s_per_1000, prices),
    )


def added(tallies: Iterable[Tally]) -> Tally:
    """Return the sum."""
    found = list(tallies)
    durations = [tally.duration for tally in found if tally.duration is not None]
    return Tally(
        answered=sum(tally.answered for tally in found),
        failed=sum(tally.failed for tally in found),
        refused=sum(tally.refused for tally in found),
        duration=durations[0].merged(durations[1:]) if durations else None,
        queue_s=total(tally.queue_s for tally in found),
        rows=total(tally.rows for tally in found),
        runs=total(tally.runs for tally in found),
        run_s=total(tally.run_s for tally in found),
        slot_s=total(tally.slot_s for tally in found),
        cpu_s=total(tally.cpu_s for tally in found),
        gpu_s=total(tally.gpu_s for tally in found),
        faults=total(tally.faults for tally in found),
        recovered=total(tally.recovered for tally in found),
    )


def shared_out(
    used_s: Mapping[str, float], run_s: Mapping[tuple[Subject, str], float]
) -> dict[Subject, float]:
    """Return what each subject has used of what its workers used: as its share of each worker's run time.

    `used_s` is by worker, `run_s` by subject and worker. What a worker used without running anything is nobody's.
    """
    of_worker: dict[str, float] = {}
    for (_, worker), spent_s in run_s.items():
        of_worker[worker] = of_worker.get(worker, 0.0) + spent_s
    found: dict[Subject, float] = {}
    for (subject, worker), spent_s in run_s.items():
        if worker in used_s and of_worker[worker] > 0:
            found[subject] = found.get(subject, 0.0) + used_s[worker] * spent_s / of_worker[worker]
    return found


def ratio(part: float, whole: float) -> float:
    """Return part ÷ whole; NaN of nothing."""
    return part / whole if whole > 0 else NAN


def total(values: Iterable[float]) -> float:
    """Return the sum of what is known; NaN if nothing is."""
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) if known else NAN


def _quantile(tally: Tally, q: float) -> float:
    return tally.duration.quantile(q) if tally.duration is not None and tally.duration.count else NAN


def _cost(cpu_s: float, gpu_s: float, prices: Prices) -> float:
    """Return what the seconds cost; NaN if something was used whose price nobody has said."""
    if prices.cpu_hour is None or (prices.gpu_hour is None and gpu_s > 0):
        return NAN
    of_gpu = gpu_s * (prices.gpu_hour or 0.0) if gpu_s > 0 else 0.0
    return (cpu_s * prices.cpu_hour + of_gpu) / _HOUR_S
