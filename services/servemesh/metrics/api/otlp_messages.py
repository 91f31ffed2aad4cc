"""Reads OTLP's messages: metrics as samples, spans as spans. What is malformed becomes a sample that says so."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from servemesh.api.otlp.v1 import metrics_pb2 as pb
from servemesh.exponential import SCALE_MAX, SCALE_MIN, ExponentialHistogram
from servemesh.exponential_buckets import Buckets
from servemesh.metrics.domain.points import Labels
from servemesh.metrics.domain.samples import Drop, Explicit, Flow, Sample, Shape, Source

NAMESPACE = "servemesh"
NS_PER_MS = 1_000_000
BUCKETS_MAX = 2_048  # of one point, each side
_NO_VALUE = pb.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
_DELTA = pb.AGGREGATION_TEMPORALITY_DELTA
_CUMULATIVE = pb.AGGREGATION_TEMPORALITY_CUMULATIVE
_SUMS = {
    (_CUMULATIVE, True): Flow.CUMULATIVE_COUNTER,
    (_DELTA, True): Flow.DELTA_COUNTER,
    (_CUMULATIVE, False): Flow.CUMULATIVE_UP_DOWN,
    (_DELTA, False): Flow.DELTA_UP_DOWN,
}
_HISTOGRAMS = {_CUMULATIVE: Flow.CUMULATIVE_HISTOGRAM, _DELTA: Flow.DELTA_HISTOGRAM}
_RENAMED = {"service.name": "service", "service.instance.id": "instance"}


def point_count(request: Any) -> int:
    """Return how many data points a request has."""
    return sum(
        len(getattr(metric, kind).data_points)
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if (kind := metric.WhichOneof("data"))
    )


def samples(request: Any) -> Iterator[Sample]:
    """Yield every data point."""
    for resource in request.resource_metrics:
        labels = resource_labels(resource.resource)
        for scope in resource.scope_metrics:
            source = Source(labels, scope.scope.name)
            for metric in scope.metrics:
                yield from _points(source, metric)


def resource_labels(resource: Any) -> Labels:
    """Return what a sender says of itself; `service.name` is `service`, without the prefix that ours carry."""
    labels = {_RENAMED.get(key, key): value for key, value in attributes_of(resource.attributes)}
    if labels.get("service.namespace") == NAMESPACE:
        labels["service"] = labels.get("service", "").removeprefix(f"{NAMESPACE}-")
    return tuple(sorted(labels.items()))


def attributes_of(attributes: Any) -> Labels:
    """Return attributes as text, by name."""
    return tuple(sorted([(one.key, one.value.string_value or _text(one.value)) for one in attributes]))


def _text(value: Any) -> str:
    kind = value.WhichOneof("value")
    if kind == "bool_value":
        return "true" if value.bool_value else "false"
    if kind in ("int_value", "double_value"):
        return str(getattr(value, kind))
    return ""  # lists, maps and bytes are no labels


def _points(source: Source, metric: Any) -> Iterator[Sample]:
    kind = metric.WhichOneof("data")
    data = getattr(metric, kind) if kind else None
    if data is None:
        return
    flow, read = _reader(kind, data)
    shape = Shape(metric.name, metric.unit, flow)
    is_named = bool(metric.name)
    for point in data.data_points:
        value = read(point) if is_named else Drop.MALFORMED
        yield Sample(
            source,
            shape,
            attributes_of(point.attributes),
            point.start_time_unix_nano // NS_PER_MS,
            point.time_unix_nano // NS_PER_MS,
            Drop.NO_VALUE if point.flags & _NO_VALUE else value,
        )


def _reader(kind: str, data: Any) -> tuple[Flow, Any]:
    """Return how the points of a metric follow each other and how to read one."""
    if kind == "gauge":
        return Flow.GAUGE, _number
    if kind == "summary":
        return Flow.GAUGE, lambda _: Drop.SUMMARY
    temporality = data.aggregation_temporality
    if kind == "sum":
        flow = _SUMS.get((temporality, data.is_monotonic))
        return (flow, _growing if data.is_monotonic else _number) if flow else (Flow.GAUGE, _malformed)
    histogram_flow = _HISTOGRAMS.get(temporality)
    if histogram_flow is None:
        return Flow.GAUGE, _malformed
    return histogram_flow, _explicit if kind == "histogram" else _exponential


def _malformed(_: Any) -> Drop:
    return Drop.MALFORMED


def _number(point: Any) -> float | Drop:
    kind = point.WhichOneof("value")
    if kind is None:
        return Drop.MALFORMED
    value = point.as_double if kind == "as_double" else float(point.as_int)
    return value if math.isfinite(value) else Drop.NOT_FINITE


def _growing(point: Any) -> float | Drop:
    value = _number(point)
    return Drop.MALFORMED if isinstance(value, float) and value < 0 else value


def _explicit(point: Any) -> Explicit | Drop:
    bounds, counts = tuple(point.explicit_bounds), tuple(point.bucket_counts)
    if not counts and not bounds:
        counts = (point.count,)
    if len(counts) != len(bounds) + 1 or sum(counts) != point.count or len(counts) > BUCKETS_MAX:
        return Drop.MALFORMED
    if not all(math.isfinite(bound) for bound in bounds):
        return Drop.MALFORMED
    if any(low >= high for low, high in pairwise(bounds)):
        return Drop.MALFORMED
    total, least, greatest = _known(point)
    if not bounds and math.isnan(total) and point.count:
        return Drop.MALFORMED  # a count alone says nothing of a distribution
    return Explicit(bounds, counts, total, least, greatest)


def _exponential(point: Any) -> ExponentialHistogram | Drop:
    positive, negative = point.positive, point.negative
    if not SCALE_MIN <= point.scale <= SCALE_MAX or not 0 <= point.zero_threshold < math.inf:
        return Drop.MALFORMED
    for side in (positive, negative):
        if len(side.bucket_counts) > BUCKETS_MAX or not _is_representable(side, point.scale):
            return Drop.MALFORMED
    total, least, greatest = _known(point)
    histogram = ExponentialHistogram(
        scale=point.scale,
        zero_count=point.zero_count,
        zero_threshold=point.zero_threshold,
        positive=Buckets.of(positive.offset, positive.bucket_counts),
        negative=Buckets.of(negative.offset, negative.bucket_counts),
        sum=total,
        min=least,
        max=greatest,
    )
    return histogram if histogram.count == point.count else Drop.MALFORMED


def _is_representable(side: Any, scale: int) -> bool:
    """Whether there are doubles in its buckets."""
    first, end = side.offset, side.offset + len(side.bucket_counts)
    return not side.bucket_counts or (
        math.ldexp(first, -scale) >= -1_076 and math.ldexp(end, -scale) <= 1_025
    )


def _known(point: Any) -> tuple[float, float, float]:
    """Return sum, min and max; NaN for what is not sent, or is no number."""
    values = (
        point.sum if point.HasField("sum") else math.nan,
        point.min if point.HasField("min") else math.nan,
        point.max if point.HasField("max") else math.nan,
    )
    total, least, greatest = (value if math.isfinite(value) else math.nan for value in values)
    return total, least, greatest
