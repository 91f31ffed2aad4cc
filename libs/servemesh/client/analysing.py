"""Operations that ask for conclusions: overview, comparison, anomalies, drift, forecast, capacity."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from typing import Any, TypeVar

from google.protobuf.duration_pb2 import Duration

from servemesh import names
from servemesh.api.metrics.v1 import metrics_pb2 as pb
from servemesh.client import analyses
from servemesh.client.parsing import time
from servemesh.client.reading import window
from servemesh.client.steps import Call, Operation
from servemesh.errors import InvalidError

T = TypeVar("T")
SUBJECTS = ("model", "version", "worker", "tenant")


def overview(by: str, begin: datetime | None, end: datetime | None) -> Operation[analyses.Overview]:
    """Return figures of the mesh and of each subject."""
    if by not in SUBJECTS:
        raise InvalidError(
            f"by is {by[:100]!r}, expected one of {', '.join(SUBJECTS)}",
            reason="OPTION_MALFORMED",
            field="by",
            got=by[:100],
        )
    kind = pb.SubjectKind.Value(f"SUBJECT_KIND_{by.upper()}")
    answer = yield Call(request=pb.GetOverviewRequest(window=window(begin, end), subject_kind=kind))
    return analyses.Overview(
        mesh=_same(analyses.Figures, answer.mesh),
        subjects=tuple(_same(analyses.Figures, each) for each in answer.subjects),
        worker_count=answer.worker_count,
        firing_count=answer.firing_count,
    )


def compare(
    model: str, baseline: int, candidate: int, begin: datetime | None, end: datetime | None
) -> Operation[analyses.Comparison]:
    """Compare two Versions of a model."""
    request = pb.CompareVersionsRequest(
        baseline=names.version(model, baseline),
        candidate=names.version(model, candidate),
        window=window(begin, end),
    )
    answer = yield Call(request=request)
    return analyses.Comparison(
        baseline=request.baseline,
        candidate=request.candidate,
        differences=tuple(_same(analyses.Difference, each) for each in answer.comparisons),
        baseline_call_count=answer.baseline_call_count,
        candidate_call_count=answer.candidate_call_count,
    )


def anomalies(model: str, begin: datetime | None, end: datetime | None) -> Operation[list[analyses.Anomaly]]:
    """Return when a model, or any, did not do what its season lets expect."""
    name = names.model(model) if model else ""
    answer = yield Call(request=pb.ListAnomaliesRequest(window=window(begin, end), model=name))
    return [
        analyses.Anomaly(
            model=names.model_id(each.model),
            measure=each.measure,
            begin_time=time(each.window.start_time),
            end_time=time(each.window.end_time),
            value=each.value,
            expected=each.expected,
            score=each.score,
        )
        for each in answer.anomalies
    ]


def drift(
    model: str,
    version: int,
    begin: datetime | None,
    end: datetime | None,
    reference: tuple[datetime, datetime] | None,
) -> Operation[analyses.Drift]:
    """Return how far a Version's inputs and outputs have moved."""
    request = pb.GetDriftRequest(
        version=names.version(model, version),
        window=window(begin, end),
        reference=window(*reference) if reference else None,
    )
    answer = yield Call(request=request)
    return analyses.Drift(
        features=tuple(_same(analyses.FeatureDrift, each) for each in answer.features),
        row_count=answer.row_count,
        reference_row_count=answer.reference_row_count,
    )


def forecast(model: str, horizon_s: float) -> Operation[analyses.Forecast]:
    """Return the demand of a model."""
    request = pb.GetForecastRequest(model=names.model(model), horizon=_horizon(horizon_s))
    answer = yield Call(request=request)
    return analyses.Forecast(
        model=model,
        points=tuple(
            analyses.ForecastPoint(time=time(each.time), expected=each.expected, low=each.low, high=each.high)
            for each in answer.points
        ),
        step_s=answer.step.ToNanoseconds() / 1e9,
        method=answer.method,
        backtest_error=answer.backtest_error,
        naive_error=answer.naive_error,
        history_begin_time=time(answer.history.start_time),
        history_end_time=time(answer.history.end_time),
    )


def capacity(horizon_s: float) -> Operation[analyses.Capacity]:
    """Return how many workers are needed."""
    answer = yield Call(request=pb.GetCapacityRequest(horizon=_horizon(horizon_s)))
    return analyses.Capacity(
        worker_count=answer.worker_count,
        needed_now=answer.needed_now,
        needed_at_peak=answer.needed_at_peak,
        needed_at_peak_low=answer.needed_at_peak_low,
        needed_at_peak_high=answer.needed_at_peak_high,
        peak_time=time(answer.peak_time),
        models=tuple(
            analyses.ModelCapacity(
                model=names.model_id(each.model),
                rows_per_worker=each.rows_per_worker,
                demand=each.demand,
                peak_demand=each.peak_demand,
                peak_time=time(each.peak_time),
                exceeded_time=time(each.exceeded_time) if each.HasField("exceeded_time") else None,
            )
            for each in answer.models
        ),
    )


def _horizon(horizon_s: float) -> Duration | None:
    if not horizon_s:
        return None
    duration = Duration()
    duration.FromMilliseconds(round(horizon_s * 1000))
    return duration


def _same(kind: type[T], message: Any) -> T:
    """Return a value whose fields are those of the message."""
    return kind(**{field.name: getattr(message, field.name) for field in fields(kind)})  # type: ignore[arg-type]
