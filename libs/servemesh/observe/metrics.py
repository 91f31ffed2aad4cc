"""Metrics of this process, kept in one registry that its own HTTP thread shows to Prometheus.

Hot paths bind their child once (`counter(NAME).labels(...)`) and then pay for an addition, not for a look-up.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from servemesh.observe.names import Metric

REGISTRY = CollectorRegistry()
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

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


@cache
def histogram(metric: Metric) -> Histogram:
    """Return the histogram of that name, the same one at every call."""
    return Histogram(
        _exposed(metric),
        metric.help,
        metric.labels,
        unit=metric.unit,
        buckets=metric.buckets,
        registry=REGISTRY,
    )


@contextmanager
def collecting(collector: Collector) -> Iterator[None]:
    """Show what `collector` yields at each scrape, for the length of the block."""
    REGISTRY.register(collector)
    try:
        yield
    finally:
        REGISTRY.unregister(collector)


def exposition() -> bytes:
    """Return all metrics in Prometheus' text format."""
    return generate_latest(REGISTRY)


def _exposed(metric: Metric) -> str:
    return metric.name.replace(".", "_")
