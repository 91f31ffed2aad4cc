"""Metrics of this process, kept in one registry that its own HTTP thread shows to Prometheus.

Hot paths bind their child once (`counter(NAME).labels(...)`) and then pay for an addition, not for a look-up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from itertools import accumulate

import prometheus_client.core as prometheus
from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics
from prometheus_client.exposition import generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from servemesh.observe.names import Metric
from servemesh.observe.recorder import Recorded, Recorder

REGISTRY = CollectorRegistry()
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Family = prometheus.Metric
LEAVING: list[Callable[[list[Family]], None]] = []
"""Told the last families of each collector whose block ends: who sends at intervals has not sent those yet."""
Labels = tuple[str, ...]  # the values of a metric's labels, in its order

# Triton's counters do not end in "_total", which the client library adds to the header of every counter.
_TRITON_HEADER = re.compile(rb"^(# (?:HELP|TYPE) nv_\w+)_total ", re.MULTILINE)

disable_created_metrics()  # type: ignore[no-untyped-call]  # a `_created` series beside each counter helps nobody
ProcessCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)


@cache
def counter(metric: Metric) -> Counter:
    """Return the counter of that name, the same one at every call."""
    return Counter(_exposed(metric), metric.help, metric.labels, unit=metric.unit, registry=REGISTRY)


@cache
def gauge(metric: Metric) -> Gauge:
    """Return the gauge of that name, the same one at every call."""
    return Gauge(_exposed(metric), metric.help, metric.labels, unit=metric.unit, registry=REGISTRY)


class DistributionFamily(prometheus.HistogramMetricFamily):
    """A histogram as Prometheus shows it, with what it was made from, by the values of its labels."""

    recorded: Mapping[Labels, Recorded]


class Distribution(Collector):
    """A histogram of this process, with a recorder for each combination of labels."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._recorders: dict[Labels, Recorder] = {}

    def labels(self, **labels: str) -> Recorder:
        """Return the recorder for these labels, the same one at every call."""
        values = tuple(labels[label] for label in self._metric.labels)
        return self._recorders.setdefault(values, Recorder(self._metric.buckets))

    def collect(self) -> Iterator[Family]:
        """Yield the family."""
        recorders = dict(self._recorders)
        yield distributed(self._metric, {labels: one.recorded() for labels, one in recorders.items()})


@cache
def histogram(metric: Metric) -> Distribution:
    """Return the histogram of that name, the same one at every call."""
    distribution = Distribution(metric)
    REGISTRY.register(distribution)
    return distribution


@contextmanager
def collecting(collector: Collector) -> Iterator[None]:
    """Show what `collector` yields at each scrape, for the length of the block."""
    REGISTRY.register(collector)
    try:
        yield
    finally:
        REGISTRY.unregister(collector)
        for hear in LEAVING:
            hear(list(collector.collect()))


def exposition() -> bytes:
    """Return all metrics in Prometheus' text format."""
    return _TRITON_HEADER.sub(rb"\1 ", generate_latest(REGISTRY))


def counted(metric: Metric, values: Mapping[Labels, float]) -> Family:
    """Return, for a collector, the counters that are kept elsewhere."""
    family = prometheus.Metric(_exposed(metric), metric.help, "counter", metric.unit)
    suffix = "" if metric.name.startswith("nv.") else "_total"
    for labels, value in values.items():
        family.add_sample(family.name + suffix, dict(zip(metric.labels, labels, strict=True)), value)
    return family


def gauged(metric: Metric, values: Mapping[Labels, float]) -> Family:
    """Return, for a collector, the gauges that are kept elsewhere."""
    family = prometheus.GaugeMetricFamily(
        _exposed(metric), metric.help, labels=metric.labels, unit=metric.unit
    )
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def distributed(metric: Metric, values: Mapping[Labels, Recorded]) -> DistributionFamily:
    """Return, for a collector, the histograms that are kept elsewhere."""
    family = DistributionFamily(_exposed(metric), metric.help, labels=metric.labels, unit=metric.unit)
    family.recorded = values
    ends = [*(str(end) for end in metric.buckets), "+Inf"]
    for labels, one in values.items():
        family.add_metric(labels, list(zip(ends, accumulate(one.counts), strict=True)), one.total)
    return family


def _exposed(metric: Metric) -> str:
    return metric.name.replace(".", "_")
