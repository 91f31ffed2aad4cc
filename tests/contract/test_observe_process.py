"""What a process shows of itself: metrics, health, spans and logs, over real sockets."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

from servemesh.errors import UnavailableError
from servemesh.observe import metrics, names, traces
from servemesh.observe.calls import calls_of
from servemesh.observe.endpoint import exposing
from servemesh.observe.otlp_metrics import converted
from servemesh.observe.setup import setup


class OneNumber:
    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("nv_test_number", "a number of another's making", value=7)


class CallWithoutTrace:
    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()


@contextmanager
def collector() -> Iterator[tuple[str, dict[str, str]]]:
    """Take OTLP over HTTP; yield the endpoint, and what came by path."""
    received: dict[str, str] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received[self.path] = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


async def test_a_process_shows_its_metrics_and_its_health():
    async with setup("worker", instance="w1") as observation:
        calls_of("/test.Shown/Call").ended(calls_of("/test.Shown/Call").started())
        url = f"http://{observation.metrics_address}"
        status, text = await asyncio.to_thread(get, f"{url}/metrics")
        healthy, body = await asyncio.to_thread(get, f"{url}/healthz")
        missing, _ = await asyncio.to_thread(get, f"{url}/etc/passwd")
    assert (status, healthy, missing) == (200, 200, 404)
    assert json.loads(body)["loop_lag_s"] < 5
    families = {family.name: family for family in text_string_to_metric_families(text)}
    samples = {
        (s.name, s.labels.get("method")): s.value for s in families["servemesh_rpc_server_calls"].samples
    }
    assert samples["servemesh_rpc_server_calls_total", "/test.Shown/Call"] == 1
    assert "servemesh_rpc_server_duration_seconds" in families
    assert "process_resident_memory_bytes" in families


def test_a_loop_that_hangs_is_reported_by_the_thread_beside_it():
    with exposing("127.0.0.1:0", lambda: 60.0) as address:
        status, body = get(f"http://{address}/healthz")
    assert (status, json.loads(body)) == (503, {"loop_lag_s": 60.0})


def test_a_taken_metrics_port_is_a_clear_error():
    with (
        exposing("127.0.0.1:0", lambda: 0.0) as address,
        pytest.raises(UnavailableError, match=address),
        exposing(address, lambda: 0.0),
    ):
        pass


def test_collectors_of_others_are_shown_for_the_length_of_their_block():
    with metrics.collecting(OneNumber()):
        assert b"nv_test_number 7.0" in metrics.exposition()
    assert b"nv_test_number" not in metrics.exposition()


def test_every_metric_name_follows_the_rule():
    declared = [value for value in vars(names).values() if isinstance(value, names.Metric)]
    assert declared
    for metric in declared:
        parts = metric.name.split(".")
        assert parts[0] in ("servemesh", "nv"), metric.name
        assert not metric.name.endswith(("_s", "_ms", "_bytes", "_seconds", "_total")), metric.name
    assert len({metric.name for metric in declared}) == len(declared)


async def test_a_collector_that_is_down_does_not_hold_up_the_end():
    async with setup("worker", instance="w1", otlp_endpoint="http://127.0.0.1:9", sample_ratio=1.0):
        with traces.server_span("/a.B/C", CallWithoutTrace()):
            pass
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 5


async def test_a_collector_gets_spans_and_metrics():
    with collector() as (endpoint, received):
        async with setup("worker", instance="w1", otlp_endpoint=endpoint, sample_ratio=1.0):
            with traces.server_span("/a.B/C", CallWithoutTrace()):
                pass
    spans, numbers = received["/v1/traces"], received["/v1/metrics"]
    assert '"a.B/C"' in spans
    assert '"servemesh-worker"' in spans
    assert '"servemesh_process_loop_lag_seconds"' in numbers


def test_otlp_gets_the_same_numbers_as_prometheus():
    registry = CollectorRegistry()
    Counter("calls", "h", ["code"], registry=registry).labels(code="OK").inc(3)
    Gauge("slots", "h", registry=registry).set(2)
    histogram = Histogram("duration", "h", unit="seconds", buckets=(0.1, 1.0), registry=registry)
    for value in (0.05, 0.5, 0.6, 7.0):
        histogram.observe(value)
    data = converted(Resource.get_empty(), 1, registry.collect())
    shown = {metric.name: metric.data for metric in data.resource_metrics[0].scope_metrics[0].metrics}
    (point,) = (point for point in shown["calls"].data_points if point.value == 3)
    assert dict(point.attributes) == {"code": "OK"}
    assert [point.value for point in shown["slots"].data_points] == [2]
    (durations,) = shown["duration_seconds"].data_points
    assert (durations.count, durations.bucket_counts, durations.explicit_bounds) == (4, [1, 2, 1], [0.1, 1.0])
    assert durations.sum == pytest.approx(8.15)
