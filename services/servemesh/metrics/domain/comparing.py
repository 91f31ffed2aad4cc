"""Whether two Versions differ over the same window: intervals and p-values that allow for calls that hang together.

Calls are not drawn one by one: those of one batch, one burst or one bad minute share a fate. So the window is cut
into blocks of time, and what is believed is how much the blocks scatter, not how many calls there were.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from servemesh.metrics.domain.binning import Binned, Floats, quantiles

BLOCKS_MIN = 8
"""Fewer blocks in which both Versions answered do not tell how much they scatter."""
RESAMPLES = 1000
CONFIDENCE = 0.95
_QUANTILES = {"p50_s": 0.5, "p95_s": 0.95, "p99_s": 0.99}
_EXPECTED_MIN = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One Version, block by block: arrays of the same length."""

    calls: Floats
    failed: Floats
    durations: Binned
    """Of answered calls, a row for each block; both sides have the same bins."""
    duration_s: Floats
    rows: Floats
    runs: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One measure of both, the difference (candidate minus baseline) with its 95 % interval."""

    measure: str
    baseline: float
    candidate: float
    low: float
    high: float
    p_value: float
    method: str

    @property
    def difference(self) -> float:
        """Candidate minus baseline."""
        return self.candidate - self.baseline


def compared(baseline: Side, candidate: Side, *, seed: int = 0) -> list[Comparison]:
    """Return every measure that both have; latencies only if both answered in enough blocks."""
    found = []
    if baseline.calls.sum() and candidate.calls.sum():
        found.append(errors_compared(baseline, candidate))
    shared = int(((_answered(baseline) > 0) & (_answered(candidate) > 0)).sum())
    if shared < BLOCKS_MIN:
        return found
    blocks = len(baseline.calls)
    once = np.ones((1, blocks))
    chance = np.random.default_rng(seed)
    weights = chance.multinomial(blocks, np.full(blocks, 1 / blocks), RESAMPLES).astype(np.float64)
    for measure, figure in _FIGURES.items():
        values = [float(figure(side, once)[0]) for side in (baseline, candidate)]
        if not any(math.isnan(value) for value in values):
            drawn = figure(candidate, weights) - figure(baseline, weights)
            found.append(_tested(measure, values, drawn, shared))
    return found


def errors_compared(baseline: Side, candidate: Side) -> Comparison:
    """Compare the shares of failed calls; each side counts as many calls as its blocks are worth."""
    shares, sizes = [], []
    for side in (baseline, candidate):
        calls = float(side.calls.sum())
        shares.append(float(side.failed.sum()) / calls)
        sizes.append(calls / _clumping(side.calls, side.failed))
    blocks = int(((baseline.calls > 0) | (candidate.calls > 0)).sum())
    clumped = sum(sizes) < float(baseline.calls.sum() + candidate.calls.sum())
    reach = _reach(blocks - 1) if clumped else float(special.ndtri((1 + CONFIDENCE) / 2))
    low, high = _newcombe(shares, sizes, reach)
    pooled = (shares[0] * sizes[0] + shares[1] * sizes[1]) / sum(sizes)
    if min(pooled, 1 - pooled) * min(sizes) < _EXPECTED_MIN:
        p_value, method = _fisher(shares, sizes), "Fisher's exact test"
    else:
        error = math.sqrt(pooled * (1 - pooled) * (1 / sizes[0] + 1 / sizes[1]))
        score = -abs(shares[1] - shares[0]) / error
        p_value = 2 * float(special.stdtr(blocks - 1, score) if clumped else special.ndtr(score))
        method = "two-proportion t, by blocks" if clumped else "two-proportion z"
    return Comparison(
        measure="error_ratio",
        baseline=shares[0],
        candidate=shares[1],
        low=low,
        high=high,
        p_value=p_value,
        method=method,
    )


def _tested(measure: str, values: Sequence[float], drawn: Floats, blocks: int) -> Comparison:
    known = drawn[~np.isnan(drawn)]
    error = float(known.std(ddof=1)) if len(known) > 1 else math.nan
    difference = values[1] - values[0]
    # Resampled blocks scatter a little less than blocks do.
    error *= math.sqrt(blocks / (blocks - 1))
    reach = _reach(blocks - 1) * error
    if error > 0:
        p_value = 2 * float(special.stdtr(blocks - 1, -abs(difference) / error))
    else:
        p_value = 1.0 if difference == 0 else 0.0
    return Comparison(
        measure=measure,
        baseline=values[0],
        candidate=values[1],
        low=difference - reach,
        high=difference + reach,
        p_value=p_value,
        method="block bootstrap t",
    )


def _reach(freedom: int) -> float:
    """Return how many standard errors an interval reaches to either side, by Student's t."""
    return float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2))


