"""What came over OTLP is sent on to a Collector as it came."""

from __future__ import annotations

import threading
from typing import Any

import grpc

from servemesh.api.otlp.v1 import metrics_export_pb2
from servemesh.metrics.adapters.otlp_forward import ForwardSettings, OtlpForward
from servemesh.observe import metrics, names, otlp_paths
from tests.harness.otlp_collector import serving_otlp

WAIT_S = 10.0


def a_request(service: str) -> Any:
    request = metrics_export_pb2.ExportMetricsServiceRequest()
    attribute = request.resource_metrics.add().resource.attributes.add(key="service.name")
    attribute.value.string_value = service
    return request


def dropped() -> float:
    (family,) = metrics.counter(names.METRICS_FORWARD_DROPPED).collect()
    return family.samples[0].value


class Collector:
    """Keeps what comes; is busy for the first so many times."""

    def __init__(self, *, busy: int = 0) -> None:
        self.busy = busy
        self.requests: list[Any] = []
        self.headers: dict[str, Any] = {}
        self.came = threading.Event()

    def take(self, request: Any, context: grpc.ServicerContext) -> None:
        if self.busy:
            self.busy -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "later")
        self.headers = dict(context.invocation_metadata())
        self.requests.append(request)
        self.came.set()


def test_requests_arrive_as_they_came_with_the_headers_that_are_asked_for():
    collector, sent = Collector(), a_request("worker")
    with serving_otlp(collector.take, lambda *_: None) as address:
        settings = ForwardSettings(endpoint=f"http://{address}", headers={"X-Key": "k1"})
        with OtlpForward.running(settings) as forward:
            forward.offer(otlp_paths.METRICS, sent.SerializeToString())
            assert collector.came.wait(WAIT_S)
    assert collector.requests == [sent]
    assert collector.headers["x-key"] == "k1"


def test_what_waits_at_the_end_is_sent_even_to_a_collector_that_was_busy():
    collector = Collector(busy=1)
    with serving_otlp(collector.take, lambda *_: None) as address:
        settings = ForwardSettings(endpoint=f"http://{address}", headers={})
        with OtlpForward.running(settings) as forward:
            for service in ("a", "b"):
                forward.offer(otlp_paths.METRICS, a_request(service).SerializeToString())
        assert collector.requests == [a_request("a"), a_request("b")]


def test_a_collector_that_is_down_costs_what_finds_no_room():
    before = dropped()
    settings = ForwardSettings(endpoint="http://127.0.0.1:9", headers={}, bytes_max=1_000)
    forward = OtlpForward(settings)
    for _ in range(3):
        forward.offer(otlp_paths.METRICS, b"x" * 400)
    assert dropped() - before == 1
