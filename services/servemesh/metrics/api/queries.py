"""The queries of metrics.v1: what there is, one measure over time, what changed."""

from __future__ import annotations

import bisect
from typing import Any

from servemesh.api.metrics.v1 import metrics_pb2 as pb
from servemesh.errors import InvalidError
from servemesh.lifecycle import Clock
from servemesh.metrics.api.requests import (
    NAME_CHARS_MAX,
    duration,
    filters_of,
    page_asked,
    span_of,
    timestamp,
    window_of,
)
from servemesh.metrics.domain.queries import Annotation, Kind, Measure, MetricInfo, Query, Window
from servemesh.metrics.service.ports import Readings

Context = Any

STEPS = 240
GROUP_BY_MAX = 16
SAME_TIME_MAX = 1_000  # annotations of one millisecond, which a page may begin amid
KINDS = {
    Kind.GAUGE: pb.METRIC_KIND_GAUGE,
    Kind.COUNTER: pb.METRIC_KIND_COUNTER,
    Kind.UP_DOWN_COUNTER: pb.METRIC_KIND_UP_DOWN_COUNTER,
    Kind.HISTOGRAM: pb.METRIC_KIND_HISTOGRAM,
}
MEASURES = {
    pb.MEASURE_RATE: Measure.RATE,
    pb.MEASURE_INCREASE: Measure.INCREASE,
    pb.MEASURE_MEAN: Measure.MEAN,
    pb.MEASURE_MIN: Measure.MIN,
    pb.MEASURE_MAX: Measure.MAX,
    pb.MEASURE_LAST: Measure.LAST,
    pb.MEASURE_QUANTILE: Measure.QUANTILE,
    pb.MEASURE_SUM_RATE: Measure.SUM_RATE,
}


class QueriesApi:
    """ListMetrics, QueryRange and ListAnnotations."""

    def __init__(self, readings: Readings, clock: Clock) -> None:
        self._readings = readings
        self._clock = clock

    async def ListMetrics(self, request: pb.ListMetricsRequest, context: Context) -> pb.ListMetricsResponse:
        """List the metrics in the store."""
        page = page_asked(request)
        known = await self._readings.metrics()
        begin = bisect.bisect_right(known, page.after, key=lambda info: info.name) if page.after else 0
        shown = page.page(known[begin : begin + page.fetch], lambda info: info.name)
        return pb.ListMetricsResponse(
            metrics=[_metric(info) for info in shown.items], next_page_token=shown.next_page_token
        )

    async def QueryRange(self, request: pb.QueryRangeRequest, context: Context) -> pb.QueryRangeResponse:
        """Return one measure of one metric over time."""
        window = window_of(request, self._now_s())
        answer = await self._readings.query(
            Query(
                metric=_metric_name(request.metric),
                measure=await self._measure(request),
                window=window,
                step_s=_step_s(request, window),
                filters=filters_of(request.filters),
                group_by=_group_by(request),
                quantile=_quantile(request),
            )
        )
        return pb.QueryRangeResponse(
            start_time=timestamp(answer.begin_s),
            step=duration(answer.step_s),
            tracks=[pb.Track(labels=dict(track.labels), values=track.values) for track in answer.tracks],
            unit=answer.unit,
        )

    async def ListAnnotations(
        self, request: pb.ListAnnotationsRequest, context: Context
    ) -> pb.ListAnnotationsResponse:
        """List what changed in the mesh."""
        asked = request.window
        page = page_asked(
            request, f"{request.resource} {asked.start_time.ToJsonString()} {asked.end_time.ToJsonString()}"
        )
        window = window_of(request, self._now_s())
        if page.after:  # goes on amid the annotations of one millisecond
            end_s = (int(page.after.partition("/")[0]) + 1) / 1000
            window = Window(begin_s=window.begin_s, end_s=min(window.end_s, end_s))
        found = await self._readings.annotations(
            window,
            resource=request.resource[:NAME_CHARS_MAX],
            count_max=page.fetch + (SAME_TIME_MAX if page.after else 0),
        )
        rest = [one for one in found if not page.after or _key(one) < page.after]
        shown = page.page(rest[: page.fetch], _key)
        return pb.ListAnnotationsResponse(
            annotations=[
                pb.Annotation(time=timestamp(one.time_s), kind=one.kind, resource=one.resource, text=one.text)
                for one in shown.items
            ],
            next_page_token=shown.next_page_token,
        )

    async def _measure(self, request: pb.QueryRangeRequest) -> Measure:
        if request.measure:
            measure = MEASURES.get(request.measure)
            if measure is None:
                raise InvalidError(
                    f"measure is {request.measure}, expected one of Measure",
                    reason="ENUM_UNKNOWN",
                    field="measure",
                    got=request.measure,
                )
            return measure
        kinds = {info.name: info.kind for info in await self._readings.metrics()}
        grows = kinds.get(request.metric) in (Kind.COUNTER, Kind.HISTOGRAM)
        return Measure.RATE if grows else Measure.MEAN

    def _now_s(self) -> float:
        return self._clock.now().timestamp()


def _metric(info: MetricInfo) -> pb.Metric:
    return pb.Metric(
        name=info.name,
        kind=KINDS[info.kind],
        unit=info.unit,
        labels=info.labels,
        series_count=info.series_count,
    )


def _metric_name(name: str) -> str:
    if not 0 < len(name) <= NAME_CHARS_MAX:
        raise InvalidError(
            f"metric has {len(name)} characters, expected 1 to {NAME_CHARS_MAX}",
            reason="NAME_MALFORMED",
            field="metric",
            expected=f"1 to {NAME_CHARS_MAX} characters",
            got=len(name),
        )
    return name


def _step_s(request: pb.QueryRangeRequest, window: Window) -> float:
    length_s = window.end_s - window.begin_s
    return span_of(request, "step", 1.0, 400 * 86_400.0, max(1.0, length_s / STEPS))


def _group_by(request: pb.QueryRangeRequest) -> tuple[str, ...]:
    labels = tuple(dict.fromkeys(request.group_by))
    if len(labels) > GROUP_BY_MAX or any(not 0 < len(label) <= NAME_CHARS_MAX for label in labels):
        raise InvalidError(
            f"group_by has {len(labels)} labels, expected at most {GROUP_BY_MAX}, none of them empty",
            reason="FILTER_MALFORMED",
            field="group_by",
            got=len(labels),
        )
    return labels


def _quantile(request: pb.QueryRangeRequest) -> float:
    quantile = request.quantile
    if not 0 <= quantile <= 1:
        raise InvalidError(
            f"quantile is {quantile}, expected 0 to 1",
            reason="OUT_OF_RANGE",
            field="quantile",
            expected="0 to 1",
            got=quantile,
        )
    return quantile


def _key(annotation: Annotation) -> str:
    """What annotations are ordered by."""
    return f"{round(annotation.time_s * 1000):015d}/{annotation.annotation_id}"
