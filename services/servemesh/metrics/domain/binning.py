"""Histograms on common bins, as arrays to reckon with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servemesh.exponential import ExponentialHistogram

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Binned:
    """Counts of several histograms (a row each) in the same bins (a column each, in rising order)."""

    low: Floats
    high: Floats
    counts: Floats


def binned(histograms: Sequence[ExponentialHistogram]) -> Binned:
    """Return the histograms on the bins of all of them merged; empty bins are left out."""
    whole = ExponentialHistogram().merged(histograms)
    spans = list(whole.spans())
    column = {low: place for place, (low, _, _) in enumerate(spans)}
    counts = np.zeros((len(histograms), len(spans)))
    for row, histogram in enumerate(histograms):
        if histogram.count:
            level = histogram.at_scale(whole.scale).with_zero_threshold(whole.zero_threshold)
            for low, _, count in level.spans():
                counts[row, column[low]] = count
    return Binned(
        low=np.array([low for low, _, _ in spans]),
        high=np.array([high for _, high, _ in spans]),
        counts=counts,
    )


def quantiles(counts: Floats, low: Floats, high: Floats, share: float) -> Floats:
    """Return the quantile of each row of counts, evenly between the ends of its bin; NaN of an empty row."""
    if not counts.shape[1]:
        return np.full(len(counts), np.nan)
    cumulative = np.cumsum(counts, axis=1)
    total = cumulative[:, -1]
    wanted = share * total
    at = np.minimum((cumulative < wanted[:, None]).sum(axis=1), counts.shape[1] - 1)
    rows = np.arange(len(counts))
    before = np.where(at > 0, cumulative[rows, at - 1], 0.0)
    inside = counts[rows, at]
    part = np.divide(wanted - before, inside, out=np.zeros(len(counts)), where=inside > 0)
    return np.where(total > 0, low[at] + np.clip(part, 0, 1) * (high[at] - low[at]), np.nan)
