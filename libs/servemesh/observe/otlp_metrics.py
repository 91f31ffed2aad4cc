"""Turns what our Prometheus registry has into OTLP's metrics: the same numbers, in exponential histograms.

All sums are cumulative, so that a message lost on the way costs resolution and no count.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain

from prometheus_client import Metric as Family
from prometheus_client.samples import Sample

from servemesh.api.otlp.v1 import common_pb2, metrics_export_pb2, metrics_pb2, resource_pb2
from servemesh.observe import names
from servemesh.observe.metrics import REGISTRY, DistributionFamily, Labels
from servemesh.observe.names import Metric
from servemesh.observe.recorder import Recorded

UNITS = {names.SECONDS: "s", names.BYTES: "By", names.WATTS: "W", names.CELSIUS: "Cel"}
LEFT_MAX = 64
_CUMULATIVE = metrics_pb2.AGGREGATION_TEMPORALITY_CUMULATIVE
# Most methods of a process are never called; until one is, these would say nothing about it, every time.
_OF_METHODS = frozenset({names.RPC_SERVER_CALLS.name, names.RPC_SERVER_IN_FLIGHT.name})
_SeriesKey = tuple[str, tuple[tuple[str, str], ...]]


def resource_of(**attributes: str) -> resource_pb2.Resource:
    """Return a resource; dots of its attributes are written as `_dot_`."""
    return resource_pb2.Resource(
        attributes=attributes_of({key.replace("_dot_", "."): value for key, value in attributes.items()})
    )


def attributes_of(values: dict[str, str]) -> list[common_pb2.KeyValue]:
    """Return attributes that are all text."""
    return [
        common_pb2.KeyValue(key=key, value=common_pb2.AnyValue(string_value=value))
        for key, value in values.items()
    ]


class Starts:
    """Since when each cumulative series counts: it was 0 at the last reading that did not have it, or had more."""

    def __init__(self, begin_ns: int) -> None:
        self._read_ns = begin_ns
        self._before: dict[_SeriesKey, tuple[int, float]] = {}
        self._now: dict[_SeriesKey, tuple[int, float]] = {}

    def start_ns(self, key: _SeriesKey, value: float) -> int:
        """Return since when the series with this value counts."""
        start_ns, last = self._before.get(key, (self._read_ns, value))
        if value < last:
            start_ns = self._read_ns
        self._now[key] = (start_ns, value)
        return start_ns

    def read(self, now_ns: int) -> None:
        """All series have been looked at; those that were not there are forgotten."""
        self._before, self._now, self._read_ns = self._now, {}, now_ns


class Reading:
    """Makes one message after the other of what the registry has."""

    def __init__(self, resource: resource_pb2.Resource, begin_ns: int) -> None:
        self.resource = resource
        self._starts = Starts(begin_ns)
        self._left: deque[list[Family]] = deque(maxlen=LEFT_MAX)
        self._called: set[str] = set()
        self._known = {
            _shown(metric): metric for metric in vars(names).values() if isinstance(metric, Metric)
        }

    def left(self, families: list[Family]) -> None:
        """Send these once more: their collector shows them no longer."""
        self._left.append(families)

    def taken(
        self, now_ns: int, families: Iterable[Family] | None = None
    ) -> metrics_export_pb2.ExportMetricsServiceRequest:
        """Return what the registry has now of the metrics that observe/names.py names."""
        request = metrics_export_pb2.ExportMetricsServiceRequest()
        resource = request.resource_metrics.add(resource=self.resource)
        scope = resource.scope_metrics.add(scope=common_pb2.InstrumentationScope(name="servemesh"))
        left = chain.from_iterable(self._left.popleft() for _ in range(len(self._left)))
        for family in chain(left, REGISTRY.collect() if families is None else families):
            metric = self._known.get(family.name)
            if metric is not None and metric.leaves:
                message = scope.metrics.add(
                    name=metric.name, description=metric.help, unit=UNITS.get(metric.unit, metric.unit)
                )
                self._fill(message, metric, family, now_ns)
        self._starts.read(now_ns)
        return request

    def _fill(self, message: metrics_pb2.Metric, metric: Metric, family: Family, now_ns: int) -> None:
        if isinstance(family, DistributionFamily):
            message.exponential_histogram.aggregation_temporality = _CUMULATIVE
            message.exponential_histogram.data_points.extend(
                self._distribution(metric, labels, one, now_ns)
                for labels, one in family.recorded.items()
                if one.count  # most methods are never called
            )
        elif family.type == "counter":
            message.sum.aggregation_temporality = _CUMULATIVE
            message.sum.is_monotonic = True
            message.sum.data_points.extend(self._sums(metric, family, now_ns))
        else:
            message.gauge.data_points.extend(
                metrics_pb2.NumberDataPoint(
                    attributes=attributes_of(sample.labels),
                    time_unix_nano=now_ns,
                    as_double=sample.value,
                )
                for sample in self._samples(metric, family)
            )

    def _samples(self, metric: Metric, family: Family) -> Iterator[Sample]:
        """Yield what is sent: of methods that nobody has called yet, nothing."""
        is_of_methods = metric.name in _OF_METHODS
        for sample in family.samples:
            if is_of_methods and sample.labels["method"] not in self._called:
                if not sample.value:
                    continue
                self._called.add(sample.labels["method"])
            yield sample

    def _sums(self, metric: Metric, family: Family, now_ns: int) -> Iterator[metrics_pb2.NumberDataPoint]:
        for sample in self._samples(metric, family):
            key = (metric.name, tuple(sample.labels.items()))
            yield metrics_pb2.NumberDataPoint(
                attributes=attributes_of(sample.labels),
                start_time_unix_nano=self._starts.start_ns(key, sample.value),
                time_unix_nano=now_ns,
                as_double=sample.value,
            )

    def _distribution(
        self, metric: Metric, labels: Labels, recorded: Recorded, now_ns: int
    ) -> metrics_pb2.ExponentialHistogramDataPoint:
        attributes = dict(zip(metric.labels, labels, strict=True))
        exponential, count = recorded.exponential, recorded.count
        return metrics_pb2.ExponentialHistogramDataPoint(
            attributes=attributes_of(attributes),
            start_time_unix_nano=self._starts.start_ns((metric.name, tuple(attributes.items())), count),
            time_unix_nano=now_ns,
            count=count,
            sum=recorded.total,
            scale=exponential.scale,
            zero_count=exponential.zero_count,
            positive=metrics_pb2.ExponentialHistogramDataPoint.Buckets(
                offset=exponential.offset, bucket_counts=exponential.counts
            ),
        )


def _shown(metric: Metric) -> str:
    return metric.name.replace(".", "_") + (f"_{metric.unit}" if metric.unit else "")
