"""OTLP over gRPC: what any OpenTelemetry SDK or Collector sends."""

from __future__ import annotations

from typing import Any, Protocol

import grpc

from servemesh.api.otlp.v1 import metrics_export_pb2, trace_export_pb2
from servemesh.metrics.api import otlp_messages, otlp_spans
from servemesh.metrics.service.ingesting import Arrived, Ingest
from servemesh.metrics.service.tracing import SpanIntake
from servemesh.observe import otlp_paths

Context = Any


class Forward(Protocol):
    """Sends requests on to somebody else; never waits."""

    def offer(self, method: str, message: bytes) -> None:
        """Send it on, if there is room for it to wait."""
        ...


class OtlpApi:
    """Serves the two methods of OTLP."""

    def __init__(self, ingest: Ingest, spans: SpanIntake, forward: Forward | None = None) -> None:
        self._ingest = ingest
        self._spans = spans
        self._forward = forward

    def register(self, server: Any) -> None:
        """Add them to a server."""
        requests: dict[str, tuple[Any, Any]] = {
            otlp_paths.METRICS: (self.metrics, metrics_export_pb2.ExportMetricsServiceRequest),
            otlp_paths.TRACES: (self.traces, trace_export_pb2.ExportTraceServiceRequest),
        }
        for path, (handler, request) in requests.items():
            _, service, method = path.split("/")
            wrapped = grpc.unary_unary_rpc_method_handler(
                handler,
                request_deserializer=request.FromString,
                response_serializer=lambda response: response.SerializeToString(),
            )
            server.add_registered_method_handlers(service, {method: wrapped})

    async def metrics(
        self, request: Any, context: Context
    ) -> metrics_export_pb2.ExportMetricsServiceResponse:
        """Take metrics."""
        arrived = Arrived(
            samples=otlp_messages.samples(request),
            count=lambda: otlp_messages.point_count(request),
            size_bytes=request.ByteSize(),
        )
        receipt = await self._ingest.take(arrived)
        if self._forward is not None:
            self._forward.offer(otlp_paths.METRICS, request.SerializeToString())
        response = metrics_export_pb2.ExportMetricsServiceResponse()
        if receipt.rejected_count:
            response.partial_success.rejected_data_points = receipt.rejected_count
            response.partial_success.error_message = receipt.reason
        return response

    async def traces(self, request: Any, context: Context) -> trace_export_pb2.ExportTraceServiceResponse:
        """Take spans."""
        rejected_count = self._spans.take(otlp_spans.spans(request))
        if self._forward is not None:
            self._forward.offer(otlp_paths.TRACES, request.SerializeToString())
        response = trace_export_pb2.ExportTraceServiceResponse()
        if rejected_count:
            response.partial_success.rejected_spans = rejected_count
            response.partial_success.error_message = "spans without id or time, or more than are kept"
        return response