def _answered(side: Side) -> Floats:
    found: Floats = side.durations.counts.sum(axis=1)
    return found


def _quantile(share: float) -> Callable[[Side, Floats], Floats]:
    def of(side: Side, weights: Floats) -> Floats:
        bins = side.durations
        weighted: Floats = weights @ bins.counts
        return quantiles(weighted, bins.low, bins.high, share)

    return of


_FIGURES: dict[str, Callable[[Side, Floats], Floats]] = {
    "mean_s": lambda side, weights: _ratio(weights @ side.duration_s, weights @ _answered(side)),
    **{measure: _quantile(share) for measure, share in _QUANTILES.items()},
    "rows_per_run": lambda side, weights: _ratio(weights @ side.rows, weights @ side.runs),
}
"""By measure, what makes one value of a side for each row of weights of its blocks."""


def _clumping(calls: Floats, failed: Floats) -> float:
    """Return by how much the share scatters more than that of calls drawn one by one; 1 or more."""
    seen = calls > 0
    blocks, total = int(seen.sum()), float(calls.sum())
    share = float(failed.sum()) / total
    if blocks < 2 or share in (0.0, 1.0):
        return 1.0
    leftover = failed[seen] - share * calls[seen]
    variance = blocks / (blocks - 1) * float((leftover**2).sum()) / total**2
    return max(1.0, variance / (share * (1 - share) / total))


def _newcombe(shares: Sequence[float], sizes: Sequence[float], z: float) -> tuple[float, float]:
    """Return the interval of the second minus the first, from Wilson's of each (Newcombe's method 10)."""
    low, high = _wilson(shares[0], sizes[0], z)
    other_low, other_high = _wilson(shares[1], sizes[1], z)
    difference = shares[1] - shares[0]
    return (
        difference - math.hypot(shares[1] - other_low, high - shares[0]),
        difference + math.hypot(other_high - shares[1], shares[0] - low),
    )


def _wilson(share: float, size: float, z: float) -> tuple[float, float]:
    shrink = 1 + z * z / size
    middle = (share + z * z / (2 * size)) / shrink
    reach = z / shrink * math.sqrt(share * (1 - share) / size + z * z / (4 * size * size))
    return middle - reach, middle + reach


def _fisher(shares: Sequence[float], sizes: Sequence[float]) -> float:
    """Return the two-sided p-value of the table of failed and other calls, in whole calls."""
    totals = [max(1, round(size)) for size in sizes]
    failed = [min(total, round(share * total)) for share, total in zip(shares, totals, strict=True)]
    margin = sum(failed)
    of_candidate = np.arange(max(0, margin - totals[0]), min(margin, totals[1]) + 1)
    logs = (
        _log_choose(totals[1], of_candidate)
        + _log_choose(totals[0], margin - of_candidate)
        - _log_choose(sum(totals), np.array(margin))
    )
    seen = logs[failed[1] - of_candidate[0]]
    return min(1.0, float(np.exp(logs[logs <= seen + 1e-7]).sum()))


def _log_choose(count: int, chosen: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Floats:
    found: Floats = (
        special.gammaln(count + 1) - special.gammaln(chosen + 1) - special.gammaln(count - chosen + 1)
    )
    return found


def _ratio(part: Floats, whole: Floats) -> Floats:
    found: Floats = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return found
