"""Records observations at the price of appending to a list; sorts them into buckets many at a time.

Both kinds of buckets are kept: the explicit ones that Prometheus' page shows, and base-2 exponential ones for OTLP,
whose quantiles can be merged over processes.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

SCALE = 4  # buckets 4.4 % wide
BUCKETS_MAX = 160  # that leave the process; coarser ones if more are needed
PENDING_MAX = 1024
_LOWEST, _HIGHEST = -30 << SCALE, 34 << SCALE  # a nanosecond to 500 years; what is beyond counts at the ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Exponential:
    """Counts of neighbouring buckets; bucket i holds what is over base^i and at most base^(i+1), base 2^(2^-scale)."""

    scale: int
    offset: int
    counts: list[int]
    zero_count: int  # also of what is below 0, where nothing should be


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Everything observed so far."""

    counts: list[int]
    """By explicit bucket; one more than there are bounds, of what was larger than all of them."""
    exponential: Exponential
    total: float

    @property
    def count(self) -> int:
        """How many observations there were."""
        return sum(self.counts)


class Recorder:
    """A distribution. Any thread may observe, any may ask."""

    __slots__ = ("_bounds", "_buckets", "_counts", "_lock", "_pending", "_total", "_unit", "_zeros")

    def __init__(self, bounds: tuple[float, ...], *, unit: float = 1.0) -> None:
        """`unit` is what one of what is observed makes of what is shown: 1e-9 where nanoseconds become seconds."""
        self._bounds = np.array(bounds, np.float64)
        self._unit = unit
        self._pending: list[float] = []
        self._lock = threading.Lock()
        self._counts = np.zeros(len(bounds) + 1, np.int64)
        self._buckets = np.zeros(_HIGHEST - _LOWEST, np.int64)
        self._zeros = 0
        self._total = 0.0

    def observe(self, value: float) -> None:
        """Count one observation."""
        pending = self._pending
        pending.append(value)
        if len(pending) >= PENDING_MAX:
            self._sort_in()

    def recorded(self) -> Recorded:
        """Return all observations."""
        self._sort_in()
        with self._lock:
            counts, buckets = self._counts.tolist(), self._buckets.copy()
            zeros, total = self._zeros, self._total
        return Recorded(counts=counts, exponential=_trimmed(buckets, zeros), total=total)

    def _sort_in(self) -> None:
        with self._lock:
            # Who observes meanwhile appends behind what is taken.
            taken = self._pending[:]
            if not taken:
                return
            del self._pending[: len(taken)]
            values = np.array(taken, np.float64) * self._unit
            places = np.searchsorted(self._bounds, values, side="left")
            self._counts += np.bincount(places, minlength=len(self._counts))
            self._total += float(values.sum())
            positive = values[values > 0]
            self._zeros += len(values) - len(positive)
            index = np.ceil(np.log2(positive) * (1 << SCALE)).astype(np.int64) - 1
            index = np.clip(index, _LOWEST, _HIGHEST - 1) - _LOWEST
            self._buckets += np.bincount(index, minlength=len(self._buckets))


def _trimmed(buckets: np.ndarray[tuple[int], np.dtype[np.int64]], zeros: int) -> Exponential:
    (used,) = np.nonzero(buckets)
    if not len(used):
        return Exponential(scale=SCALE, offset=0, counts=[], zero_count=zeros)
    first, last, scale = int(used[0]) + _LOWEST, int(used[-1]) + _LOWEST, SCALE
    counts = buckets[first - _LOWEST : last - _LOWEST + 1]
    while last - first >= BUCKETS_MAX:
        scale -= 1
        counts = np.bincount((np.arange(first, last + 1) >> 1) - (first >> 1), weights=counts).astype(
            np.int64
        )
        first, last = first >> 1, last >> 1
    return Exponential(scale=scale, offset=first, counts=counts.tolist(), zero_count=zeros)
