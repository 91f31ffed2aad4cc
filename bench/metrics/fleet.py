"""A made-up mesh that says what a real one says: 50 workers and what stands around them, in OTLP's messages."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from servemesh.api.otlp.v1 import metrics_export_pb2, metrics_pb2
from servemesh.observe import names
from servemesh.observe.names import Metric
from servemesh.observe.otlp_metrics import UNITS, attributes_of, resource_of

CUMULATIVE = metrics_pb2.AGGREGATION_TEMPORALITY_CUMULATIVE
DAY_S = 86_400.0
BUCKETS = 40  # of a distribution, 2.5 powers of two wide: about what one model's latencies take
SCALE = 4
OUTCOMES = ("answered", "failed", "refused")
METHODS = ("ModelInfer", "ModelReady", "ServerLive", "ModelMetadata", "RenewLease", "Check")
_SLOT_GAUGES = (names.WORKER_SLOT_MEMORY, names.WORKER_QUEUE_ROWS)
_SLOT_DISTRIBUTIONS = (names.WORKER_CALL_DURATION, names.WORKER_BATCH_ROWS, names.WORKER_BATCH_DURATION)
_PROCESS_GAUGES = (
    names.PROCESS_LOOP_LAG,
    names.PROCESS_TASKS,
    names.PROCESS_CHANNELS,
    names.PROCESS_MEMORY,
    names.HOST_CPU_BUSY,
    names.HOST_MEMORY_USED,
    names.HOST_MEMORY_MAX,
    names.HOST_DISK_USED,
    names.HOST_DISK_MAX,
    names.WORKER_CACHE_USED,
    names.WORKER_CACHE_MAX,
    names.WORKER_LEASE_AGE,
    names.WORKER_MEMORY_MAX,
)
_PROCESS_COUNTERS = (names.PROCESS_CPU, names.HOST_NETWORK_RECEIVED, names.HOST_NETWORK_SENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large the mesh is."""

    workers: int = 50
    slots: int = 4
    models: int = 20
    others: int = 10  # gateways, registries, REST fronts, an optimizer, the metrics service


@dataclass(slots=True)
class Process:
    """One sender: its message, whose points are brought up to date again and again."""

    instance: str
    request: Any
    counters: list[Any] = field(default_factory=list)
    gauges: list[Any] = field(default_factory=list)
    distributions: list[Any] = field(default_factory=list)

    @property
    def point_count(self) -> int:
        """How many points each of its messages has."""
        return len(self.counters) + len(self.gauges) + len(self.distributions)


