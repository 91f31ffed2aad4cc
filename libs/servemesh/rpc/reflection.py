"""Server reflection over several descriptor pools, for grpcurl, buf curl and their kin."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from grpc_reflection.v1alpha import reflection_pb2 as pb
from grpc_reflection.v1alpha.reflection import aio

V1, V1ALPHA = "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"
SERVICES = frozenset({V1, V1ALPHA})


class _Pools:
    """Several descriptor pools that answer as one; the first that knows a name wins."""

    def __init__(self, pools: list[Any]) -> None:
        self._pools = pools

    def __getattr__(self, question: str) -> Callable[..., Any]:
        def ask(*arguments: Any) -> Any:
            for pool in self._pools:
                try:
                    return getattr(pool, question)(*arguments)
                except (KeyError, TypeError):  # TypeError: the descriptor came from another pool
                    continue
            raise KeyError(arguments)

        return ask


def register(registration: Any) -> None:
    """Add reflection over all services registered so far. Call it last.

    v1 is v1alpha under another name: the messages are the same on the wire. It is not listed, because no
    descriptor of it is at hand, and tools that describe whatever is listed would stumble.
    """
    pools = _Pools([_oip_pool(), descriptor_pool.Default()])
    servicer = aio.ReflectionServicer([*registration.services, V1ALPHA], pool=pools)
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=pb.ServerReflectionRequest.FromString,
        response_serializer=pb.ServerReflectionResponse.SerializeToString,
    )
    for service in (V1, V1ALPHA):
        registration.add_registered_method_handlers(service, {"ServerReflectionInfo": method})


def _oip_pool() -> Any:
    """The private pool of the Open Inference Protocol's messages."""
    return import_module("servemesh.api.oip.v2.descriptor_pool").POOL
