"""A little OpenTelemetry collector in a process of its own: takes OTLP over HTTP, as JSON and as protobuf.

`python -m tests.harness.otlp_collector FILE` prints its address and appends what it gets to FILE, a JSON object a
line; with `--silent` it takes connections and requests, and never answers.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb

from tests.harness.processes import Child


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


def from_json(body: bytes, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the spans or metrics of a request that our own processes make."""
    message = json.loads(body)
    if path == "/v1/metrics":
        for resource in message["resourceMetrics"]:
            for scope in resource["scopeMetrics"]:
                for metric in scope["metrics"]:
                    yield "metric", {"service": _service(resource), "name": metric["name"]}
        return
    for resource in message["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                yield (
                    "span",
                    {
                        "service": _service(resource),
                        "name": span["name"],
                        "trace_id": span["traceId"],
                        "span_id": span["spanId"],
                        "parent_id": span.get("parentSpanId", ""),
                        "links": [link["spanId"] for link in span.get("links", ())],
                        "is_error": span.get("status", {}).get("code") in (2, "STATUS_CODE_ERROR"),
                    },
                )


def from_protobuf(body: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the spans of a request that Envoy makes."""
    for resource in pb.ExportTraceServiceRequest.FromString(body).resource_spans:
        attributes = {item.key: item.value.string_value for item in resource.resource.attributes}
        for scope in resource.instrumentation_library_spans:  # as scopes were called
            for span in scope.spans:
                yield (
                    "span",
                    {
                        "service": attributes.get("service.name", ""),
                        "name": span.name,
                        "trace_id": span.trace_id.hex(),
                        "span_id": span.span_id.hex(),
                        "parent_id": span.parent_span_id.hex(),
                        "links": [link.span_id.hex() for link in span.links],
                        "is_error": span.status.code == 2,
                    },
                )


def _service(resource: dict[str, Any]) -> str:
    attributes = {item["key"]: item["value"] for item in resource["resource"]["attributes"]}
    return str(attributes["service.name"]["stringValue"])


def _main(file: Path, *, silent: bool) -> None:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            if silent:
                threading.Event().wait()
            body = self._body()
            is_json = "json" in self.headers["Content-Type"]
            received = list(from_json(body, self.path) if is_json else from_protobuf(body))
            with lock, file.open("a") as output:
                output.writelines(json.dumps(item) + "\n" for item in received)
            self.send_response(200)
            self.send_header("Content-Type", self.headers["Content-Type"])
            self.send_header("Content-Length", "2" if is_json else "0")
            self.end_headers()
            self.wfile.write(b"{}" if is_json else b"")

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers["Content-Length"]))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # who sends to a collector that stood still has left

    server = Server(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    _main(Path(sys.argv[1]), silent="--silent" in sys.argv)
