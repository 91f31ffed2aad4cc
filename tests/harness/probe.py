"""A small gRPC service that misbehaves on request, for tests of what stands around handlers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.wrappers_pb2 import BytesValue, StringValue

SERVICE = "servemesh.test.Probe"
SECRET = "/etc/servemesh/key.pem: permission denied"


class Probe:
    """Answers `Echo` with what it got; `raises` is raised instead, if set."""

    def __init__(self) -> None:
        self.raises: BaseException | None = None
        self.response_bytes = 0
        self.arrived = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.go = asyncio.Event()

    def register(self, server: Any) -> None:
        """Add the service to a server, as generated code does."""
        server.add_registered_method_handlers(
            SERVICE,
            {
                "Echo": _handler("unary_unary", self.echo),
                "Hold": _handler("unary_unary", self.hold),
                "Grow": _handler("unary_unary", self.grow),
                "Count": _handler("unary_stream", self.count),
                "Join": _handler("stream_unary", self.join),
                "Chat": _handler("stream_stream", self.chat),
                "Missing": _handler("unary_unary", lambda request, context: None),
            },
        )

    async def echo(self, request: StringValue, context: Any) -> StringValue:
        """Return the request."""
        if self.raises is not None:
            raise self.raises
        return request

    async def hold(self, request: StringValue, context: Any) -> StringValue:
        """Return the request once `go` is set."""
        self.arrived.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return request

    async def grow(self, request: StringValue, context: Any) -> BytesValue:
        """Return `response_bytes` bytes."""
        return BytesValue(value=b"x" * self.response_bytes)

    async def count(self, request: StringValue, context: Any) -> AsyncIterator[StringValue]:
        """Yield as many messages as the request says, then fail if told to."""
        for number in range(int(request.value)):
            yield StringValue(value=str(number))
        if self.raises is not None:
            raise self.raises

    async def join(self, requests: AsyncIterator[StringValue], context: Any) -> StringValue:
        """Return all requests as one."""
        if self.raises is not None:
            raise self.raises
        return StringValue(value="".join([request.value async for request in requests]))

    async def chat(self, requests: AsyncIterator[StringValue], context: Any) -> AsyncIterator[StringValue]:
        """Yield each request as it comes."""
        if self.raises is not None:
            raise self.raises
        async for request in requests:
            yield request


class ProbeStub:
    """Calls a Probe over `channel`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.echo = _method(channel, "unary_unary", "Echo")
        self.echo_bytes = channel.unary_unary(f"/{SERVICE}/Echo")
        self.hold = _method(channel, "unary_unary", "Hold")
        self.grow = channel.unary_unary(
            f"/{SERVICE}/Grow", StringValue.SerializeToString, BytesValue.FromString
        )
        self.count = _method(channel, "unary_stream", "Count")
        self.join = _method(channel, "stream_unary", "Join")
        self.chat = _method(channel, "stream_stream", "Chat")
        self.missing = _method(channel, "unary_unary", "Missing")


def _method(channel: grpc.aio.Channel, kind: str, name: str) -> Any:
    make = getattr(channel, kind)
    return make(f"/{SERVICE}/{name}", StringValue.SerializeToString, StringValue.FromString)


def _handler(kind: str, function: Any) -> Any:
    make = getattr(grpc, f"{kind}_rpc_method_handler")
    encode = BytesValue.SerializeToString if function.__name__ == "grow" else StringValue.SerializeToString
    return make(function, request_deserializer=StringValue.FromString, response_serializer=encode)
