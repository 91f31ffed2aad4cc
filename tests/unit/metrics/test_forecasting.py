"""Forecasts: the method that the backtest prefers, with intervals as wide as it asks for."""

import numpy as np
import pytest

from servemesh.errors import ConflictError, InvalidError, MissingError, UnavailableError
from servemesh.metrics.adapters import forecaster
from servemesh.metrics.adapters.forecaster import ChildForecaster
from servemesh.metrics.domain.forecasting import (
    NAIVE,
    Projection,
    chosen,
    first_steps,
    grid,
    seasonal_naive,
    usable_seasons,
    without_gaps,
)
from servemesh.metrics.domain.queries import Window
from servemesh.metrics.service.forecasting import Forecasts, History
from tests.harness.clock import START, SteppedClock
from tests.harness.forecasters import NaiveForecaster
from tests.harness.measured import measured, worked

DAY_S = 86_400.0


def daily(hours: int, noise: float = 3.0, seed: int = 0) -> np.ndarray:
    time = np.arange(hours)
    return 50 + 30 * np.sin(2 * np.pi * time / 24) + np.random.default_rng(seed).normal(0, noise, hours)


def perfect(history: np.ndarray, steps: int) -> Projection:
    """Know the season, but not the noise."""
    time = np.arange(len(history), len(history) + steps)
    expected = 50 + 30 * np.sin(2 * np.pi * time / 24)
    return Projection(expected=expected, low=expected - 1, high=expected + 1)


def hopeless(history: np.ndarray, steps: int) -> Projection:
    expected = np.full(steps, 1e6)
    return Projection(expected=expected, low=expected, high=expected)


def test_seasonal_naive_repeats_the_last_season_and_is_less_sure_of_each_further_one():
    said = seasonal_naive(24)(daily(240), 48)
    assert said.expected[:24] == pytest.approx(daily(240)[-24:])
    assert said.expected[24:] == pytest.approx(daily(240)[-24:])
    assert said.high[30] - said.expected[30] == pytest.approx(np.sqrt(2) * (said.high[3] - said.expected[3]))


def test_the_method_with_the_least_error_in_the_backtest_is_used():
    found = chosen(daily(400), 24, seasonal_naive(24), {"better": perfect, "worse": hopeless}, first_steps=48)
    assert found.method == "better"
    assert found.backtest_error < found.naive_error


def test_a_method_that_does_not_beat_seasonal_naive_is_not_used():
    found = chosen(daily(400), 24, seasonal_naive(24), {"worse": hopeless}, first_steps=48)
    assert found.method == NAIVE
    assert found.backtest_error == found.naive_error


def test_a_method_that_has_no_time_left_is_not_used():
    found = chosen(
        daily(400), 24, seasonal_naive(24), {"better": perfect}, first_steps=48, has_time=lambda: False
    )
    assert found.method == NAIVE


def test_intervals_that_are_too_narrow_are_widened_until_they_hold_what_comes():
    held = []
    for seed in range(40):
        whole = daily(24 * 15, seed=seed)
        found = chosen(whole[:-24], 24, seasonal_naive(24), {"sure": perfect}, first_steps=48)
        assert found.method == "sure"
        said = found.projection
        held.append(np.mean((said.low <= whole[-24:]) & (whole[-24:] <= said.high)))
    assert np.mean(held) == pytest.approx(0.9, abs=0.04)


def test_demand_is_never_expected_to_be_negative():
    found = chosen(np.r_[np.zeros(200), 1.0], 24, seasonal_naive(24), {}, first_steps=48)
    assert found.projection.low.min() == 0


def test_gaps_are_filled_from_the_day_before_and_too_many_of_them_are_no_history():
    values = np.arange(60.0)
    values[[0, 1, 30]] = np.nan
    filled = without_gaps(values, (24, 168))
    assert len(filled) == 58
    assert filled[28] == 30 - 24
    assert len(without_gaps(np.r_[1.0, np.full(99, np.nan)], (24, 168))) == 0


def test_short_horizons_have_short_steps_and_seasons_must_have_been_seen_twice():
    assert grid(3600).step_s == 300
    assert grid(DAY_S).step_s == 3600
    assert usable_seasons(24 * 14, 24, (24, 168)) == (24,)
    assert usable_seasons(24 * 15, 24, (24, 168)) == (24, 168)
    assert first_steps((24,), 24) == 48


def hourly(hours: int, model: str = "digits") -> list[list]:
    """Give what ran in the hours before the clock's start: 100 rows/s by day, 10 by night; silent where nothing ran."""
    start_s = START.timestamp()
    return [
        worked(
            start_s - 3600 * back + 60,
            answered=[0.01],
            runs=[(100 if (hours - back) % 24 >= 12 else 10) * 360] * 10,
            model=model,
        )
        for back in range(hours, 0, -1)
    ]


async def test_a_forecast_is_made_from_the_rows_that_ran_and_kept_until_the_next_step():
    clock, forecaster = SteppedClock(), NaiveForecaster()
    async with measured(*hourly(96)) as store:
        forecasts = Forecasts(store, forecaster, clock, kept_max=8)
        found = await forecasts.get("digits", DAY_S)
        again = await forecasts.get("digits", DAY_S)
        await clock.advance(3600)
        await forecasts.get("digits", DAY_S)
    assert again is found
    assert forecaster.asked == 2
    assert (found.begin_s, found.step_s) == (START.timestamp(), 3600)
    assert len(found.forecast.projection.expected) == 24
    assert found.forecast.projection.expected[:12] == pytest.approx(10)
    assert found.forecast.projection.expected[12:] == pytest.approx(100)
    assert found.history == Window(begin_s=START.timestamp() - 96 * 3600, end_s=START.timestamp())


async def test_too_little_history_says_how_much_is_missing():
    async with measured(*hourly(20)) as store:
        forecasts = Forecasts(store, NaiveForecaster(), SteppedClock(), kept_max=8)
        with pytest.raises(ConflictError, match=r"24.0 h ahead needs 3.0 days of history, there is 20.0 h"):
            await forecasts.get("digits", DAY_S)
        with pytest.raises(MissingError, match="no call of models/other was ever measured"):
            await forecasts.get("other", DAY_S)
        with pytest.raises(InvalidError, match="expected 15 minutes to 14 days"):
            await forecasts.get("digits", 60.0)


async def test_where_no_process_can_be_started_there_is_no_forecast(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(forecaster, "_COMMAND", ("/no/such/program",))
    history = History(values=daily(24 * 10), steps=24, seasons=(24,))
    with pytest.raises(UnavailableError) as refused:
        await ChildForecaster(time_s=20.0).forecast([history])
    assert refused.value.reason == "FORECAST_FAILED"


async def test_the_child_process_chooses_a_method_that_beats_seasonal_naive_on_a_noisy_day():
    history = History(values=daily(24 * 10, noise=6.0), steps=24, seasons=(24,))
    (found,) = await ChildForecaster(time_s=20.0).forecast([history])
    assert found.method in ("mstl", "auto_ets")
    assert found.backtest_error < found.naive_error
    assert len(found.projection.expected) == 24
    assert (found.projection.low <= found.projection.expected).all()
