"""Anomalies: what is odd is found, and noise is not."""

import numpy as np
import pytest

from servemesh.errors import ConflictError, MissingError
from servemesh.metrics.domain.anomalies import STEPS_MIN, odd_latencies, odd_rates, odd_shares
from servemesh.metrics.domain.queries import Window
from servemesh.metrics.service.anomalies import Anomalies
from tests.harness.measured import BEGIN_S, measured, worked

DAY_STEPS = 288
STEP_S = 300.0


def daily(days: int, level: float = 100.0) -> np.ndarray:
    hours = np.arange(days * DAY_STEPS) * STEP_S / 3600
    return level * (1 + 0.7 * np.sin(2 * np.pi * hours / 24))


@pytest.mark.parametrize("kind", ["poisson", "season", "bursts", "wandering", "rare"])
def test_noise_alone_alarms_less_than_once_in_twenty_days(kind: str):
    alarms, days, rounds = 0, 7, 12
    steps = days * DAY_STEPS
    for seed in range(rounds):
        chance = np.random.default_rng(seed)
        if kind == "poisson":
            counts = chance.poisson(100, steps)
        elif kind == "season":
            counts = chance.poisson(daily(days))
        elif kind == "bursts":
            counts = chance.poisson(100 * chance.gamma(2, 0.5, steps))
        elif kind == "wandering":
            walk = np.zeros(steps)
            for at in range(1, steps):
                walk[at] = 0.9 * walk[at - 1] + chance.normal(0, 0.1)
            counts = chance.poisson(daily(days) * np.exp(walk))
        else:
            counts = chance.poisson(0.3, steps)
        calls = counts.astype(np.float64)
        failed = chance.binomial(counts, 0.01).astype(np.float64)
        latencies = 0.02 * np.exp(chance.normal(0, 0.2, steps))
        last = steps - DAY_STEPS
        alarms += len(odd_rates(calls, step_s=STEP_S, judged_from=last))
        alarms += len(odd_shares(failed, calls, step_s=STEP_S, judged_from=last))
        alarms += len(odd_latencies(latencies, step_s=STEP_S, judged_from=last))
    assert alarms <= rounds * 3 / 20


def test_a_jump_of_traffic_is_one_anomaly_with_what_was_expected():
    counts = np.random.default_rng(0).poisson(daily(7, 400)).astype(np.float64)
    counts[-60:-40] *= 2
    (found,) = odd_rates(counts, step_s=STEP_S, judged_from=6 * DAY_STEPS)
    assert found.begin == pytest.approx(len(counts) - 60, abs=1)
    assert found.end == pytest.approx(len(counts) - 40, abs=1)
    assert found.value == pytest.approx(2 * found.expected, rel=0.2)


def test_traffic_that_stops_is_an_anomaly():
    counts = np.random.default_rng(1).poisson(daily(7, 400)).astype(np.float64)
    counts[-10:] = 0
    (found,) = odd_rates(counts, step_s=STEP_S, judged_from=6 * DAY_STEPS)
    assert found.value == 0
    assert found.expected > 0


def test_a_single_odd_step_is_none():
    counts = np.random.default_rng(2).poisson(400, 7 * DAY_STEPS).astype(np.float64)
    counts[-20 : -20 + STEPS_MIN - 1] *= 3
    assert odd_rates(counts, step_s=STEP_S, judged_from=6 * DAY_STEPS) == []


def test_the_morning_of_every_day_is_none_once_days_are_known():
    counts = np.tile(np.r_[np.full(200, 10.0), np.full(88, 1000.0)], 6)
    noisy = np.random.default_rng(3).poisson(counts).astype(np.float64)
    assert odd_rates(noisy, step_s=STEP_S, judged_from=5 * DAY_STEPS) == []


def test_errors_and_latency_alarm_only_when_they_rise():
    chance = np.random.default_rng(4)
    calls = np.full(2 * DAY_STEPS, 200.0)
    failed = chance.binomial(200, 0.05, len(calls)).astype(np.float64)
    failed[-5:] = 60
    failed[-30:-20] = 0
    assert [
        each.value > each.expected for each in odd_shares(failed, calls, step_s=STEP_S, judged_from=0)
    ] == [True]
    seconds = 0.02 * np.exp(chance.normal(0, 0.1, len(calls)))
    seconds[-5:] *= 3
    seconds[-30:-20] /= 3
    (slow,) = odd_latencies(seconds, step_s=STEP_S, judged_from=0)
    assert slow.value == pytest.approx(3 * slow.expected, rel=0.5)


async def test_anomalies_are_listed_from_the_store_by_model_and_time():
    chance = np.random.default_rng(6)
    points = [
        worked(
            BEGIN_S + 60 * minute + 5,
            answered=[0.2 if minute >= 80 and model == "slow" else 0.01] * int(chance.poisson(40)),
            model=model,
        )
        for minute in range(90)
        for model in ("steady", "slow")
    ]
    window = Window(begin_s=BEGIN_S + 60 * 60, end_s=BEGIN_S + 60 * 90)
    async with measured(*points) as store:
        anomalies = Anomalies(store)
        (found,) = await anomalies.list(window)
        assert (found.model, found.measure) == ("slow", "p95_s")
        assert found.window == Window(begin_s=BEGIN_S + 60 * 80, end_s=BEGIN_S + 60 * 90)
        assert found.value == pytest.approx(0.2, rel=0.05)
        assert await anomalies.list(window, "steady") == []


async def test_a_model_that_is_unknown_or_young_says_so():
    window = Window(begin_s=BEGIN_S, end_s=BEGIN_S + 600)
    async with measured(worked(BEGIN_S + 5, answered=[0.01])) as store:
        with pytest.raises(MissingError, match="no call of models/other was ever measured"):
            await Anomalies(store).list(window, "other")
        with pytest.raises(ConflictError, match=r"needs 31 min of history, there is \d+ s: ask again later"):
            await Anomalies(store).list(window, "digits")
        assert await Anomalies(store).list(window) == []
