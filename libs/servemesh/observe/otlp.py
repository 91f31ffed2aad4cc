"""Sends spans and metrics to an OpenTelemetry collector; one that is down costs data, never time of a call.

As JSON over HTTP: the protobuf exporters need `opentelemetry-proto`, whose modules and those of xds-protos
overwrite each other in one environment.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from opentelemetry.exporter.otlp.json.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.json.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import export as otel
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from servemesh.observe import names, traces
from servemesh.observe.otlp_metrics import converted

EXPORT_TIMEOUT_S = 3
METRICS_INTERVAL_S = 15.0
SPANS_QUEUE_MAX = 2_048
SHUTDOWN_S = 3.0

_log = logging.getLogger(__name__)


@asynccontextmanager
async def exporting(service: str, instance: str, endpoint: str, sample_ratio: float) -> AsyncIterator[None]:
    """Export for the length of the block; leaving it takes at most about SHUTDOWN_S, collector or not."""
    resource = Resource.create(
        {
            "service.name": f"servemesh-{service}",
            "service.namespace": "servemesh",
            "service.instance.id": instance,
        }
    )
    base = endpoint.rstrip("/")
    spans = OTLPSpanExporter(endpoint=f"{base}/v1/traces", timeout=EXPORT_TIMEOUT_S)
    processor = BatchSpanProcessor(
        spans, max_queue_size=SPANS_QUEUE_MAX, export_timeout_millis=EXPORT_TIMEOUT_S * 1000
    )
    provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(processor)
    metrics = OTLPMetricExporter(endpoint=f"{base}/v1/metrics", timeout=EXPORT_TIMEOUT_S)
    ended = threading.Event()
    pump = threading.Thread(
        target=_pump, args=(metrics, resource, ended), name="servemesh-otlp-metrics", daemon=True
    )
    pump.start()
    traces.start(provider.get_tracer("servemesh"), sample_ratio)
    try:
        yield
    finally:
        traces.stop()
        ended.set()
        until_s = time.monotonic() + SHUTDOWN_S
        await _within(provider.shutdown, until_s)
        # The pump sends once more: an exporter shut down before that would refuse it.
        await asyncio.to_thread(pump.join, max(0.0, until_s - time.monotonic()))
        await _within(metrics.shutdown, until_s)


def _pump(exporter: OTLPMetricExporter, resource: Resource, ended: threading.Event) -> None:
    failing = False
    while True:
        last = ended.wait(METRICS_INTERVAL_S)
        result = exporter.export(converted(resource, time.time_ns()))
        failed = result is not otel.MetricExportResult.SUCCESS
        if failed != failing:
            _log.warning(names.OTLP_FAILED if failed else names.OTLP_BACK)
        failing = failed
        if last:
            return


async def _within(end: Callable[[], None], until_s: float) -> None:
    """Run `end` in a daemon thread, which may outlive us: the SDK's own shutdown can wait a minute."""
    thread = threading.Thread(target=end, name="servemesh-otlp-shutdown", daemon=True)
    thread.start()
    await asyncio.to_thread(thread.join, max(0.0, until_s - time.monotonic()))
