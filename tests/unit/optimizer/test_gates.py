"""Variants are accepted or refused by the end of the interval that speaks against them."""

import pytest

from servemesh.optimizer.domain import gates
from servemesh.optimizer.domain.results import Interval, SpeedReport, VariantReport
from servemesh.optimizer.domain.specs import Gate


def an_interval(value: float, spread: float = 0.0) -> Interval:
    return Interval(value=value, low=value - spread, high=value + spread)


def a_variant(
    *, loss: float = 0.0, size: float = 0.5, speedup: float = 2.0, spread: float = 0.0
) -> VariantReport:
    speed = SpeedReport(batch_size=8, run_ms=an_interval(1.0), speedup=an_interval(speedup, spread))
    return VariantReport(size_ratio=size, metric_loss=an_interval(loss, spread), speeds=(speed,))


ALL = Gate(metric_loss_max=0.01, size_ratio_max=0.6, speedup_min=1.5)


def test_what_keeps_to_every_limit_is_accepted():
    assert gates.refusals(ALL, a_variant(loss=0.01, size=0.6, speedup=1.5)) == ()


def test_a_gate_that_asks_nothing_takes_anything():
    assert gates.refusals(Gate(), VariantReport()) == ()


@pytest.mark.parametrize(
    ("variant", "figure", "limit"),
    [
        (a_variant(loss=0.02), "0.02", "0.01"),
        (a_variant(loss=0.009, spread=0.002), "0.011", "0.01"),
        (a_variant(size=0.75), "0.75", "0.6"),
        (a_variant(speedup=1.2), "1.2", "1.5"),
        (a_variant(speedup=1.55, loss=-1, spread=0.1), "1.45", "1.5"),
    ],
)
def test_each_refusal_is_one_sentence_with_figure_and_limit(variant: VariantReport, figure: str, limit: str):
    (sentence,) = gates.refusals(ALL, variant)
    assert figure in sentence
    assert limit in sentence


def test_every_reason_is_told():
    assert len(gates.refusals(ALL, a_variant(loss=0.5, size=2.0, speedup=0.5))) == 3


def test_what_was_not_measured_is_refused_where_it_is_asked_for():
    assert len(gates.refusals(ALL, VariantReport(size_ratio=0.1))) == 2


def test_what_is_not_a_number_is_refused():
    nan = float("nan")
    assert len(gates.refusals(ALL, a_variant(loss=nan, speedup=nan))) == 2


def test_what_gains_nothing_is_told_so():
    assert gates.gainless(a_variant(size=1.0, speedup=1.01, spread=0.05))
    assert not gates.gainless(a_variant(size=1.0, speedup=1.2, spread=0.05))
    assert not gates.gainless(a_variant(size=0.5, speedup=0.7))
