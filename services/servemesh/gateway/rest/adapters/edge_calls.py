"""The edge over one gRPC channel: balancing, retries, limits and errors are those of every other client."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from servemesh.api.oip.v2 import inference_pb2_grpc as pb_grpc
from servemesh.rpc import client


class EdgeCalls:
    """Calls to the mesh's public address, for the length of a block."""

    def __init__(self, address: str, *, message_bytes_max: int) -> None:
        self._channel = client.channel(address, message_bytes_max=message_bytes_max)
        self._stub: Any = pb_grpc.GRPCInferenceServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()

    async def ask(self, method: str, request: Any, *, timeout_s: float) -> Any:
        """Make one call; it is cancelled when the caller is."""
        return await client.call(getattr(self._stub, method), request, timeout_s=timeout_s)
