"""Workers that are not there: what they would send over OTLP about serving one model, now and long ago."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import grpc

from servemesh.api.otlp.v1 import metrics_export_pb2 as export_pb2
from servemesh.api.otlp.v1 import metrics_pb2 as pb
from servemesh.observe import otlp_paths
from servemesh.observe.otlp_metrics import attributes_of, resource_of

MODEL, HOST = "shop", "shop-node"
WORKERS = tuple(f"shop-{number}" for number in range(1, 5))
ROWS_PER_RUN = 8
RUN_S = 0.03
DISK_BYTES = 100 << 30
REQUESTS_AT_ONCE = 50
_SCALE = 4
_DELTA = pb.AGGREGATION_TEMPORALITY_DELTA
# A call of one row waits for up to two runs before its own; nine in ten are near the middle.
_LATENCY_SHAPE = (*((0.6 + 0.05 * place, 1.0) for place in range(18)), (2.2, 1.0), (3.0, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """How things stand at a time: rows per second over all workers, and what is wrong."""

    rows_per_s: float
    slow_worker: str = ""
    slowness: float = 1.0
    """How many times longer a run of the slow worker takes."""
    disk_share: float = 0.55
    version: int = 1


def usual_rows_per_s(time_s: float) -> float:
    """Return the demand of a usual day at that time: most in the afternoon (UTC), least at night."""
    return 260.0 + 90.0 * math.sin((time_s / 3_600 - 9) / 24 * 2 * math.pi)


def requests(begin_s: float, end_s: float, now: Situation) -> list[export_pb2.ExportMetricsServiceRequest]:
    """Return what all workers and their machine send of a span of time."""
    share = now.rows_per_s * (end_s - begin_s) / len(WORKERS)
    slowness = {worker: now.slowness if worker == now.slow_worker else 1.0 for worker in WORKERS}
    made = [_of_worker(worker, begin_s, end_s, share, slowness[worker], now.version) for worker in WORKERS]
    return [*made, _of_host(begin_s, end_s, now)]


class Sender:
    """Sends them to the metrics service, as any SDK would."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address)
        self._export = self._channel.unary_unary(
            otlp_paths.METRICS,
            request_serializer=export_pb2.ExportMetricsServiceRequest.SerializeToString,
            response_deserializer=export_pb2.ExportMetricsServiceResponse.FromString,
        )
        self.point_count = 0

    def send(self, messages: Sequence[export_pb2.ExportMetricsServiceRequest]) -> None:
        """Send, many in one call; AssertionError if any point is refused."""
        for start in range(0, len(messages), REQUESTS_AT_ONCE):
            whole = export_pb2.ExportMetricsServiceRequest()
            for message in messages[start : start + REQUESTS_AT_ONCE]:
                whole.resource_metrics.extend(message.resource_metrics)
            answer = self._export(whole, timeout=60)
            assert not answer.partial_success.rejected_data_points, answer.partial_success.error_message
            self.point_count += sum(
                len(metric.ListFields()[-1][1].data_points)
                for resource in whole.resource_metrics
                for scope in resource.scope_metrics
                for metric in scope.metrics
            )

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()


def _of_worker(
    worker: str, begin_s: float, end_s: float, rows: float, slowness: float, version: int
) -> export_pb2.ExportMetricsServiceRequest:
    span_s, run_s = end_s - begin_s, RUN_S * slowness
    runs = min(rows / ROWS_PER_RUN, span_s / run_s)  # it cannot do more
    labels = {"model": MODEL, "version": str(version)}
    times = (begin_s, end_s)
    waits = 1.0 + 2.0 * (runs * run_s / span_s) ** 4  # the busier, the longer they wait
    return _request(
        {"service.name": "worker", "service.instance.id": worker},
        [
            _counter("servemesh.worker.calls", {**labels, "outcome": "answered"}, runs * ROWS_PER_RUN, times),
            _histogram(
                "servemesh.worker.call.duration", "s", labels, runs * ROWS_PER_RUN, run_s * waits, times
            ),
            _histogram("servemesh.worker.batch.duration", "s", labels, runs, run_s, times, is_even=True),
            _histogram("servemesh.worker.batch.rows", "", labels, runs, ROWS_PER_RUN, times, is_even=True),
            _gauge("servemesh.worker.slot.memory", "By", labels, 64 << 20, end_s),
            _gauge("servemesh.process.memory", "By", {}, 300 << 20, end_s),
        ],
    )


