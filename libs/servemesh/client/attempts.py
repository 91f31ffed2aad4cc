"""What both clients share when they make calls: addresses in turn, time left, typed errors, trace headers."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import grpc

from servemesh.client import retries
from servemesh.client.retries import RetryPolicy
from servemesh.client.steps import Step, method_of
from servemesh.errors import ExpiredError, InvalidError, ServemeshError, UnavailableError
from servemesh.rpc.limits import MESSAGE_BYTES_MAX
from servemesh.rpc.options import channel_options
from servemesh.rpc.statuses import from_rpc_error

try:
    from opentelemetry import trace as otel
except ModuleNotFoundError:  # a program without it has no trace to carry on
    otel = None  # type: ignore[assignment]

T = TypeVar("T")
DEFAULT_ADDRESS = "127.0.0.1:8001"
FAIL_OVER_S = 0.75
"""Where there are other addresses, one that does not let us connect for so long is passed over.

A call goes on at the other one within a second of the death of an Envoy; three round trips to another continent fit in.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished(Generic[T]):
    """What an operation returned."""

    value: T


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a step ended: with a value, or with an error."""

    value: Any = None
    error: Exception | None = None


def advance(operation: Generator[Step, Any, T], outcome: Outcome) -> Step | Finished[T]:
    """Give the operation the outcome of its last step and return its next one, or its result."""
    try:
        return operation.throw(outcome.error) if outcome.error else operation.send(outcome.value)
    except StopIteration as stop:
        return Finished(value=stop.value)


class Addresses:
    """The addresses of a mesh, used one at a time: the one that answered last stays."""

    def __init__(self, addresses: Sequence[str]) -> None:
        if not addresses:
            raise InvalidError("no address is given", reason="ADDRESS_MISSING", field="addresses")
        self._addresses = tuple(addresses)
        self._current = 0

    def __len__(self) -> int:
        return len(self._addresses)

    def current(self) -> str:
        """Return the address to use now."""
        return self._addresses[self._current]

    def leave(self, address: str) -> None:
        """Go on to the next address, unless another thread or task has already left `address`."""
        if self.current() == address:
            self._current = (self._current + 1) % len(self._addresses)


class Attempt:
    """The state of one call over its attempts."""

    def __init__(
        self, addresses: Addresses, policy: RetryPolicy, until_s: float, random: Callable[[], float]
    ) -> None:
        self._addresses = addresses
        self._policy = policy
        self._until_s = until_s
        self._random = random
        self._made = 0
        self._start_s = time.monotonic()
        self.address = addresses.current()

    def left_s(self) -> float:
        """Return the time left; ExpiredError if it is over."""
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            raise ExpiredError("the call's time is over", reason="DEADLINE_EXCEEDED")
        return left_s

    def failed(self, error: grpc.RpcError | None) -> float:
        """Return how long to wait before the next attempt, at another address if there is one.

        Raises the typed error if there is to be none. `error` None: the address did not let us connect.
        """
        self._made += 1
        now_s = time.monotonic()
        typed = unreachable(self.address) if error is None else typed_error(error, self.address)
        pushback = None if error is None else retries.pushback_of(error.trailing_metadata())
        delay_s = retries.delay_s(
            self._policy,
            attempt=self._made,
            error=typed,
            pushback=pushback,
            passed_s=now_s - self._start_s,
            left_s=self._until_s - now_s,
            random=self._random,
        )
        if delay_s is None:
            raise typed
        self._addresses.leave(self.address)
        self.address = self._addresses.current()
        return 0.0 if pushback is None and self._made < len(self._addresses) else delay_s


def typed_error(error: grpc.RpcError, address: str) -> ServemeshError:
    """Return the error that the server raised, or that of an `address` where no server was reached."""
    # Whoever speaks for the mesh sends details with its status; errors of the connection have none.
    if error.code() is grpc.StatusCode.UNAVAILABLE and not error.trailing_metadata():
        return unreachable(address)
    return from_rpc_error(error)


def unreachable(address: str) -> ServemeshError:
    """Return the error of an address where nobody answers."""
    return UnavailableError(f"no mesh answers at {address}", reason=retries.NO_ANSWER, address=address)


def options() -> list[tuple[str, int]]:
    """Return what channels are opened with."""
    return channel_options(MESSAGE_BYTES_MAX)


@contextmanager
def traced(request_type: Any) -> Iterator[list[tuple[str, str]]]:
    """Give the metadata that carries the trace of one attempt of the RPC that takes `request_type`, in W3C form.

    If the program has set OpenTelemetry up, the attempt is a span of its own; if it only works for a trace, that
    trace is handed on as it is.
    """
    if otel is None:
        yield []
        return
    name = method_of(request_type).path[1:]
    service, _, method = name.rpartition("/")
    attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
    tracer = otel.get_tracer("servemesh")
    with tracer.start_as_current_span(
        name,
        kind=otel.SpanKind.CLIENT,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        context = span.get_span_context()
        value = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
        try:
            yield [("traceparent", value)] if context.is_valid else []
        except grpc.RpcError as error:
            span.set_status(otel.StatusCode.ERROR, error.code().name)
            raise
