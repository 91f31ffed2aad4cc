"""Sends spans and metrics to an OpenTelemetry collector over gRPC; one that is down costs data, never time of a call.

One thread does all of it. The SDK's own exporters need `opentelemetry-proto`, whose modules and those of xds-protos
overwrite each other in one environment.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from servemesh.observe import metrics, names, otlp_paths, traces
from servemesh.observe.otlp_channel import OtlpChannel
from servemesh.observe.otlp_metrics import Reading, resource_of
from servemesh.observe.otlp_spans import SpanQueue, request_of
from servemesh.observe.outbox import Letter, Outbox, Outcome

EXPORT_TIMEOUT_S = 3.0
METRICS_INTERVAL_S = 5.0
SPANS_INTERVAL_S = 1.0
SHUTDOWN_S = 3.0

_log = logging.getLogger(__name__)


@asynccontextmanager
async def exporting(service: str, instance: str, endpoint: str, sample_ratio: float) -> AsyncIterator[None]:
    """Export for the length of the block; leaving it takes at most about SHUTDOWN_S, collector or not."""
    resource = resource_of(
        service_dot_name=f"servemesh-{service}",
        service_dot_namespace="servemesh",
        service_dot_instance_dot_id=instance,
        host_dot_name=socket.gethostname(),
    )
    spans = SpanQueue()
    provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(spans)
    with OtlpChannel.opened(endpoint) as channel:
        reading = Reading(resource, time.time_ns())
        pump = _Pump(channel, reading, spans)
        pump.start()
        metrics.LEAVING.append(reading.left)
        traces.start(provider.get_tracer("servemesh"), sample_ratio)
        try:
            yield
        finally:
            traces.stop()
            metrics.LEAVING.remove(reading.left)
            pump.end_by(time.monotonic() + SHUTDOWN_S)
            # The pump sends once more: a channel closed before that would refuse it.
            await asyncio.to_thread(pump.join, SHUTDOWN_S)


class _Pump(threading.Thread):
    """Sends at its intervals, and once more at the end."""

    def __init__(self, channel: OtlpChannel, reading: Reading, spans: SpanQueue) -> None:
        super().__init__(name="servemesh-otlp", daemon=True)
        self._channel = channel
        self._reading = reading
        self._spans = spans
        self._ended = threading.Event()
        self._until_s: float | None = None
        self._dropped = metrics.counter(names.PROCESS_TELEMETRY_DROPPED)
        self._outbox = Outbox(self._lost, random.random)

    def end_by(self, until_s: float) -> None:
        """Send what there is, for so long at most, and end."""
        self._until_s = until_s
        self._ended.set()

    def run(self) -> None:
        """Run until `end_by`."""
        # Processes that start together spread.
        next_s = time.monotonic() + METRICS_INTERVAL_S * random.random()
        last = failing = False
        while not last:
            last = self._ended.wait(SPANS_INTERVAL_S)
            if last or time.monotonic() >= next_s:
                next_s = max(next_s, time.monotonic() - METRICS_INTERVAL_S) + METRICS_INTERVAL_S
                message = self._reading.taken(time.time_ns()).SerializeToString()
                self._outbox.put(Letter(method=otlp_paths.METRICS, message=message))
            while spans := self._spans.taken():
                message = request_of(self._reading.resource, spans).SerializeToString()
                self._outbox.put(Letter(method=otlp_paths.TRACES, message=message, weight=len(spans)))
            self._outbox.send(self._post, time.monotonic, last=last)
            if self._outbox.is_failing != failing:
                failing = self._outbox.is_failing
                _log.warning(names.OTLP_FAILED if failing else names.OTLP_BACK)

    def _post(self, letter: Letter) -> Outcome:
        left_s = EXPORT_TIMEOUT_S if self._until_s is None else self._until_s - time.monotonic()
        return self._channel.post(letter, min(EXPORT_TIMEOUT_S, max(0.0, left_s)))

    def _lost(self, letter: Letter) -> None:
        signal = "metrics" if letter.method == otlp_paths.METRICS else "spans"
        self._dropped.labels(signal=signal).inc(letter.weight)