class Fleet:
    """All processes of the mesh. Load follows the day, distributions the load."""

    def __init__(self, size: Size, begin_s: float, seed: int = 7) -> None:
        self._chance = np.random.default_rng(seed)
        self._begin_ns = round(begin_s * 1e9)
        self.processes = [*self._workers(size), *self._others(size)]
        shape = np.exp(-(((np.arange(BUCKETS) - 15) / 6.0) ** 2))
        self._shape = shape / shape.sum()

    @property
    def point_count(self) -> int:
        """How many points one round of all processes has."""
        return sum(process.point_count for process in self.processes)

    @property
    def distribution_count(self) -> int:
        """How many of them are distributions."""
        return sum(len(process.distributions) for process in self.processes)

    def requests(self, time_s: float, span_s: float) -> Iterator[Any]:
        """Bring every process to `time_s`, `span_s` after the time before, and yield its message."""
        load = 20.0 * span_s * (1.2 - math.cos(2 * math.pi * (time_s % DAY_S) / DAY_S))
        time_ns = round(time_s * 1e9)
        for process in self.processes:
            self._advance(process, time_ns, load)
            yield process.request

    def _advance(self, process: Process, time_ns: int, load: float) -> None:
        chance = self._chance
        grown = chance.poisson(load, len(process.counters))
        for point, more in zip(process.counters, grown.tolist(), strict=True):
            point.time_unix_nano = time_ns
            point.as_double += more
        noise = chance.normal(1.0, 0.05, len(process.gauges))
        for point, factor in zip(process.gauges, noise.tolist(), strict=True):
            point.time_unix_nano = time_ns
            point.as_double = round(1_000 * factor)
        counts = chance.poisson(load * self._shape, (len(process.distributions), BUCKETS))
        for point, row in zip(process.distributions, counts, strict=True):
            point.time_unix_nano = time_ns
            total = np.array(point.positive.bucket_counts, np.int64) + row
            point.positive.bucket_counts[:] = total.tolist()
            point.count = int(total.sum())
            point.sum += float(row.sum()) * 0.01

    def _workers(self, size: Size) -> Iterator[Process]:
        for number in range(size.workers):
            process = self._process("worker", f"worker-{number}")
            for slot in range(size.slots):
                model = f"model-{(number * size.slots + slot) % size.models}"
                labels = {"model": model, "version": "1"}
                for outcome in OUTCOMES:
                    self._counter(process, names.WORKER_CALLS, labels | {"outcome": outcome})
                self._counter(process, names.WORKER_QUEUE_DURATION, labels)
                for metric in _SLOT_GAUGES:
                    self._gauge(process, metric, labels)
                for metric in _SLOT_DISTRIBUTIONS:
                    self._distribution(process, metric, labels)
            yield process

    def _others(self, size: Size) -> Iterator[Process]:
        services = ("gateway", "registry", "rest", "optimizer", "metrics")
        for number in range(size.others):
            service = services[number % len(services)]
            yield self._process(service, f"{service}-{number}")

    def _process(self, service: str, instance: str) -> Process:
        request = metrics_export_pb2.ExportMetricsServiceRequest()
        resource = request.resource_metrics.add(
            resource=resource_of(
                service_dot_name=f"servemesh-{service}",
                service_dot_namespace="servemesh",
                service_dot_instance_dot_id=instance,
                host_dot_name=f"host-of-{instance}",
            )
        )
        resource.scope_metrics.add().scope.name = "servemesh"
        process = Process(instance, request)
        for metric in _PROCESS_GAUGES:
            self._gauge(process, metric, {"host": f"host-{instance}"})
        for metric in _PROCESS_COUNTERS:
            self._counter(process, metric, {})
        for method in METHODS:
            self._distribution(process, names.RPC_SERVER_DURATION, {"method": method})
            for code in ("OK", "UNAVAILABLE"):
                self._counter(process, names.RPC_SERVER_CALLS, {"method": method, "code": code})
        return process

    def _counter(self, process: Process, metric: Metric, labels: dict[str, str]) -> None:
        data = _metric(process, metric).sum
        data.aggregation_temporality, data.is_monotonic = CUMULATIVE, True
        point = data.data_points.add(
            attributes=attributes_of(labels), start_time_unix_nano=self._begin_ns, as_double=0.0
        )
        process.counters.append(point)

    def _gauge(self, process: Process, metric: Metric, labels: dict[str, str]) -> None:
        point = _metric(process, metric).gauge.data_points.add(attributes=attributes_of(labels))
        process.gauges.append(point)

    def _distribution(self, process: Process, metric: Metric, labels: dict[str, str]) -> None:
        data = _metric(process, metric).exponential_histogram
        data.aggregation_temporality = CUMULATIVE
        point = data.data_points.add(
            attributes=attributes_of(labels), start_time_unix_nano=self._begin_ns, scale=SCALE
        )
        point.positive.offset = -110
        point.positive.bucket_counts.extend([0] * BUCKETS)
        process.distributions.append(point)


def _metric(process: Process, metric: Metric) -> Any:
    """Return the metric's place in the message."""
    scope = process.request.resource_metrics[0].scope_metrics[0]
    for known in scope.metrics:
        if known.name == metric.name:
            return known
    return scope.metrics.add(name=metric.name, unit=UNITS.get(metric.unit, metric.unit))
