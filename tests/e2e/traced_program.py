"""A program with OpenTelemetry set up that infers and pushes; prints its trace id."""

import os
import sys
from collections.abc import Sequence

import numpy as np
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from servemesh.client import Client
from servemesh.observe import otlp_paths
from servemesh.observe.otlp_channel import OtlpChannel
from servemesh.observe.otlp_metrics import resource_of
from servemesh.observe.otlp_spans import request_of
from servemesh.observe.outbox import Letter, Verdict


class Exporter(SpanExporter):
    """Sends each span by itself; the SDK's own exporters cannot be installed beside the gateway's messages."""

    def __init__(self, channel: OtlpChannel) -> None:
        self._channel = channel

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        message = request_of(resource_of(service_dot_name="app"), spans).SerializeToString()
        outcome = self._channel.post(Letter(method=otlp_paths.TRACES, message=message), timeout_s=5.0)
        return SpanExportResult.SUCCESS if outcome.verdict is Verdict.TAKEN else SpanExportResult.FAILURE


with OtlpChannel.opened(os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"]) as collector:
    provider = TracerProvider(resource=Resource.create({"service.name": "app"}))
    provider.add_span_processor(SimpleSpanProcessor(Exporter(collector)))
    trace.set_tracer_provider(provider)
    with trace.get_tracer("app").start_as_current_span("work") as span, Client(sys.argv[1]) as client:
        client.infer("digits", {"image": np.zeros((1, 64), np.float32)})
        client.push("traced", sys.argv[2])
print(f"{span.get_span_context().trace_id:032x}")
