"""Exponential histograms: quantiles are near the true ones, however observations are split and merged."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servemesh.exponential import BUCKETS_MAX, ExponentialHistogram
from servemesh.exponential_buckets import Buckets, bound, index_of

sizes = st.floats(min_value=1e-6, max_value=1e6)
signed = st.one_of(sizes, sizes.map(lambda size: -size), st.just(0.0))
some = st.lists(signed, min_size=1, max_size=60)


def _true_quantile(values: list[float], share: float) -> float:
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


@given(sizes, st.integers(-10, 20))
def test_a_size_lies_over_the_lower_and_at_most_at_the_upper_bound_of_its_bucket(size: float, scale: int):
    index = index_of(size, scale)
    assert bound(index, scale) <= size * (1 + 1e-9)
    assert size <= bound(index + 1, scale) * (1 + 1e-9)


@given(st.integers(-1000, 1000), st.integers(-10, 20))
def test_a_power_of_two_is_the_upper_bound_of_its_bucket(power: int, scale: int):
    size = math.ldexp(1.0, power)
    assert index_of(size, scale) == math.ceil(power * math.ldexp(1.0, scale)) - 1


@given(st.lists(sizes, min_size=1, max_size=60), st.floats(0, 1))
def test_a_quantile_is_within_a_bucket_of_the_true_one(values: list[float], share: float):
    histogram = ExponentialHistogram.of(values)
    base = 2**2**-histogram.scale
    exact, quantile = _true_quantile(values, share), histogram.quantile(share)
    assert exact / base * (1 - 1e-9) <= quantile <= exact * base * (1 + 1e-9) or _is_neighbour(
        values, share, quantile, base
    )


def _is_neighbour(values: list[float], share: float, quantile: float, base: float) -> bool:
    """At the edge between two observations either is right, whichever way the rank is rounded."""
    place = round(share * len(values))
    ordered = sorted(values)
    near = ordered[max(0, place - 1) : place + 1]
    return any(value / base * (1 - 1e-9) <= quantile <= value * base * (1 + 1e-9) for value in near)


@given(some, some, some)
def test_merging_gives_the_same_in_any_order_and_as_if_all_had_been_observed_by_one(a, b, c):
    first, second, third = (ExponentialHistogram.of(values, scale=6) for values in (a, b, c))
    left = first.merged([second]).merged([third])
    right = third.merged([first, second])
    whole = ExponentialHistogram.of([*a, *b, *c], scale=6)
    for merged in (left, right):
        scale = min(merged.scale, whole.scale)
        assert merged.at_scale(scale).positive == whole.at_scale(scale).positive
        assert merged.at_scale(scale).negative == whole.at_scale(scale).negative
        assert (merged.zero_count, merged.min, merged.max) == (whole.zero_count, whole.min, whole.max)
        assert merged.sum == pytest.approx(whole.sum, abs=1e-6)


@given(some, some)
def test_no_side_has_more_buckets_than_it_may(a, b):
    merged = ExponentialHistogram.of(a).merged([ExponentialHistogram.of(b)])
    assert max(len(merged.positive.counts), len(merged.negative.counts)) <= BUCKETS_MAX
    assert merged.count == len(a) + len(b)


@given(some, some)
def test_growth_is_what_was_observed_since(a, b):
    earlier = ExponentialHistogram.of(a, scale=5)
    now = earlier.merged([ExponentialHistogram.of(b, scale=5)])
    growth = now.growth_since(earlier)
    assert growth is not None
    expected = ExponentialHistogram.of(b, scale=5).at_scale(growth.scale)
    assert growth.at_scale(expected.scale).positive == expected.positive
    assert growth.count == len(b)


def test_what_lacks_earlier_observations_began_anew():
    assert ExponentialHistogram.of([1.0]).growth_since(ExponentialHistogram.of([2.0])) is None
    assert ExponentialHistogram.of([1.0]).growth_since(ExponentialHistogram.of([1.0, 1.0])) is None
    assert ExponentialHistogram.of([0.0]).growth_since(ExponentialHistogram.of([0.0, 0.0])) is None


@given(st.lists(sizes, min_size=1, max_size=60), sizes)
def test_the_share_below_a_limit_is_within_a_bucket_of_the_true_one(values: list[float], limit: float):
    histogram = ExponentialHistogram.of(values)
    base = 2**2**-histogram.scale * (1 + 1e-9)
    least = sum(value * base <= limit for value in values) / len(values)
    most = sum(value / base <= limit for value in values) / len(values)
    assert least - 1e-9 <= histogram.share_below(limit) <= most + 1e-9


@given(some, st.floats(0, 1))
def test_a_quantile_lies_between_the_least_and_the_greatest(values: list[float], share: float):
    assert min(values) <= ExponentialHistogram.of(values).quantile(share) <= max(values)


def test_nothing_observed_has_no_quantile():
    assert math.isnan(ExponentialHistogram().quantile(0.5))
    assert math.isnan(ExponentialHistogram().share_below(1.0))
    assert ExponentialHistogram().merged([ExponentialHistogram()]).count == 0


def test_the_least_is_known_only_if_all_know_theirs():
    unknown = ExponentialHistogram(scale=0, positive=Buckets(0, (1,)), sum=1.5)
    merged = unknown.merged([ExponentialHistogram.of([4.0]), ExponentialHistogram()])
    assert math.isnan(merged.min)
    assert math.isnan(merged.max)


def test_a_larger_zero_threshold_takes_in_the_buckets_below_it():
    fine = ExponentialHistogram.of([0.001, 1.0])
    coarse = ExponentialHistogram(zero_count=3, zero_threshold=0.01)
    merged = fine.merged([coarse])
    assert (merged.zero_count, merged.positive.count, merged.zero_threshold) == (4, 1, 0.01)


def test_explicit_bounds_keep_their_counts_and_their_quantiles_within_a_bucket():
    histogram = ExponentialHistogram.of_bounds([0.1, 0.5, 1.0], [10, 40, 40, 10], sum=60.0)
    assert histogram.count == 100
    assert histogram.quantile(0.5) == pytest.approx(0.5, rel=0.05)
    assert histogram.quantile(0.1) == pytest.approx(0.1, rel=0.05)
    assert histogram.quantile(0.99) == pytest.approx(1.0, rel=0.05)
    assert histogram.share_below(0.5) == pytest.approx(0.5, abs=0.03)


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8, unique=True).map(sorted),
    st.data(),
)
def test_explicit_bounds_of_any_sign_lose_no_observation(bounds: list[float], data: st.DataObject):
    counts = data.draw(st.lists(st.integers(0, 10**6), min_size=len(bounds) + 1, max_size=len(bounds) + 1))
    histogram = ExponentialHistogram.of_bounds(bounds, counts)
    assert histogram.count == sum(counts)
    assert max(len(histogram.positive.counts), len(histogram.negative.counts)) <= BUCKETS_MAX


def test_the_known_least_and_greatest_narrow_explicit_buckets():
    histogram = ExponentialHistogram.of_bounds([1.0, 10.0], [0, 100, 0], sum=400.0, min=3.0, max=5.0)
    assert 3.0 <= histogram.quantile(0.01) < 3.2
    assert 4.8 < histogram.quantile(0.99) <= 5.0