def _of_host(begin_s: float, end_s: float, now: Situation) -> export_pb2.ExportMetricsServiceRequest:
    of_host = {"host": HOST}
    busy = min(0.95, 0.1 + now.rows_per_s / 1_400)
    return _request(
        {"service.name": "worker", "service.instance.id": WORKERS[0]},
        [
            _gauge("servemesh.host.disk.used", "By", of_host, now.disk_share * DISK_BYTES, end_s),
            _gauge("servemesh.host.disk.max", "By", of_host, DISK_BYTES, end_s),
            _gauge("servemesh.host.cpu.busy", "", of_host, busy, end_s),
            _gauge("servemesh.host.memory.used", "By", of_host, 20 << 30, end_s),
            _gauge("servemesh.host.memory.max", "By", of_host, 64 << 30, end_s),
        ],
    )


def _request(
    resource: dict[str, str], metrics: Sequence[pb.Metric]
) -> export_pb2.ExportMetricsServiceRequest:
    of = resource_of(**{key.replace(".", "_dot_"): value for key, value in resource.items()})
    scope = pb.ScopeMetrics(metrics=metrics)
    return export_pb2.ExportMetricsServiceRequest(
        resource_metrics=[pb.ResourceMetrics(resource=of, scope_metrics=[scope])]
    )


def _counter(name: str, labels: dict[str, str], growth: float, times: tuple[float, float]) -> pb.Metric:
    point = pb.NumberDataPoint(attributes=attributes_of(labels), as_double=round(growth), **_times(*times))
    return pb.Metric(
        name=name, sum=pb.Sum(data_points=[point], aggregation_temporality=_DELTA, is_monotonic=True)
    )


def _gauge(name: str, unit: str, labels: dict[str, str], value: float, time_s: float) -> pb.Metric:
    point = pb.NumberDataPoint(
        attributes=attributes_of(labels), as_double=value, time_unix_nano=round(time_s * 1e9)
    )
    return pb.Metric(name=name, unit=unit, gauge=pb.Gauge(data_points=[point]))


def _histogram(
    name: str,
    unit: str,
    labels: dict[str, str],
    count: float,
    middle: float,
    times: tuple[float, float],
    *,
    is_even: bool = False,
) -> pb.Metric:
    shape = ((1.0, 1.0),) if is_even else _LATENCY_SHAPE
    weight = sum(each for _, each in shape)
    counts: dict[int, int] = {}
    for factor, each in shape:
        place = math.ceil(math.log2(middle * factor) * 2**_SCALE) - 1
        counts[place] = counts.get(place, 0) + round(count * each / weight)
    first, last = min(counts), max(counts)
    total = sum(counts.values())
    point = pb.ExponentialHistogramDataPoint(
        attributes=attributes_of(labels),
        count=total,
        sum=total * middle * sum(factor * each for factor, each in shape) / weight,
        scale=_SCALE,
        positive=pb.ExponentialHistogramDataPoint.Buckets(
            offset=first, bucket_counts=[counts.get(place, 0) for place in range(first, last + 1)]
        ),
        **_times(*times),
    )
    return pb.Metric(
        name=name,
        unit=unit,
        exponential_histogram=pb.ExponentialHistogram(data_points=[point], aggregation_temporality=_DELTA),
    )


def _times(begin_s: float, end_s: float) -> dict[str, int]:
    return {"start_time_unix_nano": round(begin_s * 1e9), "time_unix_nano": round(end_s * 1e9)}
