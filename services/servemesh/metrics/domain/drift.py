"""How far a feature has moved: population stability index, and Kolmogorov's and Smirnov's distance with its p-value."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from servemesh.exponential import ExponentialHistogram
from servemesh.metrics.domain.binning import Floats, binned

_BINS = 10
_EMPTY_SHARE = 0.0001
"""What an empty bin is taken to hold, so that the index stays finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDrift:
    """One feature; the fields are those of the API."""

    tensor: str
    feature: int
    psi: float
    ks: float
    p_value: float


def drifted(
    tensor: str, feature: int, now: ExponentialHistogram, reference: ExponentialHistogram
) -> FeatureDrift:
    """Compare the samples of a window with those of the reference; both must have some."""
    counts = binned([reference, now]).counts
    was, is_ = counts[0] / counts[0].sum(), counts[1] / counts[1].sum()
    ks = float(np.abs(np.cumsum(is_) - np.cumsum(was)).max())
    size = counts[0].sum() * counts[1].sum() / counts.sum()
    return FeatureDrift(
        tensor=tensor,
        feature=feature,
        psi=_stability(was, is_),
        ks=ks,
        p_value=float(special.kolmogorov(ks * (math.sqrt(size) + 0.12 + 0.11 / math.sqrt(size)))),
    )


def _stability(was: Floats, is_: Floats) -> float:
    """Return the index over bins that held about a tenth of the reference each."""
    place = np.minimum((np.cumsum(was) - was / 2) * _BINS, _BINS - 1).astype(int)
    before = np.maximum(np.bincount(place, was, _BINS), _EMPTY_SHARE)
    after = np.maximum(np.bincount(place, is_, _BINS), _EMPTY_SHARE)
    used = (before > _EMPTY_SHARE) | (after > _EMPTY_SHARE)
    return float(((after - before) * np.log(after / before))[used].sum())
