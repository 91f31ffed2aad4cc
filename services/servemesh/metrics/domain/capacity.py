"""How much one worker can do of each Version within its latency objective, and so how many workers are needed.

A worker's time is what models share. What a Version does in a second of run time is measured; how much of a worker's
time may be run time before calls wait too long is measured, too, where the objective has ever been missed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SAMPLES_MIN = 5
"""Steps in which a Version ran; fewer are no profile."""
_BUSY_MIN = 0.01
"""A step with less run time than this share says nothing of how fast a Version is."""
_LOADED_SHARE = 0.25
"""The busiest steps, which tell how fast it is when it matters: batches are larger then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """What one Version did on one kind of worker, step by step and worker by worker; NaN where unknown."""

    rows_per_s: Floats
    busy: Floats
    """Seconds of run time per second."""
    latency_s: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What one worker can do of one Version."""

    rows_per_run_s: float
    busy_max: float
    """The share of its time that may be run time within the objective."""

    @property
    def rows_per_worker(self) -> float:
        """Rows per second of one worker that does nothing else."""
        return self.rows_per_run_s * self.busy_max


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Rows per second of one Model from now on, step by step, and the workers that hold it."""

    model: str
    rows_per_worker: float
    now: float
    expected: Floats
    low: Floats
    high: Floats
    holders: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Workers that are needed; `peak` and the places in `exceeded` are steps."""

    now: int
    at_peak: int
    at_peak_low: int
    at_peak_high: int
    peak: int
    exceeded: Mapping[str, int | None]
    """By model: the first step whose demand is more than the workers that hold it can do."""


def profiled(samples: Samples, *, objective_s: float, busy_max: float) -> Profile | None:
    """Return what a worker can do; None while there is too little to tell.

    `busy_max` is the share of run time that is planned with where the objective was never missed.
    """
    ran = samples.busy >= _BUSY_MIN
    ran &= ~np.isnan(samples.rows_per_s)
    if ran.sum() < SAMPLES_MIN:
        return None
    rows, busy, latency = samples.rows_per_s[ran], samples.busy[ran], samples.latency_s[ran]
    loaded = busy >= np.quantile(busy, 1 - _LOADED_SHARE)
    return Profile(
        rows_per_run_s=float(rows[loaded].sum() / busy[loaded].sum()),
        busy_max=_within(busy, latency, objective_s, busy_max),
    )


def needed(demands: Sequence[Demand]) -> Need:
    """Return how many workers the demands need now, and at the peak of all of them together."""
    if not demands:
        return Need(now=0, at_peak=0, at_peak_low=0, at_peak_high=0, peak=0, exceeded={})
    expected = _workers(demands, "expected")
    peak = int(np.argmax(expected))
    now = _whole(sum(each.now / each.rows_per_worker for each in demands))
    return Need(
        now=now,
        at_peak=_whole(float(expected[peak])),
        at_peak_low=_whole(float(_workers(demands, "low")[peak])),
        at_peak_high=_whole(float(_workers(demands, "high")[peak])),
        peak=peak,
        exceeded=_exceeded(demands),
    )


def _within(busy: Floats, latency: Floats, objective_s: float, busy_max: float) -> float:
    """Return the share of run time up to which the objective is met.

    Steps are put in order of their run time; the limit is where those above it miss the objective more often than not.
    """
    known = ~np.isnan(latency)
    busy, missed = busy[known], latency[known] > objective_s
    if not missed.any():
        return busy_max
    order = np.argsort(busy)
    busy, missed = busy[order], missed[order]
    # For each place: what is missed from there on less what is met; the limit is where that is largest.
    balance = np.cumsum(np.where(missed, 1, -1)[::-1])[::-1]
    place = int(np.argmax(balance))
    if balance[place] <= 0:
        return busy_max
    below = busy[place - 1] if place else 0.5 * busy[0]
    return float(np.clip(below, _BUSY_MIN, busy_max))


def _workers(demands: Sequence[Demand], bound: str) -> Floats:
    loads = [getattr(each, bound) / each.rows_per_worker for each in demands]
    found: Floats = np.sum(loads, axis=0)
    return found


def _whole(workers: float) -> int:
    return max(1, math.ceil(workers - 1e-9))


def _exceeded(demands: Sequence[Demand]) -> dict[str, int | None]:
    """Return when the workers that hold a model have more to do than they can, all their models together."""
    workers = sorted({worker for each in demands for worker in each.holders})
    place = {worker: number for number, worker in enumerate(workers)}
    load = np.zeros((len(workers), len(demands[0].expected)))
    for each in demands:
        for worker in each.holders:
            load[place[worker]] += each.expected / (each.rows_per_worker * len(each.holders))
    found: dict[str, int | None] = {}
    for each in demands:
        if not each.holders:
            found[each.model] = None
            continue
        over = np.flatnonzero(load[[place[worker] for worker in each.holders]].mean(axis=0) > 1)
        found[each.model] = int(over[0]) if len(over) else None
    return found
