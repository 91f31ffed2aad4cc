"""The mesh's own APIs over one gRPC channel, with messages as JSON documents (protobuf's JSON mapping)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf import descriptor_pool, json_format
from google.protobuf.message_factory import GetMessageClass

from servemesh.api.fleet.v1 import fleet_pb2
from servemesh.api.metrics.v1 import metrics_pb2
from servemesh.api.optimizer.v1 import optimizer_pb2
from servemesh.api.registry.v1 import registry_pb2
from servemesh.errors import InvalidError, MissingError
from servemesh.metrics.console.domain import Method
from servemesh.metrics.console.service import Document
from servemesh.rpc import client
from servemesh.rpc.statuses import from_rpc_error

# Importing them puts their services into the pool.
CONTRACTS = (fleet_pb2, metrics_pb2, optimizer_pb2, registry_pb2)


class MeshCalls:
    """Calls to the mesh's public address, for the length of a block."""

    def __init__(self, address: str) -> None:
        self._channel = client.channel(address)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()

    async def ask(self, method: Method, request: Document, *, timeout_s: float) -> Document:
        """Call a unary method; raises its typed error, InvalidError for a document that is not its request."""
        found = _described(method)
        if found.server_streaming or found.client_streaming:
            raise _unknown(method)
        call = self._channel.unary_unary(
            _path(method),
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(found.output_type).FromString,
        )
        message = _parsed(request, GetMessageClass(found.input_type)())
        answer = await client.call(call, message, timeout_s=timeout_s)
        document: Document = json_format.MessageToDict(
            answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        return document

    async def stream(self, method: Method, request: Document, *, timeout_s: float) -> AsyncIterator[Any]:
        """Call a method that streams, and yield its messages."""
        found = _described(method)
        call = self._channel.unary_stream(
            _path(method),
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(found.output_type).FromString,
        )
        messages = call(_parsed(request, GetMessageClass(found.input_type)()), timeout=timeout_s)
        try:
            async for message in messages:
                yield message
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        finally:
            messages.cancel()


def _path(method: Method) -> str:
    return f"/{method.service}/{method.name}"


def _described(method: Method) -> Any:
    service = descriptor_pool.Default().FindServiceByName(method.service)
    found = service.methods_by_name.get(method.name)
    if found is None:
        raise _unknown(method)
    return found


def _parsed(document: Document, message: Any) -> Any:
    try:
        return json_format.ParseDict(document, message)
    except json_format.ParseError as error:
        raise InvalidError(
            f"the question is not a {message.DESCRIPTOR.name} in protobuf's JSON",
            reason="QUESTION_MALFORMED",
            field="",
            expected=message.DESCRIPTOR.full_name,
        ) from error


def _unknown(method: Method) -> MissingError:
    return MissingError(
        f"{method.service} has no method {method.name[:64]} for pages", reason="QUESTION_UNKNOWN"
    )
