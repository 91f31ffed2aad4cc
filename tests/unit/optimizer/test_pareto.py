"""The Pareto front and the order of variants."""

from hypothesis import given
from hypothesis import strategies as st

from servemesh.optimizer.domain import pareto
from servemesh.optimizer.domain.pareto import Point
from servemesh.optimizer.domain.results import Interval, SpeedReport, VariantReport

figures = st.sampled_from([0.0, 0.5, 1.0, 2.0, float("inf")])
points = st.lists(
    st.builds(Point, metric_loss=figures, size_bytes=st.integers(0, 4), slowness=figures), max_size=12
)


def a_variant(
    name: str,
    *,
    speedup: float,
    size: float = 1.0,
    loss: float = 0.0,
    noise: float = 0.01,
    accepted: bool = True,
) -> VariantReport:
    figure = Interval(value=speedup, low=speedup - noise, high=speedup + noise)
    return VariantReport(
        sha256=name,
        accepted=accepted,
        size_bytes=int(size * 1000),
        size_ratio=size,
        metric_loss=Interval(value=loss, low=loss, high=loss),
        speeds=(SpeedReport(batch_size=1, run_ms=figure, speedup=figure),),
    )


@given(points)
def test_nobody_on_the_front_is_beaten_and_everybody_else_is_by_one_on_it(found: list[Point]):
    marks = pareto.front(found)
    on_front = [point for point, mark in zip(found, marks, strict=True) if mark]
    assert bool(on_front) == bool(found)
    for point, mark in zip(found, marks, strict=True):
        assert mark == (not any(pareto.dominates(other, point) for other in on_front))


@given(points, st.randoms(use_true_random=False))
def test_the_order_of_asking_changes_nothing(found: list[Point], random):
    shuffled = list(found)
    random.shuffle(shuffled)
    marks = dict(zip(found, pareto.front(found), strict=True))
    assert [marks[point] for point in shuffled] == pareto.front(shuffled)


@given(points)
def test_what_is_off_the_front_can_go_without_changing_it(found: list[Point]):
    on_front = [point for point, mark in zip(found, pareto.front(found), strict=True) if mark]
    assert all(pareto.front(on_front))


speeds = st.sampled_from([0.5, 0.9, 1.0, 1.1, 2.0])
variants = st.lists(
    st.builds(
        a_variant,
        st.sampled_from("abcdef"),
        speedup=speeds,
        size=st.sampled_from([0.25, 0.5, 1.0]),
        noise=st.sampled_from([0.01, 0.2]),
        accepted=st.booleans(),
    ),
    max_size=8,
)


@given(variants, st.randoms(use_true_random=False))
def test_the_order_of_variants_is_whole_and_does_not_depend_on_theirs(found: list[VariantReport], random):
    ordered = pareto.best_first(found)
    shuffled = list(found)
    random.shuffle(shuffled)
    assert pareto.best_first(shuffled) == ordered
    assert sorted(map(repr, ordered)) == sorted(map(repr, found))
    assert [each.accepted for each in ordered] == sorted((each.accepted for each in found), reverse=True)


def test_of_two_that_may_be_equally_fast_the_smaller_is_better():
    big, small = a_variant("a", speedup=1.52, noise=0.1), a_variant("b", speedup=1.5, size=0.3, noise=0.1)
    assert pareto.best_first([big, small]) == [small, big]


def test_what_is_as_fast_within_noise_covers_what_is_larger():
    small, large = (
        a_variant("a", speedup=1.03, size=0.5, noise=0.02),
        a_variant("b", speedup=1.04, noise=0.02),
    )
    assert pareto.covers(small, large)
    assert not pareto.covers(large, small)
    assert not pareto.covers(small, a_variant("c", speedup=1.2, noise=0.02))


def test_what_is_slower_than_the_original_comes_after_what_is_not():
    small, same = a_variant("a", speedup=0.8, size=0.1), a_variant("b", speedup=1.0, size=0.9)
    assert pareto.best_first([small, same]) == [same, small]
    assert pareto.is_slower(small)
    assert not pareto.is_slower(same)
