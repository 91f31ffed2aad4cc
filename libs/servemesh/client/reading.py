"""Operations on what was measured: metrics, their values over time, what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from servemesh.api.metrics.v1 import metrics_pb2 as pb
from servemesh.client import readings
from servemesh.client.models import PAGE_SIZE, pages
from servemesh.client.parsing import enum_name, time
from servemesh.client.steps import Call, Operation
from servemesh.errors import InvalidError

Filters = Mapping[str, str | Sequence[str]]
MEASURES = tuple(name.removeprefix("MEASURE_").lower() for name in pb.Measure.keys()[1:])
HOUR = timedelta(hours=1)
NOTES_MAX = 1_000


def list_metrics() -> Operation[list[readings.MetricInfo]]:
    """Return every metric in the store, by name."""
    return (yield from pages(lambda: pb.ListMetricsRequest(page_size=PAGE_SIZE), "metrics", _metric))


def query(
    metric: str,
    measure: str,
    where: Filters,
    by: Sequence[str],
    quantile: float | None,
    begin: datetime | None,
    end: datetime | None,
    step_s: float,
) -> Operation[readings.Reading]:
    """Return one measure of a metric over time."""
    if quantile is not None:
        measure = measure or "quantile"
    request = pb.QueryRangeRequest(
        metric=metric,
        filters=[
            pb.LabelFilter(label=label, values=[wanted] if isinstance(wanted, str) else wanted)
            for label, wanted in where.items()
        ],
        group_by=by,
        measure=_measure(measure),
        quantile=quantile or 0.0,
        window=window(begin, end),
        step=_duration(step_s) if step_s else None,
    )
    answer = yield Call(request=request)
    tracks = (readings.Track(labels=dict(one.labels), values=tuple(one.values)) for one in answer.tracks)
    return readings.Reading(
        metric=metric,
        measure=measure,
        unit=answer.unit,
        begin_time=time(answer.start_time),
        step_s=answer.step.ToNanoseconds() / 1e9,
        tracks=tuple(tracks),
    )


def list_annotations(
    begin: datetime | None, end: datetime | None, resource: str, count_max: int
) -> Operation[list[readings.Annotation]]:
    """Return what changed, newest first."""
    request = pb.ListAnnotationsRequest(
        window=window(begin, end), resource=resource, page_size=min(count_max, NOTES_MAX)
    )
    found: list[readings.Annotation] = []
    while len(found) < count_max:
        answer = yield Call(request=request)
        found.extend(_annotation(each) for each in answer.annotations)
        if not answer.next_page_token:
            break
        request.page_token = answer.next_page_token
    return found[:count_max]


def window(begin: datetime | None, end: datetime | None) -> pb.Window:
    """Return the window from `begin`, or an hour before its end, to `end`, or now."""
    message = pb.Window(start_time=_timestamp(begin or (end or _now()) - HOUR))
    if end is not None:
        message.end_time.CopyFrom(_timestamp(end))
    return message


def _measure(text: str) -> Any:
    if not text:
        return pb.MEASURE_UNSPECIFIED
    if text not in MEASURES:
        raise InvalidError(
            f"measure is {text[:100]!r}, expected one of {', '.join(MEASURES)}",
            reason="OPTION_MALFORMED",
            field="measure",
            got=text[:100],
        )
    return pb.Measure.Value(f"MEASURE_{text.upper()}")


def _metric(message: pb.Metric) -> readings.MetricInfo:
    return readings.MetricInfo(
        metric=message.name,
        kind=enum_name(pb.MetricKind, message.kind, "METRIC_KIND_"),
        unit=message.unit,
        labels=tuple(message.labels),
        series_count=message.series_count,
    )


def _annotation(message: pb.Annotation) -> readings.Annotation:
    return readings.Annotation(
        time=time(message.time), kind=message.kind, resource=message.resource, text=message.text
    )


def _now() -> datetime:
    stamp = Timestamp()
    stamp.GetCurrentTime()
    return time(stamp)


def _timestamp(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    return stamp


def _duration(span_s: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(span_s * 1e9))
    return duration
