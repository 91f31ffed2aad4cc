"""Spans of our own: W3C trace context in and out, and next to nothing to pay for a call nobody samples."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from opentelemetry import trace as otel
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

TRACE_PARENT = "traceparent"
_TRACE_PARENT = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED = 1
_UNSAMPLED = "-00"
_PROBES = "/grpc.health.v1."  # asked twice a second by everybody: nothing to learn from

_current: ContextVar[Any] = ContextVar("servemesh_trace", default=None)


@dataclass(slots=True)
class _Sampling:
    """Where spans go; `tracer` is None while nobody collects them."""

    tracer: otel.Tracer | None = None
    ratio: float = 0.0


_sampling = _Sampling()


def start(tracer: otel.Tracer, ratio: float) -> None:
    """Record spans from now on: those whose caller sampled them, and `ratio` of those without a caller."""
    _sampling.tracer, _sampling.ratio = tracer, ratio


def stop() -> None:
    """Record no more spans."""
    _sampling.tracer = None


def current() -> SpanContext | None:
    """Return the trace and span that this task works for, if any."""
    held = _current.get()
    if held is None:
        return None
    if isinstance(held, otel.Span):
        return held.get_span_context()
    return _parent_of(held)


def is_recording() -> bool:
    """Whether anybody collects spans."""
    return _sampling.tracer is not None


def recorded() -> otel.Span | None:
    """Return the span that records what this task does; None and next to nothing to pay if none does."""
    if _sampling.tracer is None:
        return None
    held = _current.get()
    return held if isinstance(held, otel.Span) else None


def past(
    name: str,
    parent: SpanContext,
    start_ns: int,
    end_ns: int,
    links: Sequence[SpanContext] = (),
    error: str = "",
    **attributes: str | int,
) -> SpanContext:
    """Record a step that is over, in nanoseconds since 1970; return what its own steps hang from."""
    if _sampling.tracer is None:
        return parent
    around = otel.set_span_in_context(otel.NonRecordingSpan(parent))
    span = _sampling.tracer.start_span(
        name, around, attributes=attributes, links=[otel.Link(link) for link in links], start_time=start_ns
    )
    if error:
        span.set_status(otel.StatusCode.ERROR, error)
    span.end(end_ns)
    return span.get_span_context()


def headers() -> tuple[tuple[str, str], ...]:
    """Return the metadata that hands the current trace on to a call that this task makes."""
    context = current()
    if context is None:
        return ()
    return ((TRACE_PARENT, trace_parent(context)),)


def trace_parent(context: SpanContext) -> str:
    """Return the W3C form of `context`."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def parsed(text: str) -> SpanContext | None:
    """Return the context in a W3C traceparent; None if it is malformed."""
    match = _TRACE_PARENT.fullmatch(text)
    if match is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in match.groups())
    context = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
    return context if context.is_valid else None


@contextmanager
def span(name: str, **attributes: str | int | float | bool) -> Iterator[otel.Span | None]:
    """Record a step of the current trace; None and nothing to pay if that is not recorded."""
    held = _current.get()
    if _sampling.tracer is None or not isinstance(held, otel.Span):
        yield None
        return
    with _Recorded(name, held.get_span_context(), SpanKind.INTERNAL, attributes) as recording:
        yield recording


def server_span(method: str, call: Any) -> Any:
    """Return the context manager around a call that a server answers. `call` is its gRPC context."""
    if _sampling.tracer is None:
        return _Unrecorded(call)
    text = _parent_text(call)
    parent = _decided(text)
    if not _is_sampled(method, text, parent):
        return _Unrecorded(call)
    return _Recorded(method[1:], parent, SpanKind.SERVER, _attributes_of(method))


def detached_span(method: str, metadata: Iterable[tuple[str, str | bytes]]) -> otel.Span | None:
    """Start the span of a call that no task works on, if it is to be recorded; whoever answers the call ends it."""
    if _sampling.tracer is None:
        return None
    text = ""
    for key, value in metadata:
        if key == TRACE_PARENT:
            text = str(value)
            break
    if text[-3:] == _UNSAMPLED:  # nearly every call
        return None
    parent = parsed(text) if text else None
    if not _is_sampled(method, text, parent):
        return None
    around = otel.set_span_in_context(otel.NonRecordingSpan(parent)) if parent else None
    return _sampling.tracer.start_span(method[1:], around, SpanKind.SERVER, _attributes_of(method))


def _is_sampled(method: str, text: str, parent: SpanContext | None) -> bool:
    if text.endswith(_UNSAMPLED):
        return False
    return bool(parent.trace_flags & _SAMPLED) if parent else _is_drawn(method)


def _decided(text: str) -> SpanContext | None:
    """Return the caller's context; None, and no time spent on it, if the caller decided against a trace."""
    return None if not text or text.endswith(_UNSAMPLED) else parsed(text)


def _attributes_of(method: str) -> dict[str, Any]:
    service, _, name = method[1:].rpartition("/")
    return {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}


def http_span(route: str, call: Any) -> Any:
    """Return the context manager around a request that an HTTP server answers. `route` is "GET /path/{of}/it"."""
    if _sampling.tracer is None:
        return _Unrecorded(call)
    text = _parent_text(call)
    parent = _decided(text)
    if not _is_sampled(route, text, parent):
        return _Unrecorded(call)
    verb, _, path = route.partition(" ")
    return _Recorded(route, parent, SpanKind.SERVER, {"http.request.method": verb, "http.route": path})


def _is_drawn(method: str) -> bool:
    return random.random() < _sampling.ratio and not method.startswith(_PROBES)


class _Unrecorded:
    """Remembers the call, so that logs and calls onward can still name its trace if they happen."""

    __slots__ = ("_call",)

    def __init__(self, call: Any) -> None:
        self._call = call

    def __enter__(self) -> None:
        _current.set(self._call)

    def __exit__(self, *_: object) -> None:
        _current.set(None)


class _Recorded:
    """A span that is recorded, and current for the length of the block."""

    __slots__ = ("_before", "_span")

    def __init__(
        self, name: str, parent: SpanContext | None, kind: SpanKind, attributes: dict[str, Any]
    ) -> None:
        assert _sampling.tracer is not None
        around = otel.set_span_in_context(otel.NonRecordingSpan(parent)) if parent else None
        self._before = _current.get()
        self._span = _sampling.tracer.start_span(name, around, kind, attributes)

    def __enter__(self) -> otel.Span:
        _current.set(self._span)
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _current.set(self._before)
        if kind is not None:
            self._span.set_status(otel.StatusCode.ERROR, kind.__name__)
        self._span.end()


def _parent_of(call: Any) -> SpanContext | None:
    return parsed(_parent_text(call))


def _parent_text(call: Any) -> str:
    for key, value in call.invocation_metadata() or ():
        if key == TRACE_PARENT and isinstance(value, str):
            return value
    return ""
