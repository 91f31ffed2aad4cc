"""A call in an express lane is counted in and out once, answered once, and costs its neighbours nothing."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from servemesh.errors import ConflictError
from servemesh.observe import traces
from servemesh.rpc.calls import CallsInFlight, Deadlines
from servemesh.rpc.edge import HELD_BYTES_MAX, LONG
from servemesh.rpc.express import ExpressCall, Lane, Metadata
from servemesh.rpc.limits import Limits
from servemesh.rpc.registration import Layers

SAMPLED = (("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),)


class Front:
    """The native front as a lane sees it: remembers what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, object]] = []
        self.headers: list[object] = []

    def respond(self, number: int, payload: bytes, headers: object = None) -> bool:
        self.sent.append((number, payload))
        self.headers.append(headers)
        return True

    def fail(self, number: int, code: int, details: str, trailers: list[Any]) -> bool:
        self.sent.append((number, code))
        return True


class Waiting:
    """Recognises all but b"other", trips over b"trip", and keeps the calls for the test to answer."""

    def __init__(self) -> None:
        self.calls: list[ExpressCall] = []
        self.left = 0

    def recognise(self, payload: bytes, metadata: Metadata) -> Any:
        if payload == b"trip":
            raise ValueError(payload)
        return None if payload == b"other" else payload

    def run(self, call: ExpressCall, recognised: Any) -> None:
        if recognised == b"refuse":
            raise ConflictError("not now")
        self.calls.append(call)
        call.on_left = self._leave

    def _leave(self) -> None:
        self.left += 1


class Bench:
    """A lane with a front and a handler of the test's."""

    def __init__(self, calls_max: int = 8) -> None:
        self.in_flight, limits = CallsInFlight(calls_max), Limits()
        layers = Layers(
            calls=self.in_flight,
            deadlines=Deadlines(limits.deadline_s_default, limits.deadline_s_max),
            limits=limits,
            sends_pushback=False,
        )
        self.handler, self.front = Waiting(), Front()
        self.lane = Lane("/a.B/C", self.handler, layers)
        self.lane.front = self.front
        self._in_flight_before = self.lane.metrics.in_flight

    def take(self, number: int, payload: bytes = b"in", metadata: Metadata = ()) -> bool:
        return self.lane.take(number, payload, metadata, 5.0)

    @property
    def open(self) -> int:
        """Calls counted in and not out, which all who count agree on."""
        (counted,) = {len(self.lane.open), self.lane.metrics.in_flight - self._in_flight_before}
        return counted


@pytest.fixture
def exported() -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    traces.start(provider.get_tracer("test"), 0.0)
    yield exporter
    traces.stop()


async def test_only_the_headers_of_an_answer_that_the_edge_is_not_to_hold_say_so():
    bench = Bench()
    for number, size_bytes in enumerate((HELD_BYTES_MAX, HELD_BYTES_MAX + 1)):
        bench.take(number)
        bench.handler.calls[number].answer(bytes(size_bytes))
    assert bench.front.headers == [None, LONG]


async def test_a_call_is_answered_once_whatever_comes_after():
    bench = Bench()
    assert bench.take(1)
    (call,) = bench.handler.calls
    assert bench.open == 1
    call.answer(b"out")
    call.answer(b"again")
    call.fail(ConflictError("late"))
    call.cancel()
    assert not bench.lane.abandon(1)
    assert (bench.front.sent, bench.open, bench.handler.left) == ([(1, b"out")], 0, 0)
    assert await bench.in_flight.drain(0.0) == 0


async def test_a_call_whose_caller_left_is_never_answered_and_its_handler_told_once():
    bench = Bench()
    bench.take(1)
    bench.take(2)
    one, other = bench.handler.calls
    assert bench.lane.abandon(1)
    one.cancel()
    one.answer(b"out")
    other.answer(b"other's")
    assert (bench.front.sent, bench.open, bench.handler.left) == ([(2, b"other's")], 0, 1)


async def test_calls_left_when_a_stop_is_out_of_patience_are_unavailable_and_new_ones_too():
    bench = Bench()
    bench.take(1)
    assert await bench.in_flight.drain(0.0) == 1
    bench.take(2)
    unavailable = grpc.StatusCode.UNAVAILABLE.value[0]
    assert bench.front.sent == [(1, unavailable), (2, unavailable)]
    assert (bench.open, bench.handler.left) == (0, 1)


@pytest.mark.parametrize("payload", [b"other", b"trip"])
async def test_what_a_handler_does_not_recognise_or_trips_over_goes_to_the_servicer(payload: bytes):
    bench = Bench()
    assert not bench.take(1, payload)
    assert (bench.front.sent, bench.open) == ([], 0)


async def test_calls_refused_by_the_handler_or_the_bound_are_counted_out():
    bench = Bench(calls_max=1)
    assert bench.take(1, b"refuse")
    assert bench.take(2)
    assert bench.take(3)
    codes = [
        code.value[0] for code in (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.RESOURCE_EXHAUSTED)
    ]
    assert bench.front.sent == list(zip((1, 3), codes, strict=True))
    assert bench.open == 1


async def test_the_span_of_a_call_that_failed_says_so_and_ends(exported: InMemorySpanExporter):
    bench = Bench()
    bench.take(1, b"refuse", SAMPLED)
    bench.take(2, b"in", SAMPLED)
    bench.lane.abandon(2)
    bench.take(3, b"in", SAMPLED)
    bench.handler.calls[-1].answer(b"out")
    spans = exported.get_finished_spans()
    assert [span.status.status_code for span in spans] == [
        StatusCode.ERROR,
        StatusCode.ERROR,
        StatusCode.UNSET,
    ]
    assert [dict(span.attributes or {}).get("rpc.response.status_code") for span in spans] == [
        "FAILED_PRECONDITION",
        "CANCELLED",
        None,
    ]


async def test_what_worked_on_a_call_is_free_without_the_garbage_collector():
    class Ticket:
        def __init__(self, call: ExpressCall) -> None:
            self.call = call

        def leave(self) -> None:
            raise AssertionError("nobody left")

    bench = Bench()
    bench.take(1)
    ticket = Ticket(bench.handler.calls.pop())
    ticket.call.on_left = ticket.leave
    ended = weakref.ref(ticket)
    gc.disable()
    try:
        ticket.call.answer(b"out")
        del ticket
        assert ended() is None
    finally:
        gc.enable()


async def test_a_lane_that_is_stopped_answers_every_call_under_way_and_tells_who_worked_on_it():
    bench = Bench()
    for number in (1, 2, 3):
        bench.take(number)
    bench.handler.calls[1].answer(b"out")
    bench.lane.cancel()
    unavailable = grpc.StatusCode.UNAVAILABLE.value[0]
    assert bench.front.sent == [(2, b"out"), (1, unavailable), (3, unavailable)]
    assert (bench.open, bench.handler.left) == (0, 2)
