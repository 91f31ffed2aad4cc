"""Overview, comparison, anomalies, forecast and capacity on the wire: message in, one call, message out."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from servemesh import names
from servemesh.api.metrics.v1 import metrics_pb2 as pb
from servemesh.errors import InvalidError
from servemesh.lifecycle import Clock
from servemesh.metrics.domain.comparing import Comparison
from servemesh.metrics.domain.queries import Window
from servemesh.metrics.service.anomalies import Anomalies, Anomaly
from servemesh.metrics.service.capacity import Capacity, ModelNeed
from servemesh.metrics.service.comparing import VersionComparison
from servemesh.metrics.service.drift import Drifts
from servemesh.metrics.service.forecasting import HORIZON_S_DEFAULT, Forecasts, ModelForecast
from servemesh.metrics.service.overview import Overview, SubjectKind

Context = Any

_KINDS = {
    pb.SUBJECT_KIND_UNSPECIFIED: SubjectKind.MODEL,
    **{pb.SubjectKind.Value(f"SUBJECT_KIND_{kind.name}"): kind for kind in SubjectKind},
}


class AnalysisApi:
    """The part of MetricsService that draws conclusions."""

    def __init__(
        self,
        overview: Overview,
        comparison: VersionComparison,
        anomalies: Anomalies,
        drifts: Drifts,
        forecasts: Forecasts,
        capacity: Capacity,
        clock: Clock,
    ) -> None:
        self._overview = overview
        self._comparison = comparison
        self._anomalies = anomalies
        self._drifts = drifts
        self._forecasts = forecasts
        self._capacity = capacity
        self._clock = clock

    async def GetOverview(self, request: pb.GetOverviewRequest, context: Context) -> pb.GetOverviewResponse:
        """Return figures of the mesh and of each subject."""
        found = await self._overview.get(self._window(request.window), _kind(request.subject_kind))
        return pb.GetOverviewResponse(
            mesh=pb.Figures(**asdict(found.mesh)),
            subjects=[pb.Figures(**asdict(each)) for each in found.subjects],
            worker_count=found.worker_count,
            firing_count=found.firing_count,
        )

    async def CompareVersions(
        self, request: pb.CompareVersionsRequest, context: Context
    ) -> pb.CompareVersionsResponse:
        """Compare two Versions."""
        found = await self._comparison.compare(
            request.baseline, request.candidate, self._window(request.window)
        )
        return pb.CompareVersionsResponse(
            comparisons=[_to_comparison(each) for each in found.comparisons],
            baseline_call_count=found.baseline_calls,
            candidate_call_count=found.candidate_calls,
        )

    async def ListAnomalies(
        self, request: pb.ListAnomaliesRequest, context: Context
    ) -> pb.ListAnomaliesResponse:
        """List anomalies."""
        model = names.model_id(request.model) if request.model else ""
        found = await self._anomalies.list(self._window(request.window), model)
        return pb.ListAnomaliesResponse(anomalies=[_to_anomaly(each) for each in found])

    async def GetDrift(self, request: pb.GetDriftRequest, context: Context) -> pb.GetDriftResponse:
        """Return how far a Version's inputs and outputs have moved."""
        reference = self._window(request.reference) if request.HasField("reference") else None
        model, version = names.version_ids(request.version)
        found = await self._drifts.get(model, version, self._window(request.window), reference)
        return pb.GetDriftResponse(
            features=[pb.FeatureDrift(**asdict(each)) for each in found.features],
            row_count=found.row_count,
            reference_row_count=found.reference_row_count,
        )

    async def GetForecast(self, request: pb.GetForecastRequest, context: Context) -> pb.GetForecastResponse:
        """Return the demand of a Model."""
        return _to_forecast(await self._forecasts.get(names.model_id(request.model), _horizon_s(request)))

    async def GetCapacity(self, request: pb.GetCapacityRequest, context: Context) -> pb.GetCapacityResponse:
        """Return how many workers are needed."""
        found = await self._capacity.get(_horizon_s(request))
        return pb.GetCapacityResponse(
            worker_count=found.worker_count,
            needed_now=found.need.now,
            needed_at_peak=found.need.at_peak,
            needed_at_peak_low=found.need.at_peak_low,
            needed_at_peak_high=found.need.at_peak_high,
            peak_time=_to_time(found.peak_s),
            models=[_to_model(each) for each in found.models],
        )

    def _window(self, window: pb.Window) -> Window:
        if not window.HasField("start_time"):
            raise InvalidError(
                "window.start_time is missing, expected when the window begins",
                reason="WINDOW_INVALID",
                field="window.start_time",
                expected="a time",
            )
        now_s = self._clock.now().timestamp()
        end_s = _seconds(window.end_time) if window.HasField("end_time") else now_s
        return Window(begin_s=_seconds(window.start_time), end_s=end_s)


def _kind(number: int) -> SubjectKind:
    if number not in _KINDS:
        raise InvalidError(
            f"subject_kind is {number}, expected one of metrics.v1",
            reason="SUBJECT_KIND_UNKNOWN",
            field="subject_kind",
            got=number,
        )
    return _KINDS[number]


def _horizon_s(request: pb.GetForecastRequest | pb.GetCapacityRequest) -> float:
    if not request.HasField("horizon"):
        return HORIZON_S_DEFAULT
    return float(request.horizon.seconds + request.horizon.nanos / 1e9)


def _seconds(time: Timestamp) -> float:
    return time.seconds + time.nanos / 1e9


def _to_time(time_s: float) -> Timestamp:
    time = Timestamp()
    time.FromMilliseconds(round(time_s * 1000))
    return time


def _to_window(window: Window) -> pb.Window:
    return pb.Window(start_time=_to_time(window.begin_s), end_time=_to_time(window.end_s))


def _to_comparison(found: Comparison) -> pb.Comparison:
    return pb.Comparison(**asdict(found), difference=found.difference)


def _to_anomaly(found: Anomaly) -> pb.Anomaly:
    return pb.Anomaly(
        model=f"models/{found.model}",
        measure=found.measure,
        window=_to_window(found.window),
        value=found.value,
        expected=found.expected,
        score=found.score,
    )


def _to_forecast(found: ModelForecast) -> pb.GetForecastResponse:
    said = found.forecast.projection
    step = Duration()
    step.FromMilliseconds(round(found.step_s * 1000))
    return pb.GetForecastResponse(
        points=[
            pb.ForecastPoint(
                time=_to_time(found.begin_s + place * found.step_s), expected=expected, low=low, high=high
            )
            for place, (expected, low, high) in enumerate(
                zip(said.expected, said.low, said.high, strict=True)
            )
        ],
        step=step,
        method=found.forecast.method,
        backtest_error=found.forecast.backtest_error,
        naive_error=found.forecast.naive_error,
        history=_to_window(found.history),
    )


def _to_model(found: ModelNeed) -> pb.ModelCapacity:
    return pb.ModelCapacity(
        model=f"models/{found.model}",
        rows_per_worker=found.rows_per_worker,
        demand=found.demand,
        peak_demand=found.peak_demand,
        peak_time=_to_time(found.peak_s),
        exceeded_time=None if found.exceeded_s is None else _to_time(found.exceeded_s),
    )
