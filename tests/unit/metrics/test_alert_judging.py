"""What rules make of measurements: thresholds with a way back, budgets, absence, trends and shortages."""

from __future__ import annotations

import math

import numpy as np
import pytest

from servemesh.metrics.domain.alerting.judging import Shortage, observations, questions
from servemesh.metrics.domain.alerting.rules import (
    Absence,
    BurnRate,
    BurnWindow,
    CapacityForecast,
    Rule,
    Shows,
    Signal,
    Threshold,
    Trend,
)
from servemesh.metrics.domain.queries import Annotation, Answer, Measure, Query, Track
from tests.harness.simulated_alerts import SIGNAL, a_rule

NOW_S = 1_700_000_000.0
CALLS = Signal(metric="servemesh.worker.calls", measure=Measure.INCREASE, window_s=0.0)
BUDGET = BurnRate(
    bad=CALLS,
    all=CALLS,
    objective=0.99,
    windows=(
        BurnWindow(long_s=3_600.0, short_s=300.0, factor=10.0),
        BurnWindow(long_s=7_200.0, short_s=900.0, factor=2.0),
    ),
    count_min=10.0,
)


def an_answer(query: Query, values: dict[str, list[float]], label: str = "model") -> Answer:
    tracks = [Track(labels={label: name}, values=np.array(line)) for name, line in values.items()]
    return Answer(begin_s=query.window.begin_s, step_s=query.step_s, unit="", tracks=tuple(tracks))


def seen(rule: Rule, *values: dict[str, list[float]], **more: object):  # type: ignore[no-untyped-def]
    """What the rule sees, by model, when its questions are answered so."""
    queries = questions(rule, NOW_S)
    label = rule.by[0]
    answers = [an_answer(query, each, label) for query, each in zip(queries, values, strict=True)]
    found = observations(rule, answers, NOW_S, **more)  # type: ignore[arg-type]
    return {each.labels[label]: each for each in found}


def test_between_the_limit_and_the_way_back_nothing_changes():
    found = seen(a_rule(), {"above": [1.2], "between": [0.8], "below": [0.2]})
    assert {name: (each.holds, each.is_over) for name, each in found.items()} == {
        "above": (True, False),
        "between": (False, False),
        "below": (False, True),
    }


def test_a_threshold_may_be_of_a_ratio_and_says_nothing_without_a_divisor():
    condition = Threshold(signal=SIGNAL, divisor=SIGNAL, is_above=True, limit=0.9, until=0.8)
    rule = a_rule(condition=condition, shows=Shows.PERCENT)
    found = seen(
        rule, {"full": [95.0], "nothing": [1.0], "unknown": [1.0]}, {"full": [100.0], "nothing": [0.0]}
    )
    assert found.keys() == {"full"}
    assert found["full"].holds
    assert found["full"].text == "full is at 95 %"


def test_a_threshold_says_nothing_of_too_few_calls():
    condition = Threshold(
        signal=SIGNAL, divisor=None, is_above=True, limit=1.0, until=1.0, count=SIGNAL, count_min=100.0
    )
    found = seen(a_rule(condition=condition), {"many": [2.0], "few": [2.0]}, {"many": [100.0], "few": [99.0]})
    assert found.keys() == {"many"}


def burning(bad: dict[float, float], total: float = 1_000.0) -> bool:
    """Whether a budget burns whose calls failed so over each span."""
    spans = [300.0, 900.0, 3_600.0, 7_200.0]
    answers = [values for span_s in spans for values in ({"m": [bad[span_s]]}, {"m": [total]})]
    return seen(a_rule(condition=BUDGET), *answers)["m"].holds


def test_a_budget_burns_when_the_long_and_the_short_window_say_so():
    assert burning({300.0: 110.0, 900.0: 0.0, 3_600.0: 110.0, 7_200.0: 0.0})


def test_a_budget_that_burnt_and_does_not_any_more_is_not_told_of():
    assert not burning({300.0: 0.0, 900.0: 0.0, 3_600.0: 500.0, 7_200.0: 500.0})


def test_a_short_burst_does_not_burn_a_budget():
    assert not burning({300.0: 500.0, 900.0: 500.0, 3_600.0: 15.0, 7_200.0: 15.0})


