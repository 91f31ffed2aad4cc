"""Spans follow the caller's decision, and its trace goes on without a collector."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from servemesh.observe import logs, traces

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = f"00-{TRACE_ID}-{SPAN_ID}-01", f"00-{TRACE_ID}-{SPAN_ID}-00"


class IncomingCall:
    def __init__(self, *metadata: tuple[str, str]) -> None:
        self._metadata = metadata

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata


@pytest.fixture
def exported() -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    traces.start(provider.get_tracer("test"), 0.0)
    yield exporter
    traces.stop()


def test_a_sampled_caller_gets_spans_under_its_own(exported: InMemorySpanExporter):
    with traces.server_span("/a.B/C", IncomingCall(("traceparent", SAMPLED))), traces.span("step", rows=2):
        handed_on = dict(traces.headers())["traceparent"]
    step, call = exported.get_finished_spans()
    assert (call.name, step.name) == ("a.B/C", "step")
    assert f"{call.context.trace_id:032x}" == TRACE_ID
    assert f"{call.parent.span_id:016x}" == SPAN_ID
    assert step.parent.span_id == call.context.span_id
    assert dict(step.attributes) == {"rows": 2}
    assert handed_on == f"00-{TRACE_ID}-{step.context.span_id:016x}-01"
    assert traces.current() is None


def test_a_caller_who_is_not_sampled_leaves_no_span_and_its_trace_goes_on(exported: InMemorySpanExporter):
    with traces.server_span("/a.B/C", IncomingCall(("traceparent", UNSAMPLED))), traces.span("step"):
        assert traces.headers() == (("traceparent", UNSAMPLED),)
    assert exported.get_finished_spans() == ()


def test_without_a_collector_the_callers_trace_is_still_in_logs_and_calls_onward():
    record = logging.makeLogRecord({"msg": "x"})
    with traces.server_span("/a.B/C", IncomingCall(("traceparent", SAMPLED))):
        line = json.loads(logs.JsonFormatter("s", "i").format(record))
        assert traces.headers() == (("traceparent", SAMPLED),)
    assert (line["trace_id"], line["span_id"]) == (TRACE_ID, SPAN_ID)


def test_a_call_without_a_trace_has_none():
    with traces.server_span("/a.B/C", IncomingCall()):
        assert traces.headers() == ()


def test_a_span_that_fails_says_so_without_the_text(exported: InMemorySpanExporter):
    with (
        pytest.raises(ValueError, match="secret"),
        traces.server_span("/a.B/C", IncomingCall(("traceparent", SAMPLED))),
    ):
        raise ValueError("secret")
    (call,) = exported.get_finished_spans()
    assert call.status.description == "ValueError"
    assert call.events == ()


@given(st.text(max_size=70))
def test_a_malformed_traceparent_is_no_trace(text: str):
    context = traces.parsed(text)
    assert context is None or traces.trace_parent(context) == text


@pytest.mark.parametrize("text", [SAMPLED, UNSAMPLED])
def test_a_traceparent_reads_back(text: str):
    context = traces.parsed(text)
    assert context is not None
    assert traces.trace_parent(context) == text


@pytest.mark.parametrize("text", [f"00-{'0' * 32}-{SPAN_ID}-01", f"00-{TRACE_ID}-{'0' * 16}-01"])
def test_ids_of_zero_are_no_trace(text: str):
    assert traces.parsed(text) is None
