"""A little OpenTelemetry collector in a process of its own: takes OTLP over gRPC.

`python -m tests.harness.otlp_collector FILE` prints its address and appends what it gets to FILE, a JSON object a
line; with `--silent` it takes connections and requests, and never answers.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from servemesh.api.otlp.v1 import metrics_export_pb2, resource_pb2, trace_export_pb2
from servemesh.observe import otlp_paths
from tests.harness.processes import Child

Export = Callable[[Any, grpc.ServicerContext], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedSpan:
    """One span as the collector got it; ids in hexadecimal."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    links: list[str]
    is_error: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Collector:
    """A collector that runs."""

    endpoint: str
    file: Path
    pid: int

    def spans(self, trace_id: str) -> list[ExportedSpan]:
        """Return what came of one trace so far."""
        spans = [ExportedSpan(**item) for item in self._received("span")]
        return [span for span in spans if span.trace_id == trace_id]

    def metrics(self) -> set[tuple[str, str]]:
        """Return which services sent which metrics so far."""
        return {(item["service"], item["name"]) for item in self._received("metric")}

    def _received(self, kind: str) -> Iterator[dict[str, Any]]:
        for line in self.file.read_text().splitlines():
            what, item = json.loads(line)
            if what == kind:
                yield item


@contextmanager
def running_collector(folder: Path, *, silent: bool = False) -> Iterator[Collector]:
    """Run one for the length of the block."""
    file = folder / "collected.jsonl"
    file.touch()
    command = [sys.executable, "-m", "tests.harness.otlp_collector", str(file), *(["--silent"] * silent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        Child.shared_pids.add(process.pid)
        assert process.stdout is not None
        try:
            yield Collector(endpoint=process.stdout.readline().strip(), file=file, pid=process.pid)
        finally:
            process.kill()


@contextmanager
def serving_otlp(
    metrics: Export, traces: Export, credentials: grpc.ServerCredentials | None = None
) -> Iterator[str]:
    """Answer OTLP's two methods for the length of the block; yield the address."""
    server = grpc.server(ThreadPoolExecutor(max_workers=8))
    services = ((otlp_paths.METRICS, metrics, metrics_export_pb2.ExportMetricsServiceRequest.FromString),)
    services += ((otlp_paths.TRACES, traces, trace_export_pb2.ExportTraceServiceRequest.FromString),)
    for path, export, deserializer in services:
        _, service, method = path.split("/")
        handler = grpc.unary_unary_rpc_method_handler(
            export, request_deserializer=deserializer, response_serializer=lambda answer: answer or b""
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    address = "127.0.0.1:0"
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def spans_of(request: trace_export_pb2.ExportTraceServiceRequest) -> Iterator[dict[str, Any]]:
    """Yield the spans of a request."""
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield {
                    "service": service_of(resource.resource),
                    "name": span.name,
                    "trace_id": span.trace_id.hex(),
                    "span_id": span.span_id.hex(),
                    "parent_id": span.parent_span_id.hex(),
                    "links": [link.span_id.hex() for link in span.links],
                    "is_error": span.status.code == 2,
                }


def metrics_of(request: metrics_export_pb2.ExportMetricsServiceRequest) -> Iterator[dict[str, Any]]:
    """Yield the names of the metrics of a request."""
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                yield {"service": service_of(resource.resource), "name": metric.name}


def service_of(resource: resource_pb2.Resource) -> str:
    """Return the name of the service that a resource is of."""
    attributes = {item.key: item.value.string_value for item in resource.attributes}
    return attributes.get("service.name", "")


def _main(file: Path, *, silent: bool) -> None:
    lock = threading.Lock()

    def keep(kind: str, items: Iterator[dict[str, Any]]) -> bytes:
        if silent:
            threading.Event().wait()
        lines = [json.dumps([kind, item]) + "\n" for item in items]
        with lock, file.open("a") as output:
            output.writelines(lines)
        return b""

    with serving_otlp(
        lambda request, _: keep("metric", metrics_of(request)),
        lambda request, _: keep("span", spans_of(request)),
    ) as address:
        print(f"http://{address}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    _main(Path(sys.argv[1]), silent="--silent" in sys.argv)
