"""Carries out the steps of operations by blocking: the engine of `Client`."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import grpc

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.client import attempts, streaming
from servemesh.client.attempts import Addresses, Attempt, Finished, Outcome, advance
from servemesh.client.results import InferResult
from servemesh.client.retries import RetryPolicy
from servemesh.client.steps import Call, Operation, Pause, Receive, Send, Step, Work, method_of
from servemesh.client.streaming import InferRequest, Window
from servemesh.errors import ServemeshError

T = TypeVar("T")


class BlockingRunner:
    """Runs operations against the addresses of a mesh. May be used by many threads."""

    def __init__(self, addresses: Addresses, policy: RetryPolicy, random: Callable[[], float]) -> None:
        self._addresses = addresses
        self._policy = policy
        self._random = random
        self._channels: dict[str, grpc.Channel] = {}
        self._methods: dict[tuple[str, str], Any] = {}
        self._answering: set[str] = set()
        self._lock = threading.Lock()

    def run(self, operation: Operation[T], timeout_s: float) -> T:
        """Return the operation's result; raise its error."""
        until_s = time.monotonic() + timeout_s
        outcome = Outcome()
        while True:
            step = advance(operation, outcome)
            if isinstance(step, Finished):
                return step.value
            try:
                outcome = Outcome(value=self._taken(step, until_s))
            except (ServemeshError, OSError) as error:
                outcome = Outcome(error=error)

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for channel in self._channels.values():
                channel.close()
            self._channels.clear()
            self._methods.clear()

    def _taken(self, step: Step, until_s: float) -> Any:
        match step:
            case Call():
                return self._called(step, until_s)
            case Send() | Receive():
                return self._streamed(step, until_s)
            case Work():
                return step.work()
            case Pause():
                time.sleep(step.pause_s)

    def _called(self, step: Call, until_s: float) -> Any:
        attempt = Attempt(self._addresses, self._policy, until_s, self._random)
        while True:
            failure: grpc.RpcError | None = None
            if self._is_open(attempt.address):
                call = self._method(attempt.address, "unary_unary", type(step.request))
                try:
                    with attempts.traced(type(step.request)) as headers:
                        answer = call(step.request, timeout=attempt.left_s(), metadata=headers)
                except grpc.RpcError as error:
                    self._answering.discard(attempt.address)
                    failure = error
                else:
                    self._answering.add(attempt.address)
                    return answer
            time.sleep(attempt.failed(failure))

    def _streamed(self, step: Send | Receive, until_s: float) -> Any:
        attempt = Attempt(self._addresses, self._policy, until_s, self._random)
        try:
            if isinstance(step, Send):
                send = self._method(attempt.address, "stream_unary", step.request_type)
                with attempts.traced(step.request_type) as headers:
                    return send(step.requests(), timeout=attempt.left_s(), metadata=headers)
            receive = self._method(attempt.address, "unary_stream", type(step.request))
            with attempts.traced(type(step.request)) as headers:
                responses = receive(step.request, timeout=attempt.left_s(), metadata=headers)
                try:
                    for response in responses:
                        step.take(response)
                finally:
                    responses.cancel()
        except grpc.RpcError as error:
            raise attempts.typed_error(error, attempt.address) from error

    def stream(
        self, requests: Iterable[InferRequest], ahead_max: int, timeout_s: float | None
    ) -> Iterator[InferResult | ServemeshError]:
        """Send the requests on one stream and give the outcomes in their order."""
        window, outgoing = Window(ahead_max), queue.SimpleQueue[Any]()
        source, address = iter(requests), self._addresses.current()
        method = self._channel(address).stream_stream(
            streaming.METHOD,
            response_deserializer=pb.ModelStreamInferResponse.FromString,
        )
        with attempts.traced(pb.ModelInferRequest) as headers:
            answers = method(iter(outgoing.get, None), timeout=timeout_s, metadata=headers)
        try:
            has_more = True
            while has_more or window:
                while has_more and window.has_room():
                    request = next(source, None)
                    payload = window.opened(request) if request else None
                    has_more = request is not None
                    if payload is not None or not has_more:
                        outgoing.put(payload)
                yield from window.finished()
                if window:
                    window.arrived(next(answers))
                    yield from window.finished()
        except grpc.RpcError as error:
            raise attempts.typed_error(error, address) from error
        except StopIteration:
            raise streaming.ended_early() from None
        finally:
            outgoing.put(None)  # lets gRPC's own thread end
            answers.cancel()

    def _is_open(self, address: str) -> bool:
        """Whether to send to `address`: False if it does not let us connect and there are others."""
        if len(self._addresses) == 1 or address in self._answering:
            return True
        host, _, port = address.rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=attempts.FAIL_OVER_S):
                return True
        except OSError:
            return False

    def _channel(self, address: str) -> grpc.Channel:
        with self._lock:
            if address not in self._channels:
                self._channels[address] = grpc.insecure_channel(address, options=attempts.options())
            return self._channels[address]

    def _method(self, address: str, kind: str, request_type: Any) -> Any:
        method = method_of(request_type)
        found = self._methods.get((address, method.path))
        if found is None:
            found = getattr(self._channel(address), kind)(
                method.path,
                request_serializer=request_type.SerializeToString,
                response_deserializer=method.response_type.FromString,
            )
            self._methods[address, method.path] = found
        return found
