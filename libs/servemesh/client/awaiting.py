"""Carries out the steps of operations by awaiting: the engine of `AsyncClient`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from typing import Any, TypeVar

import grpc

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.client import attempts, streaming
from servemesh.client.attempts import Addresses, Attempt, Finished, Outcome, advance
from servemesh.client.results import InferResult
from servemesh.client.retries import RetryPolicy
from servemesh.client.steps import Call, Operation, Pause, Receive, Send, Step, Work, method_of
from servemesh.client.streaming import InferRequest, Window
from servemesh.errors import ServemeshError, UnavailableError

T = TypeVar("T")


class AwaitingRunner:
    """Runs operations against the addresses of a mesh, on the event loop of its first call."""

    def __init__(self, addresses: Addresses, policy: RetryPolicy, random: Callable[[], float]) -> None:
        self._addresses = addresses
        self._policy = policy
        self._random = random
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._methods: dict[tuple[str, str], Any] = {}

    async def run(self, operation: Operation[T], timeout_s: float) -> T:
        """Return the operation's result; raise its error."""
        until_s = time.monotonic() + timeout_s
        outcome = Outcome()
        while True:
            step = advance(operation, outcome)
            if isinstance(step, Finished):
                return step.value
            try:
                outcome = Outcome(value=await self._taken(step, until_s))
            except (ServemeshError, OSError) as error:
                outcome = Outcome(error=error)

    async def close(self) -> None:
        """Close every connection."""
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()
        self._methods.clear()

    async def _taken(self, step: Step, until_s: float) -> Any:
        match step:
            case Call():
                return await self._called(step, until_s)
            case Send() | Receive():
                return await self._streamed(step, until_s)
            case Work():
                return await asyncio.to_thread(step.work)
            case Pause():
                await asyncio.sleep(step.pause_s)

    async def _called(self, step: Call, until_s: float) -> Any:
        attempt = Attempt(self._addresses, self._policy, until_s, self._random)
        while True:
            failure: grpc.RpcError | None = None
            if await self._is_open(attempt.address):
                method = self._method(attempt.address, "unary_unary", type(step.request))
                try:
                    with attempts.traced(type(step.request)) as headers:
                        call = method(step.request, timeout=attempt.left_s(), metadata=headers)
                        try:
                            return await call
                        finally:
                            call.cancel()  # a call that nobody awaits lives as long as its channel
                except grpc.aio.AioRpcError as error:
                    failure = error
            await asyncio.sleep(attempt.failed(failure))

    async def _streamed(self, step: Send | Receive, until_s: float) -> Any:
        attempt = Attempt(self._addresses, self._policy, until_s, self._random)
        request_type: Any = step.request_type if isinstance(step, Send) else type(step.request)
        try:
            with attempts.traced(request_type) as headers:
                return await self._exchanged(step, request_type, attempt, headers)
        except grpc.aio.AioRpcError as error:
            raise attempts.typed_error(error, attempt.address) from error

    async def _exchanged(
        self, step: Send | Receive, request_type: Any, attempt: Attempt, headers: list[tuple[str, str]]
    ) -> Any:
        kind = "stream_unary" if isinstance(step, Send) else "unary_stream"
        requests = _read(step) if isinstance(step, Send) else step.request
        call = self._method(attempt.address, kind, request_type)(
            requests, timeout=attempt.left_s(), metadata=headers
        )
        try:
            if isinstance(step, Send):
                return await call
            async for response in call:
                await asyncio.to_thread(step.take, response)
        finally:
            call.cancel()

    async def stream(
        self,
        requests: Iterable[InferRequest] | AsyncIterable[InferRequest],
        ahead_max: int,
        timeout_s: float | None,
    ) -> AsyncGenerator[InferResult | ServemeshError, None]:
        """Send the requests on one stream and give the outcomes in their order."""
        window, outgoing = Window(ahead_max), asyncio.Queue[Any]()
        source, address = _each(requests), self._addresses.current()
        method = self._channel(address).stream_stream(
            streaming.METHOD,
            response_deserializer=pb.ModelStreamInferResponse.FromString,
        )
        with attempts.traced(pb.ModelInferRequest) as headers:
            call = method(_taken_from(outgoing), timeout=timeout_s, metadata=headers)
        try:
            has_more = True
            while has_more or window:
                while has_more and window.has_room():
                    request = await anext(source, None)
                    payload = window.opened(request) if request else None
                    has_more = request is not None
                    if payload is not None or not has_more:
                        outgoing.put_nowait(payload)
                for outcome in window.finished():
                    yield outcome
                if window:
                    answer = await call.read()
                    if answer is grpc.aio.EOF:
                        raise await self._end_of(call, address)
                    window.arrived(answer)
                    for outcome in window.finished():
                        yield outcome
        except grpc.aio.AioRpcError as error:
            raise attempts.typed_error(error, address) from error
        finally:
            call.cancel()

    async def _end_of(self, call: Any, address: str) -> ServemeshError:
        if await call.code() is grpc.StatusCode.OK:
            return streaming.ended_early()
        return UnavailableError(await call.details() or "the stream broke", reason="STREAM_ENDED")

    async def _is_open(self, address: str) -> bool:
        """Whether to send to `address`: False if it does not let us connect and there are others."""
        if len(self._addresses) == 1:
            return True
        try:
            async with asyncio.timeout(attempts.FAIL_OVER_S):
                await self._channel(address).channel_ready()
        except TimeoutError:
            return False
        return True

    def _channel(self, address: str) -> grpc.aio.Channel:
        if address not in self._channels:
            self._channels[address] = grpc.aio.insecure_channel(address, options=attempts.options())
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


async def _read(step: Send) -> AsyncIterator[Any]:
    """Give the requests, which may be read from a disk, without holding up the loop."""
    requests, end = step.requests(), object()
    while (request := await asyncio.to_thread(next, requests, end)) is not end:
        yield request


async def _each(
    requests: Iterable[InferRequest] | AsyncIterable[InferRequest],
) -> AsyncGenerator[InferRequest, None]:
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield request
    else:
        for request in requests:
            yield request


async def _taken_from(outgoing: asyncio.Queue[Any]) -> AsyncIterator[Any]:
    while (message := await outgoing.get()) is not None:
        yield message
