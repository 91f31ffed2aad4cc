"""The analysis on the wire: what is asked is checked, and what is found arrives."""

import math

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from servemesh.api.metrics.v1 import metrics_pb2 as pb
from servemesh.errors import ConflictError, InvalidError
from servemesh.metrics.adapters.duck_store import DuckStore
from servemesh.metrics.api.analysis import AnalysisApi
from servemesh.metrics.domain.figures import Prices
from servemesh.metrics.service.anomalies import Anomalies
from servemesh.metrics.service.capacity import Capacity, Objectives
from servemesh.metrics.service.comparing import VersionComparison
from servemesh.metrics.service.drift import Drifts
from servemesh.metrics.service.forecasting import Forecasts
from servemesh.metrics.service.overview import Overview
from tests.harness.clock import START, SteppedClock
from tests.harness.forecasters import NaiveForecaster
from tests.harness.measured import measured, worked

NOW_S = START.timestamp()


async def two_fire() -> int:
    return 2


def an_api(store: DuckStore) -> AnalysisApi:
    clock = SteppedClock()
    overview = Overview(store, two_fire, Prices())
    forecasts = Forecasts(store, NaiveForecaster(), clock, kept_max=8)
    objectives = Objectives(latency_s=0.1, latency_s_of={}, busy_max=0.7)
    return AnalysisApi(
        overview,
        VersionComparison(store),
        Anomalies(store),
        Drifts(store),
        forecasts,
        Capacity(store, forecasts, overview.worker_count, clock, objectives),
        clock,
    )


def last_hour() -> pb.Window:
    return pb.Window(start_time=Timestamp(seconds=round(NOW_S) - 3600))


def hourly() -> list:
    return [
        worked(NOW_S - 3600 * back + 60, answered=[0.01] * 10, runs=[3600] * 10, run_s=[30.0])
        for back in range(80, 0, -1)
    ]


async def test_an_overview_has_the_mesh_its_subjects_and_the_alerts_that_fire():
    async with measured(*hourly()) as store:
        found = await an_api(store).GetOverview(pb.GetOverviewRequest(window=last_hour()), None)
    assert found.mesh.call_count == 10
    assert found.firing_count == 2
    assert [each.subject for each in found.subjects] == ["models/digits"]
    assert math.isnan(found.subjects[0].fault_tolerance)


async def test_a_forecast_arrives_with_its_steps_its_method_and_both_errors():
    async with measured(*hourly()) as store:
        request = pb.GetForecastRequest(model="models/digits", horizon=Duration(seconds=86_400))
        found = await an_api(store).GetForecast(request, None)
    assert len(found.points) == 24
    assert found.step.seconds == 3600
    assert found.points[0].time.seconds == round(NOW_S)
    assert found.points[0].expected == pytest.approx(10)
    assert (found.method, found.backtest_error) == ("seasonal_naive", found.naive_error)


async def test_what_is_asked_wrongly_is_refused_with_the_field():
    async with measured() as store:
        api = an_api(store)
        with pytest.raises(InvalidError, match="start_time is missing"):
            await api.GetOverview(pb.GetOverviewRequest(), None)
        backwards = pb.Window(start_time=Timestamp(seconds=20), end_time=Timestamp(seconds=10))
        with pytest.raises(InvalidError, match="let start_time be before end_time"):
            await api.ListAnomalies(pb.ListAnomaliesRequest(window=backwards), None)
        with pytest.raises(InvalidError, match="subject_kind is 99"):
            await api.GetOverview(pb.GetOverviewRequest(window=last_hour(), subject_kind=99), None)
        with pytest.raises(InvalidError, match="name is 'digits', expected models/"):
            await api.GetForecast(pb.GetForecastRequest(model="digits"), None)
        with pytest.raises(ConflictError, match="no Version has run for long enough"):
            await api.GetCapacity(pb.GetCapacityRequest(), None)
