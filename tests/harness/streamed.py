"""Calls that stream their requests and may be refused before the last of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import grpc
from google.protobuf.message import Message

from servemesh.client.steps import method_of

TIMEOUT_S = 20.0


async def streamed(address: str, request_type: type[Message], requests: Iterable[Message]) -> Any:
    """Return the answer; grpc.RpcError with what the server said.

    By gRPC's blocking client, because its asyncio one may lose the status of a call that ends while it still sends
    (grpc#36066).
    """
    method = method_of(request_type)

    def call() -> Any:
        with grpc.insecure_channel(address) as channel:
            send = channel.stream_unary(
                method.path,
                request_serializer=request_type.SerializeToString,
                response_deserializer=method.response_type.FromString,
            )
            return send(iter(requests), timeout=TIMEOUT_S)

    return await asyncio.to_thread(call)