def test_the_slower_pair_of_windows_finds_what_the_faster_one_misses():
    assert burning({300.0: 30.0, 900.0: 30.0, 3_600.0: 30.0, 7_200.0: 30.0})


def test_a_budget_says_how_fast_it_burns_and_over_which_window():
    rule = a_rule(condition=BUDGET, text="$model burns $value over $span")
    answers = [values for _ in range(4) for values in ({"m": [150.0]}, {"m": [1_000.0]})]
    assert seen(rule, *answers)["m"].text == "m burns 15x over 2h"


def test_a_budget_of_hardly_any_calls_is_not_known():
    answers = [values for _ in range(4) for values in ({"m": [9.0]}, {"m": [9.0]})]
    assert seen(a_rule(condition=BUDGET), *answers) == {}


ABSENCE = Absence(signal=SIGNAL, lookback_s=600.0, resource="workers/$worker", unless=("worker.left",))
ABSENT = a_rule(by=("worker",), condition=ABSENCE, text="$worker: $value")


def test_who_was_measured_and_is_not_any_more_is_missed():
    found = seen(ABSENT, {"here": [1.0] * 10, "gone": [1.0] * 6 + [math.nan] * 4, "never": [math.nan] * 10})
    assert {name: each.holds for name, each in found.items()} == {"here": False, "gone": True}
    assert found["gone"].text == "gone: 4 min"


@pytest.mark.parametrize(("seconds_ago", "missed"), [(240.0, False), (590.0, True)])
def test_who_left_on_purpose_is_not_missed_unless_it_came_back_since(seconds_ago: float, missed: bool):
    left = Annotation(
        annotation_id="1",
        time_s=NOW_S - seconds_ago,
        kind="worker.left",
        resource="workers/gone",
        text="It left.",
    )
    found = seen(ABSENT, {"gone": [1.0] * 6 + [math.nan] * 4}, notes=[left])
    assert found["gone"].holds is missed


def test_nobody_is_missed_while_nobody_could_have_been_heard():
    assert seen(ABSENT, {"gone": [1.0] * 6 + [math.nan] * 4}, up_s=30.0) == {}


TREND = Trend(signal=SIGNAL, divisor=None, history_s=3_600.0, limit=100.0, at_least=50.0, within_s=3_600.0)
FILLING = a_rule(condition=TREND, text="$model is at $value and reaches $limit $left")


@pytest.mark.parametrize(
    ("line", "holds", "is_over"),
    [
        (np.linspace(40, 70, 30), True, False),  # 30 an hour: full in an hour
        (np.linspace(68, 70, 30), False, True),  # in fifteen hours
        (np.linspace(10, 40, 30), False, True),  # it is still nearly empty
        (np.linspace(90, 60, 30), False, True),  # it empties
        (np.r_[np.full(28, 60.0), 99.0, 60.0], False, True),  # one jump is no trend
        (np.full(30, 101.0), True, False),  # it is full
    ],
)
def test_a_trend_is_told_of_when_its_straight_line_reaches_the_limit_in_time(
    line: np.ndarray, holds: bool, is_over: bool
):
    found = seen(FILLING, {"disk": line.tolist()})["disk"]
    assert (found.holds, found.is_over) == (holds, is_over)


def test_a_trend_of_a_few_points_is_none():
    assert seen(FILLING, {"disk": [math.nan] * 26 + [10.0, 60.0, 80.0, 90.0]}) == {}


def test_a_shortage_is_told_of_when_it_is_near_enough():
    rule = a_rule(
        condition=CapacityForecast(within_s=3_600.0), text="$model lacks workers $left, at $value rows/s"
    )
    shortages = [
        Shortage(model="near", exceeded_s=NOW_S + 1_800, peak_demand=900.0),
        Shortage(model="far", exceeded_s=NOW_S + 9_000, peak_demand=900.0),
        Shortage(model="never", exceeded_s=math.inf, peak_demand=1.0),
    ]
    found = seen(rule, shortages=shortages)
    assert {name: (each.holds, each.is_over) for name, each in found.items()} == {
        "near": (True, False),
        "far": (False, True),
        "never": (False, True),
    }
    assert found["near"].text == "near lacks workers in 30 min, at 900 rows/s"
