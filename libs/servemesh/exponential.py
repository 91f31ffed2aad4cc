"""Distributions as base-2 exponential histograms: quantiles of merged ones are as right as those of one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from servemesh.exponential_buckets import EMPTY, Buckets, added, bound, index_of, spread

BUCKETS_MAX = 160
SCALE_MIN, SCALE_MAX = -10, 20
SCALE_OF_BOUNDS = 4  # 16 buckets from one power of two to the next: what explicit bounds are turned into


@dataclass(frozen=True, slots=True, kw_only=True)
class ExponentialHistogram:
    """How often each size was observed, as OpenTelemetry's data model has it.

    Bucket i holds what is over base^i and at most base^(i+1), where base is 2^(2^-scale). `negative` has the
    sizes of negative observations, `zero_count` what is at most `zero_threshold` from 0. `sum`, `min` and `max`
    are NaN where they are not known.
    """

    scale: int = SCALE_MAX
    zero_count: int = 0
    zero_threshold: float = 0.0
    positive: Buckets = EMPTY
    negative: Buckets = EMPTY
    sum: float = 0.0
    min: float = math.nan
    max: float = math.nan

    @staticmethod
    def of(values: Iterable[float], *, scale: int = SCALE_MAX) -> ExponentialHistogram:
        """Observe finite values, as finely as `scale` and the bound on buckets allow."""
        kept = sorted(values)
        if not kept:
            return ExponentialHistogram(scale=scale)
        sizes = [abs(value) for value in kept if value]
        if sizes:
            scale = _fitting(scale, index_of(min(sizes), scale), index_of(max(sizes), scale), BUCKETS_MAX)
        return ExponentialHistogram(
            scale=scale,
            zero_count=kept.count(0.0),
            positive=_observed((value for value in kept if value > 0), scale),
            negative=_observed((-value for value in kept if value < 0), scale),
            sum=math.fsum(kept),
            min=kept[0],
            max=kept[-1],
        )

    @staticmethod
    def of_bounds(
        bounds: Sequence[float],
        counts: Sequence[int],
        *,
        sum: float = math.nan,
        min: float = math.nan,
        max: float = math.nan,
    ) -> ExponentialHistogram:
        """Take over a histogram with explicit bounds; `counts` has one more, for what is over the last bound.

        Observations are taken to lie evenly between the bounds of their bucket, and between `min` and `max`. Where
        these are not known, those below the first bound begin at 0 (lie at it, if it is not positive), and those
        over the last lie at it.
        """
        positive: dict[int, int] = {}
        negative: dict[int, int] = {}
        zero_count = 0
        for place, count in enumerate(counts):
            if not count:
                continue
            low, high = _edges(bounds, place, min, max)
            under = count if high <= 0 else round(count * -low / (high - low)) if low < 0 else 0
            if low == high == 0:
                zero_count += count
                continue
            _add(negative, spread(-high if high < 0 else 0.0, -low, under, SCALE_OF_BOUNDS) if under else {})
            over = count - under
            _add(positive, spread(low if low > 0 else 0.0, high, over, SCALE_OF_BOUNDS) if over else {})
        return ExponentialHistogram(
            scale=SCALE_OF_BOUNDS,
            zero_count=zero_count,
            positive=Buckets.of_counts(positive),
            negative=Buckets.of_counts(negative),
            sum=sum,
            min=min,
            max=max,
        ).bounded()

    @property
    def count(self) -> int:
        """How many observations there are."""
        return self.zero_count + self.positive.count + self.negative.count

    def at_scale(self, scale: int) -> ExponentialHistogram:
        """Make it as coarse as `scale`; one that is coarser already stays as it is."""
        halvings = self.scale - scale
        if halvings <= 0:
            return self
        return replace(
            self,
            scale=scale,
            positive=self.positive.coarser(halvings),
            negative=self.negative.coarser(halvings),
        )

    def bounded(self, buckets_max: int = BUCKETS_MAX) -> ExponentialHistogram:
        """Make it as coarse as it takes for each side to have at most so many buckets."""
        return self.at_scale(
            min(
                _fitting(self.scale, side.offset, side.offset + len(side.counts) - 1, buckets_max)
                for side in (self.positive, self.negative)
            )
        )

    def merged(self, others: Iterable[ExponentialHistogram]) -> ExponentialHistogram:
        """Put observations together, at the scale of the coarsest, within the bound on buckets.

        The least and the greatest are known only if all that observed something know theirs.
        """
        parts = [part for part in (self, *others) if part.count]
        if not parts:
            return self
        scale = _common_scale(parts)
        threshold = max(part.zero_threshold for part in parts)
        level = [part.at_scale(scale).with_zero_threshold(threshold) for part in parts]
        return ExponentialHistogram(
            scale=scale,
            zero_count=sum(part.zero_count for part in level),
            zero_threshold=threshold,
            positive=added(part.positive for part in level),
            negative=added(part.negative for part in level),
            sum=math.fsum(part.sum for part in parts),
            min=_least(part.min for part in parts),
            max=-_least(-part.max for part in parts),
        )

    def with_zero_threshold(self, threshold: float) -> ExponentialHistogram:
        """Count as zero what lies in buckets that begin below a larger threshold."""
        if threshold <= self.zero_threshold:
            return self
        positive, low = self.positive.from_threshold(self.scale, threshold)
        negative, high = self.negative.from_threshold(self.scale, threshold)
        return replace(
            self,
            zero_threshold=threshold,
            zero_count=self.zero_count + low + high,
            positive=positive,
            negative=negative,
        )

    def growth_since(self, earlier: ExponentialHistogram) -> ExponentialHistogram | None:
        """Return what was observed since; None if `earlier` is not a part of this one: it began anew."""
        scale = min(self.scale, earlier.scale)
        threshold = max(self.zero_threshold, earlier.zero_threshold)
        now = self.at_scale(scale).with_zero_threshold(threshold)
        then = earlier.at_scale(scale).with_zero_threshold(threshold)
        positive, negative = now.positive.minus(then.positive), now.negative.minus(then.negative)
        if positive is None or negative is None or now.zero_count < then.zero_count:
            return None
        return ExponentialHistogram(
            scale=scale,
            zero_count=now.zero_count - then.zero_count,
            zero_threshold=threshold,
            positive=positive,
            negative=negative,
            sum=now.sum - then.sum,
        )

    def quantile(self, share: float) -> float:
        """Return the value that `share` of the observations do not exceed; NaN if there are none.

        It errs by at most half the width of a bucket: 2.2 % at scale 4.
        """
        rank, seen = share * self.count, 0
        if not self.count:
            return math.nan
        if share <= 0 and not math.isnan(self.min):
            return self.min
        value = 0.0
        for low, high, count in self.spans():
            value = _between(low, high, min(1.0, max(0.0, (rank - seen) / count)))
            seen += count
            if seen >= rank:
                break
        return _clamped(value, self.min, self.max)

    def share_below(self, limit: float) -> float:
        """Return the share of the observations that are at most `limit`, 0 to 1; NaN if there are none."""
        if not self.count:
            return math.nan
        if limit >= self.max:
            return 1.0
        if limit < self.min:
            return 0.0
        below = 0.0
        for low, high, count in self.spans():
            if high <= limit:
                below += count
            elif low < limit:
                below += count * _part(low, high, limit)
        return below / self.count

    def spans(self) -> Iterator[tuple[float, float, int]]:
        """Yield low, high and count of every bucket that has observations, from the least upwards."""
        negative = enumerate(self.negative.counts, self.negative.offset)
        for index, count in reversed(tuple(negative)):
            if count:
                yield -bound(index + 1, self.scale), -bound(index, self.scale), count
        if self.zero_count:
            yield -self.zero_threshold, self.zero_threshold, self.zero_count
        for index, count in enumerate(self.positive.counts, self.positive.offset):
            if count:
                yield bound(index, self.scale), bound(index + 1, self.scale), count


def _edges(bounds: Sequence[float], place: int, least: float, greatest: float) -> tuple[float, float]:
    """Return between what the observations of an explicit bucket lie."""
    low = bounds[place - 1] if place else -math.inf
    high = bounds[place] if place < len(bounds) else math.inf
    low = least if low < least else low
    high = greatest if high > greatest else high
    if math.isinf(low):
        low = min(0.0, high) if high > 0 else high
    if math.isinf(high):
        high = low
    return (low, high) if math.isfinite(low) and low <= high else (high, high)


def _add(counts: dict[int, int], more: dict[int, int]) -> None:
    for index, count in more.items():
        counts[index] = counts.get(index, 0) + count


def _fitting(scale: int, first: int, last: int, buckets_max: int) -> int:
    """Return the finest scale, from `scale` down, at which first to last are at most so many buckets."""
    while last - first >= buckets_max:
        scale, first, last = scale - 1, first >> 1, last >> 1
    return scale


def _common_scale(parts: Sequence[ExponentialHistogram]) -> int:
    """Return the finest scale at which all of them together have no more buckets than there may be."""
    scale = min(part.scale for part in parts)
    for sides in ([part.positive for part in parts], [part.negative for part in parts]):
        ranges = [
            (side.offset >> part.scale - scale, side.offset + len(side.counts) - 1 >> part.scale - scale)
            for part, side in zip(parts, sides, strict=True)
            if side.counts
        ]
        if ranges:
            first, last = min(low for low, _ in ranges), max(high for _, high in ranges)
            fitting = _fitting(scale, first, last, BUCKETS_MAX)
            parts, scale = [part.at_scale(fitting) for part in parts], fitting
    return scale


def _observed(values: Iterable[float], scale: int) -> Buckets:
    counts: dict[int, int] = {}
    for value in values:
        index = index_of(value, scale)
        counts[index] = counts.get(index, 0) + 1
    return Buckets.of_counts(counts)


def _least(values: Iterable[float]) -> float:
    """Return the least; NaN if one of them is."""
    known = tuple(values)
    return math.nan if any(map(math.isnan, known)) else min(known)


def _between(low: float, high: float, share: float) -> float:
    """Return the value `share` of the way, in steps of equal factors where there is no zero between."""
    if low > 0:
        return low * math.pow(high / low, share)
    if high < 0:
        return high * math.pow(low / high, 1 - share)
    return low + (high - low) * share


def _part(low: float, high: float, limit: float) -> float:
    """Return how far `limit` is on the way from `low` to `high`: what `_between` makes of it, backwards."""
    if low > 0:
        return math.log(limit / low) / math.log(high / low)
    if high < 0:
        return 1 - math.log(limit / high) / math.log(low / high)
    return (limit - low) / (high - low)


def _clamped(value: float, low: float, high: float) -> float:
    """Keep within what is known to be the least and the greatest."""
    return low if value < low else high if value > high else value
