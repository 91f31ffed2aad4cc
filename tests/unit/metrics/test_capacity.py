"""Capacity: profiles by what was measured, and the workers that demand needs."""

import numpy as np
import pytest

from servemesh.errors import ConflictError
from servemesh.metrics.domain.capacity import Demand, Samples, needed, profiled
from servemesh.metrics.domain.queries import Window
from servemesh.metrics.service.capacity import Capacity, Objectives
from servemesh.metrics.service.forecasting import Forecasts
from tests.harness.clock import START, SteppedClock
from tests.harness.forecasters import NaiveForecaster
from tests.harness.measured import measured, worked

OBJECTIVES = Objectives(latency_s=0.1, latency_s_of={}, busy_max=0.7)


def samples(busy: list[float], latency: list[float], rows_per_run_s: float = 100.0) -> Samples:
    return Samples(
        rows_per_s=np.array(busy) * rows_per_run_s, busy=np.array(busy), latency_s=np.array(latency)
    )


def a_demand(
    model: str, now: float, expected: list[float], *, rows_per_worker: float = 10.0, holders: str = "a"
) -> Demand:
    values = np.array(expected)
    return Demand(
        model=model,
        rows_per_worker=10.0,
        now=now,
        expected=values,
        low=0.8 * values,
        high=1.2 * values,
        holders=frozenset(holders),
    )


def test_a_worker_does_what_it_did_in_a_second_of_run_time_for_the_share_that_is_planned_with():
    profile = profiled(samples([0.2] * 10, [0.01] * 10), objective_s=0.1, busy_max=0.7)
    assert profile is not None
    assert profile.rows_per_worker == pytest.approx(70)


def test_where_the_objective_was_missed_less_is_planned_with():
    busy = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    latency = [0.01, 0.01, 0.02, 0.03, 0.2, 0.3, 0.5, 0.9]
    profile = profiled(samples(busy, latency), objective_s=0.1, busy_max=0.7)
    assert profile is not None
    assert profile.busy_max == pytest.approx(0.4)


def test_a_single_slow_minute_says_nothing_of_the_load_that_can_be_borne():
    busy = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    latency = [0.01, 0.5, 0.02, 0.03, 0.04, 0.05]
    profile = profiled(samples(busy, latency), objective_s=0.1, busy_max=0.7)
    assert profile is not None
    assert profile.busy_max == 0.7


def test_the_busiest_steps_say_how_fast_a_version_is_because_batches_are_larger_then():
    idle, loaded = samples([0.02] * 30, [0.01] * 30, 50.0), samples([0.6] * 12, [0.01] * 12, 200.0)
    both = Samples(
        rows_per_s=np.r_[idle.rows_per_s, loaded.rows_per_s],
        busy=np.r_[idle.busy, loaded.busy],
        latency_s=np.r_[idle.latency_s, loaded.latency_s],
    )
    profile = profiled(both, objective_s=0.1, busy_max=0.7)
    assert profile is not None
    assert profile.rows_per_run_s == pytest.approx(200)


def test_too_few_steps_are_no_profile():
    assert profiled(samples([0.5] * 4, [0.01] * 4), objective_s=0.1, busy_max=0.7) is None


def test_workers_are_needed_for_all_models_together_at_the_time_of_their_common_peak():
    need = needed([a_demand("day", 12.0, [5, 30, 5]), a_demand("night", 9.0, [25, 12, 25])])
    assert need.now == 3
    assert need.peak == 1
    assert (need.at_peak_low, need.at_peak, need.at_peak_high) == (4, 5, 6)


def test_a_model_exceeds_capacity_when_its_workers_have_more_to_do_than_they_can_others_included():
    grows = a_demand("grows", 5.0, [5, 13, 25], holders="ab")
    beside = a_demand("beside", 2.0, [6, 6, 6], holders="a")
    need = needed([grows, beside])
    assert need.exceeded == {"grows": 2, "beside": 1}
    assert needed([a_demand("alone", 1.0, [5, 15, 19], holders="ab")]).exceeded == {"alone": None}


def test_nobody_is_sent_away_altogether():
    assert needed([a_demand("idle", 0.0, [0, 0])]).now == 1


def capacity(store, clock, workers: int = 2) -> Capacity:
    async def count(window: Window) -> int:
        return workers

    forecasts = Forecasts(store, NaiveForecaster(), clock, kept_max=8)
    return Capacity(store, forecasts, count, clock, OBJECTIVES)


async def test_what_is_needed_now_is_known_before_there_is_history_for_a_forecast():
    start_s = START.timestamp()
    points = [
        worked(
            start_s - 300 + 15 * at + 1,
            answered=[0.02] * 60,
            failed=20 if 300 - 15 * at <= 60 else 0,
            runs=[10] * 150,
            run_s=[0.09] * 150,
            worker=worker,
        )
        for at in range(20)
        for worker in ("worker-1", "worker-2")
    ]
    async with measured(*points) as store:
        found = await capacity(store, SteppedClock()).get(900.0)
    (model,) = found.models
    # 1,500 rows in 13.5 s of run time, of which 70 % of a second is planned with.
    assert model.rows_per_worker == pytest.approx(0.7 * 1500 / 13.5, rel=0.01)
    # 200 rows/s ran; a quarter of the calls failed, and would have run, too.
    assert model.demand == pytest.approx(200 * 80 / 60, rel=0.01)
    assert found.need.now == found.need.at_peak == 4
    assert found.worker_count == 2
    assert model.exceeded_s == start_s


async def test_a_mesh_where_nothing_ran_has_no_profile_and_says_what_to_do():
    async with measured() as store:
        with pytest.raises(ConflictError, match="send calls for two minutes, then ask again"):
            await capacity(store, SteppedClock()).get(900.0)
