"""Reads spans out of OTLP's messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from servemesh.api.otlp.v1 import trace_pb2 as pb
from servemesh.metrics.api.otlp_messages import NS_PER_MS, attributes_of, resource_labels
from servemesh.metrics.domain.points import Labels
from servemesh.metrics.domain.spans import MESSAGE_CHARS_MAX, Span

TRACE_ID_BYTES, SPAN_ID_BYTES = 16, 8
NAME_CHARS_MAX = 200


def spans(request: Any) -> Iterator[Span | None]:
    """Yield every span; None for one without ids or times."""
    for resource in request.resource_spans:
        labels = resource_labels(resource.resource)
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield _span(labels, span)


def _span(labels: Labels, span: Any) -> Span | None:
    begin, end = span.start_time_unix_nano, span.end_time_unix_nano
    if len(span.trace_id) != TRACE_ID_BYTES or len(span.span_id) != SPAN_ID_BYTES or not 0 < begin <= end:
        return None
    return Span(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        name=span.name[:NAME_CHARS_MAX],
        labels=tuple(sorted({**dict(attributes_of(span.attributes)), **dict(labels)}.items())),
        begin_ms=begin // NS_PER_MS,
        duration_s=(end - begin) / 1e9,
        failed=span.status.code == pb.Status.STATUS_CODE_ERROR,
        message=span.status.message[:MESSAGE_CHARS_MAX],
    )
