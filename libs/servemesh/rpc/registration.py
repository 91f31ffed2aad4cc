"""Wraps each handler once, when a servicer registers, in the layers that every call goes through.

Wrapping at registration is several times cheaper than grpc's interceptors, which look the handler up anew
for each call. Requests are parsed and responses encoded inside the wrapper, so that malformed bytes and
messages that cannot be encoded meet our edge instead of grpc's, which sends exception texts to callers.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, NamedTuple

import grpc

from servemesh.errors import InvalidError, OverloadedError, UnsupportedError
from servemesh.rpc import edge
from servemesh.rpc.calls import CallsInFlight, Deadlines
from servemesh.rpc.limits import Limits

Parse = Callable[[bytes], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """What stands between the wire and a handler, shared by all methods of a server."""

    calls: CallsInFlight
    deadlines: Deadlines
    limits: Limits
    sends_pushback: bool  # whether the transport lets us send gRPC's retry trailer


class Registration:
    """Looks like a server to `add_XServicer_to_server`, and hands wrapped handlers on to the real one."""

    def __init__(self, server: Any, layers: Layers, exempt: frozenset[str]) -> None:
        self._server = server
        self._layers = layers
        self._exempt = exempt
        self.services: set[str] = set()

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        """Wrap and register the methods of one service."""
        self.services.add(service)
        wrapped = {
            name: self._wrapped(f"/{service}/{name}", handler, counted=service not in self._exempt)
            for name, handler in handlers.items()
        }
        self._server.add_registered_method_handlers(service, wrapped)

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        """Ignored: generated code registers every method a second time through here."""

    def _wrapped(self, method: str, handler: Any, *, counted: bool) -> Any:
        layers, encode = self._layers, handler.response_serializer
        parse = _parser(handler.request_deserializer, layers.limits.message_bytes_max)
        requests = _parsed_stream(parse) if handler.request_streaming else parse
        kind = _Kind(handler.request_streaming, handler.response_streaming)
        inner = getattr(handler, kind.attribute)
        if kind.response_streaming:
            inner = _offered_stream(method, inner)
            call = _streaming(inner, requests, encode, layers, counted=counted)
            return kind.make(edge.guarded_stream(call, method, pushback=layers.sends_pushback))
        inner = inner if inspect.iscoroutinefunction(inner) else _unimplemented(method)
        call = _unary(inner, requests, encode, layers, counted=counted)
        if not kind.request_streaming:  # an upload may take as long as it moves
            call = _timed(call, layers.deadlines)
        return kind.make(edge.guarded(call, method, pushback=layers.sends_pushback))


class _Kind(NamedTuple):
    """Which of the four kinds a method is."""

    request_streaming: bool
    response_streaming: bool

    @property
    def attribute(self) -> str:
        """Where grpc keeps the function of such a method."""
        ends = ("stream" if streaming else "unary" for streaming in self)
        return "_".join(ends)

    def make(self, call: Any) -> Any:
        """Return grpc's handler for `call`, which takes and gives bytes."""
        return getattr(grpc, f"{self.attribute}_rpc_method_handler")(call)


def _unary(handler: Any, parse: Any, encode: Any, layers: Layers, *, counted: bool) -> Any:
    limits, in_flight = layers.limits, layers.calls

    async def call(payload: Any, context: Any) -> bytes:
        task = in_flight.enter_task() if counted else None
        try:
            check_metadata(context.invocation_metadata(), limits.metadata_bytes_max)
            answer = within(encode(await handler(parse(payload), context)), limits)
            if len(answer) > edge.HELD_BYTES_MAX:
                await context.send_initial_metadata(edge.LONG)
            return answer
        finally:
            if task is not None:
                in_flight.leave(task)

    return call


def _timed(call: Any, deadlines: Deadlines) -> Any:
    async def timed(payload: Any, context: Any) -> bytes:
        deadline = deadlines.imposed(context.time_remaining())
        if deadline is None:
            return await call(payload, context)
        task = asyncio.current_task()
        assert task is not None
        deadline.enter(task)
        try:
            return await call(payload, context)
        finally:
            deadline.leave(task)

    return timed


def _streaming(handler: Any, parse: Any, encode: Any, layers: Layers, *, counted: bool) -> Any:
    limits, in_flight = layers.limits, layers.calls

    async def call(payload: Any, context: Any) -> AsyncIterator[bytes]:
        task = in_flight.enter_task() if counted else None
        try:
            check_metadata(context.invocation_metadata(), limits.metadata_bytes_max)
            async with aclosing(handler(parse(payload), context)) as responses:
                async for response in responses:
                    yield within(encode(response), limits)
        finally:
            if task is not None:
                in_flight.leave(task)

    return call


def _parser(parse: Parse | None, size_bytes_max: int) -> Parse:
    def parsed(payload: bytes) -> Any:
        if len(payload) > size_bytes_max:
            raise OverloadedError(
                f"the message is larger than the limit of {size_bytes_max} bytes",
                reason="MESSAGE_TOO_LARGE",
                retry_after_s=None,
                limit_bytes=size_bytes_max,
            )
        try:
            return parse(payload) if parse else payload
        except Exception as error:
            raise InvalidError(
                f"the request's {len(payload)} bytes are not the message this method takes",
                reason="MESSAGE_MALFORMED",
                field="",
                size_bytes=len(payload),
            ) from error

    return parsed


def _parsed_stream(parse: Parse) -> Callable[[AsyncIterator[bytes]], AsyncIterator[Any]]:
    async def parsed(payloads: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for payload in payloads:
            yield parse(payload)

    return parsed


def check_metadata(metadata: Iterable[tuple[str, str | bytes]], size_bytes_max: int) -> None:
    """Raise OverloadedError if a call came with more metadata than is taken."""
    size_bytes = 0
    for key, value in metadata:
        size_bytes += len(key) + len(value)
    if size_bytes > size_bytes_max:
        raise OverloadedError(
            f"the call's metadata is {size_bytes} bytes, at most {size_bytes_max} are taken",
            reason="METADATA_TOO_LARGE",
            retry_after_s=None,
            size_bytes=size_bytes,
            size_bytes_max=size_bytes_max,
        )


def within(payload: bytes, limits: Limits) -> bytes:
    """Return an encoded response; OverloadedError if it is larger than what is sent."""
    if len(payload) > limits.message_bytes_max:
        raise OverloadedError(
            f"the response is {len(payload)} bytes, at most {limits.message_bytes_max} are sent",
            reason="RESPONSE_TOO_LARGE",
            retry_after_s=None,
            size_bytes=len(payload),
            size_bytes_max=limits.message_bytes_max,
        )
    return payload


def _unimplemented(method: str) -> Any:
    async def refuse(request: Any, context: Any) -> Any:
        raise UnsupportedError(f"{method} is not offered here", method=method)

    return refuse


def _offered_stream(method: str, handler: Any) -> Any:
    if inspect.isasyncgenfunction(handler):
        return handler
    if inspect.iscoroutinefunction(handler):
        raise TypeError(f"{method} must be an async generator: write `yield`, not context.write()")

    async def refuse(request: Any, context: Any) -> AsyncIterator[Any]:
        raise UnsupportedError(f"{method} is not offered here", method=method)
        yield

    return refuse
