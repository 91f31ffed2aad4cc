"""Calls to workers: one channel per address, kept while the address is in use."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Any, Self

import grpc

from servemesh import names
from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.api.oip.v2 import inference_pb2_grpc as pb_grpc
from servemesh.api.worker.v1 import worker_pb2, worker_pb2_grpc
from servemesh.gateway.service.ports import Metadata
from servemesh.observe import traces
from servemesh.rpc import client
from servemesh.rpc.statuses import from_rpc_error

CHANNELS_MAX = 1024


class WorkerCalls:
    """The Workers port over gRPC. Open for the length of an `async with`."""

    def __init__(self, channels_max: int = CHANNELS_MAX) -> None:
        self._channels_max = channels_max
        self._channels: OrderedDict[str, grpc.aio.Channel] = OrderedDict()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()

    async def infer(
        self, address: str, request: pb.ModelInferRequest, *, timeout_s: float, metadata: Metadata = ()
    ) -> pb.ModelInferResponse:
        """Run one inference call."""
        stub = await self._oip(address)
        response: pb.ModelInferResponse = await client.call(
            stub.ModelInfer, request, timeout_s=timeout_s, metadata=tuple(metadata)
        )
        return response

    async def infer_many(
        self, address: str, requests: Sequence[bytes]
    ) -> AsyncGenerator[Sequence[pb.ModelStreamInferResponse], None]:
        """Run ModelInferRequests side by side; yield the answers in their order."""
        stub = worker_pb2_grpc.WorkerServiceStub(await self._channel(address))
        call = stub.InferMany(worker_pb2.InferManyRequest(requests=requests), metadata=traces.headers())
        try:
            async for message in call:
                yield [pb.ModelStreamInferResponse.FromString(answer) for answer in message.responses]
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        finally:
            call.cancel()

    async def model_metadata(
        self, address: str, request: pb.ModelMetadataRequest, *, timeout_s: float
    ) -> pb.ModelMetadataResponse:
        """Ask for a model's inputs and outputs."""
        response: pb.ModelMetadataResponse = await client.call(
            (await self._oip(address)).ModelMetadata, request, timeout_s=timeout_s
        )
        return response

    async def model_config(
        self, address: str, request: pb.ModelConfigRequest, *, timeout_s: float
    ) -> pb.ModelConfigResponse:
        """Ask how a model is served."""
        response: pb.ModelConfigResponse = await client.call(
            (await self._oip(address)).ModelConfig, request, timeout_s=timeout_s
        )
        return response

    async def model_statistics(self, address: str, *, timeout_s: float) -> pb.ModelStatisticsResponse:
        """Ask what all models of the worker have done."""
        method = (await self._oip(address)).ModelStatistics
        response: pb.ModelStatisticsResponse = await client.call(
            method, pb.ModelStatisticsRequest(), timeout_s=timeout_s
        )
        return response

    async def load_slot(self, address: str, model: str, version_id: int, *, timeout_s: float) -> None:
        """Make an assigned Version resident."""
        stub = worker_pb2_grpc.WorkerServiceStub(await self._channel(address))
        request = worker_pb2.LoadSlotRequest(version=names.version(model, version_id))
        await client.call(stub.LoadSlot, request, timeout_s=timeout_s)

    async def _oip(self, address: str) -> Any:
        return pb_grpc.GRPCInferenceServiceStub(await self._channel(address))

    async def _channel(self, address: str) -> grpc.aio.Channel:
        channel = self._channels.get(address)
        if channel is None:
            channel = self._channels[address] = client.channel(address)
            if len(self._channels) > self._channels_max:
                _, idle = self._channels.popitem(last=False)
                await idle.close(grace=None)
        self._channels.move_to_end(address)
        return channel
