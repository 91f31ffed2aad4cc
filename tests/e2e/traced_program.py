"""A program with OpenTelemetry set up that infers and pushes; prints its trace id."""

import sys

import numpy as np
from opentelemetry import trace
from opentelemetry.exporter.otlp.json.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from servemesh.client import Client

provider = TracerProvider(resource=Resource.create({"service.name": "app"}))
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
with trace.get_tracer("app").start_as_current_span("work") as span, Client(sys.argv[1]) as client:
    client.infer("digits", {"image": np.zeros((1, 64), np.float32)})
    client.push("traced", sys.argv[2])
print(f"{span.get_span_context().trace_id:032x}")
