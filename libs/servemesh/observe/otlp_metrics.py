"""Turns the samples of our Prometheus registry into OTLP's metrics, so that both show the same numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from opentelemetry.sdk.metrics import export as otel
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import Metric
from prometheus_client.samples import Sample

from servemesh.observe.metrics import REGISTRY

_SCOPE = InstrumentationScope("servemesh")


def converted(resource: Resource, now_ns: int, families: Iterable[Metric] | None = None) -> otel.MetricsData:
    """Return all samples of the registry as they are now."""
    metrics = [
        metric for family in (families or REGISTRY.collect()) for metric in _converted_family(family, now_ns)
    ]
    scope = otel.ScopeMetrics(scope=_SCOPE, metrics=metrics, schema_url="")
    return otel.MetricsData(
        resource_metrics=[otel.ResourceMetrics(resource=resource, scope_metrics=[scope], schema_url="")]
    )


def _converted_family(family: Metric, now_ns: int) -> Iterator[otel.Metric]:
    if family.type == "histogram":
        data: otel.Sum | otel.Gauge | otel.Histogram = otel.Histogram(
            data_points=list(_histogram_points(family.samples, now_ns)),
            aggregation_temporality=otel.AggregationTemporality.CUMULATIVE,
        )
    else:
        points = [
            otel.NumberDataPoint(dict(sample.labels), 0, now_ns, sample.value) for sample in family.samples
        ]
        if family.type == "counter":
            data = otel.Sum(points, otel.AggregationTemporality.CUMULATIVE, is_monotonic=True)
        else:
            data = otel.Gauge(points)
    yield otel.Metric(name=family.name, description=family.documentation, unit=family.unit, data=data)


def _histogram_points(samples: list[Sample], now_ns: int) -> Iterator[otel.HistogramDataPoint]:
    by_labels: dict[tuple[tuple[str, str], ...], list[Sample]] = {}
    for sample in samples:
        labels = tuple(sorted((key, value) for key, value in sample.labels.items() if key != "le"))
        by_labels.setdefault(labels, []).append(sample)
    for labels, group in by_labels.items():
        buckets = [sample for sample in group if sample.name.endswith("_bucket")]
        totals = [int(sample.value) for sample in buckets]
        counts = [total - before for total, before in zip(totals, [0, *totals], strict=False)]
        yield otel.HistogramDataPoint(
            attributes=dict(labels),
            start_time_unix_nano=0,
            time_unix_nano=now_ns,
            count=totals[-1],
            sum=next(sample.value for sample in group if sample.name.endswith("_sum")),
            bucket_counts=counts,
            explicit_bounds=[float(sample.labels["le"]) for sample in buckets[:-1]],
            min=None,  # type: ignore[arg-type]  # Prometheus does not know them, and OTLP can do without
            max=None,  # type: ignore[arg-type]
        )
