"""Keeps spans until they are sent, and turns them into OTLP's messages."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import SpanContext

from servemesh.api.otlp.v1 import common_pb2, resource_pb2, trace_export_pb2, trace_pb2
from servemesh.observe import metrics, names

WAITING_MAX = 2_048
BATCH_MAX = 512


class SpanQueue(SpanProcessor):
    """Takes spans as they end; those that find no room are dropped and counted."""

    def __init__(self) -> None:
        self._spans: deque[ReadableSpan] = deque()
        self._dropped = metrics.counter(names.PROCESS_TELEMETRY_DROPPED).labels(signal="spans")

    def on_end(self, span: ReadableSpan) -> None:
        """Keep it, if there is room."""
        if len(self._spans) < WAITING_MAX:
            self._spans.append(span)
        else:
            self._dropped.inc()

    def taken(self) -> list[ReadableSpan]:
        """Take out the oldest, at most BATCH_MAX."""
        return [self._spans.popleft() for _ in range(min(len(self._spans), BATCH_MAX))]


def request_of(
    resource: resource_pb2.Resource, spans: Iterable[ReadableSpan]
) -> trace_export_pb2.ExportTraceServiceRequest:
    """Return the message that carries these spans."""
    scope = trace_pb2.ScopeSpans(
        scope=common_pb2.InstrumentationScope(name="servemesh"), spans=[_message(span) for span in spans]
    )
    return trace_export_pb2.ExportTraceServiceRequest(
        resource_spans=[trace_pb2.ResourceSpans(resource=resource, scope_spans=[scope])]
    )


def _message(span: ReadableSpan) -> trace_pb2.Span:
    context = span.context
    message = trace_pb2.Span(
        trace_id=_trace_id(context),
        span_id=_span_id(context),
        parent_span_id=_span_id(span.parent) if span.parent else b"",
        flags=context.trace_flags,
        name=span.name,
        kind=trace_pb2.Span.SpanKind.Name(span.kind.value + 1),  # OTLP keeps 0 for what is not said
        start_time_unix_nano=span.start_time or 0,
        end_time_unix_nano=span.end_time or 0,
        attributes=_attributes(span.attributes or {}),
        links=[
            trace_pb2.Span.Link(trace_id=_trace_id(link.context), span_id=_span_id(link.context))
            for link in span.links
        ],
    )
    message.status.code = trace_pb2.Status.StatusCode.Value(f"STATUS_CODE_{span.status.status_code.name}")
    message.status.message = span.status.description or ""
    return message


def _attributes(values: Mapping[str, object]) -> list[common_pb2.KeyValue]:
    return [common_pb2.KeyValue(key=key, value=_value(value)) for key, value in values.items()]


def _value(value: object) -> common_pb2.AnyValue:
    if isinstance(value, bool):
        return common_pb2.AnyValue(bool_value=value)
    if isinstance(value, int):
        return common_pb2.AnyValue(int_value=value)
    if isinstance(value, float):
        return common_pb2.AnyValue(double_value=value)
    return common_pb2.AnyValue(string_value=str(value))


def _trace_id(context: SpanContext) -> bytes:
    return context.trace_id.to_bytes(16, "big")


def _span_id(context: SpanContext) -> bytes:
    return context.span_id.to_bytes(8, "big")
