"""Buckets that grow by a constant factor: bucket i of a scale is over base^i and at most base^(i+1)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

FLOAT_MAX = math.ldexp(1 - 2**-53, 1024)


@dataclass(frozen=True, slots=True)
class Buckets:
    """Counts of neighbouring buckets; the first has the index `offset`. Neither end is empty."""

    offset: int = 0
    counts: tuple[int, ...] = ()

    @staticmethod
    def of(offset: int, counts: Sequence[int]) -> Buckets:
        """Leave out what is empty at both ends."""
        if counts and counts[0] and counts[-1]:
            return Buckets(offset, tuple(counts))
        begin, end = 0, len(counts)
        while begin < end and not counts[begin]:
            begin += 1
        while end > begin and not counts[end - 1]:
            end -= 1
        return Buckets(offset + begin, tuple(counts[begin:end])) if begin < end else EMPTY

    @staticmethod
    def of_counts(counts: Mapping[int, int]) -> Buckets:
        """Take counts by index."""
        if not counts:
            return EMPTY
        first = min(counts)
        row = [0] * (max(counts) - first + 1)
        for index, count in counts.items():
            row[index - first] = count
        return Buckets.of(first, row)

    @property
    def count(self) -> int:
        """How many observations there are."""
        return sum(self.counts)

    def coarser(self, halvings: int) -> Buckets:
        """Join 2^halvings neighbours each."""
        if halvings == 0 or not self.counts:
            return self
        first = self.offset >> halvings
        joined = [0] * (((self.offset + len(self.counts) - 1) >> halvings) - first + 1)
        for index, count in enumerate(self.counts, self.offset):
            joined[(index >> halvings) - first] += count
        return Buckets(first, tuple(joined))

    def minus(self, other: Buckets) -> Buckets | None:
        """Subtract counts; None if one of them would be negative."""
        if not other.counts:
            return self
        begin = other.offset - self.offset
        if begin < 0 or begin + len(other.counts) > len(self.counts):
            return None
        row = list(self.counts)
        for place, count in enumerate(other.counts, begin):
            row[place] -= count
        return None if min(row) < 0 else Buckets.of(self.offset, row)

    def from_threshold(self, scale: int, threshold: float) -> tuple[Buckets, int]:
        """Take away the buckets that begin below `threshold`; return the rest and what they held."""
        kept = [
            bound(index, scale) >= threshold for index in range(self.offset, self.offset + len(self.counts))
        ]
        taken = kept.index(True) if True in kept else len(kept)
        return Buckets.of(self.offset + taken, self.counts[taken:]), sum(self.counts[:taken])


EMPTY = Buckets()


def added(many: Iterable[Buckets]) -> Buckets:
    """Add the counts of many, bucket by bucket."""
    parts = [part for part in many if part.counts]
    if len(parts) < 2:
        return parts[0] if parts else EMPTY
    first = min(part.offset for part in parts)
    sums = [0] * (max(part.offset + len(part.counts) for part in parts) - first)
    for part in parts:
        for place, count in enumerate(part.counts, part.offset - first):
            sums[place] += count
    return Buckets(first, tuple(sums))


def bound(index: int, scale: int) -> float:
    """Return base^index, as near as a double can be."""
    power = math.ldexp(index, -scale)
    if power >= 1024:
        return FLOAT_MAX
    return math.exp2(power) if power > -1075 else 0.0


def index_of(size: float, scale: int) -> int:
    """Return the index of the bucket that holds a positive size."""
    mantissa, exponent = math.frexp(size)
    if mantissa == 0.5:  # a power of two lies exactly on a bound, whatever logarithms say
        return ((exponent - 1) << scale) - 1 if scale >= 0 else (exponent - 2) >> -scale
    if scale <= 0:
        return (exponent - 1) >> -scale
    return math.ceil(math.ldexp(math.log2(mantissa) + exponent, scale)) - 1


def spread(low: float, high: float, count: int, scale: int) -> dict[int, int]:
    """Return by index what falls into each bucket if `count` sizes lie evenly from `low`, 0 or more, to `high`."""
    if low >= high:
        return {index_of(high, scale): count}
    shares: dict[int, int] = {}
    index, below = index_of(high, scale), count
    while below:
        edge = bound(index, scale)
        under = min(below, math.floor(count * max(0.0, edge - low) / (high - low) + 0.5))
        if under < below:
            shares[index] = below - under
        index, below = index - 1, under
    return shares
