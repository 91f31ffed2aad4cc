"""The Open Inference Protocol for the whole mesh: message in, one call, message out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from servemesh import oip
from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.api.oip.v2 import inference_pb2_grpc as pb_grpc
from servemesh.gateway.domain import repository
from servemesh.gateway.service.dispatch import Dispatch
from servemesh.gateway.service.mesh import Mesh
from servemesh.gateway.service.statistics import MeshStatistics
from servemesh.gateway.service.streams import Streams
from servemesh.rpc import client

Context = Any
SERVER_NAME = "servemesh"
EXTENSIONS = (
    "classification",
    "model_repository",
    "model_repository(unload_dependents)",
    "model_configuration",
    "binary_tensor_data",
    "parameters",
    "statistics",
)


class OipApi(pb_grpc.GRPCInferenceServiceServicer):
    """Answers for all workers together; single inference calls come here only when Envoy knows no holder."""

    def __init__(
        self, version: str, mesh: Mesh, dispatch: Dispatch, statistics: MeshStatistics, streams: Streams
    ) -> None:
        self._version = version
        self._mesh = mesh
        self._dispatch = dispatch
        self._statistics = statistics
        self._streams = streams

    def register(self, server: Any) -> None:
        """Add this servicer to a server."""
        pb_grpc.add_GRPCInferenceServiceServicer_to_server(self, server)

    async def ServerLive(self, request: pb.ServerLiveRequest, context: Context) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: pb.ServerReadyRequest, context: Context) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self._mesh.is_ready())

    async def ServerMetadata(
        self, request: pb.ServerMetadataRequest, context: Context
    ) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(name=SERVER_NAME, version=self._version, extensions=EXTENSIONS)

    async def ModelReady(self, request: pb.ModelReadyRequest, context: Context) -> pb.ModelReadyResponse:
        return pb.ModelReadyResponse(ready=await self._mesh.is_model_ready(request.name, request.version))

    async def ModelMetadata(
        self, request: pb.ModelMetadataRequest, context: Context
    ) -> pb.ModelMetadataResponse:
        return await self._mesh.model_metadata(request.name, request.version)

    async def ModelConfig(self, request: pb.ModelConfigRequest, context: Context) -> pb.ModelConfigResponse:
        return await self._mesh.model_config(request.name, request.version)

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Context) -> pb.ModelInferResponse:
        return await self._dispatch.infer(request, timeout_s=client.remaining_s(context))

    async def ModelStreamInfer(
        self, request_iterator: AsyncIterator[pb.ModelInferRequest], context: Context
    ) -> AsyncIterator[pb.ModelStreamInferResponse]:
        async with aclosing(self._streams.serve(request_iterator)) as answers:
            async for answer in answers:
                yield answer

    async def ModelStatistics(
        self, request: pb.ModelStatisticsRequest, context: Context
    ) -> pb.ModelStatisticsResponse:
        version_ids = await self._mesh.version_ids(request.name, request.version)
        totals = await self._statistics.total(request.name, version_ids)
        return pb.ModelStatisticsResponse(model_stats=totals)

    async def RepositoryIndex(
        self, request: pb.RepositoryIndexRequest, context: Context
    ) -> pb.RepositoryIndexResponse:
        oip.check_repository(request.repository_name)
        entries = await self._mesh.index(only_ready=request.ready)
        return pb.RepositoryIndexResponse(models=[_index(entry) for entry in entries])

    async def RepositoryModelLoad(
        self, request: pb.RepositoryModelLoadRequest, context: Context
    ) -> pb.RepositoryModelLoadResponse:
        oip.check_repository(request.repository_name)
        oip.check_no_overrides(request.parameters)
        await self._mesh.load(request.model_name)
        return pb.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(
        self, request: pb.RepositoryModelUnloadRequest, context: Context
    ) -> pb.RepositoryModelUnloadResponse:
        oip.check_repository(request.repository_name)
        await self._mesh.unload(request.model_name)
        return pb.RepositoryModelUnloadResponse()


def _index(entry: repository.Entry) -> pb.RepositoryIndexResponse.ModelIndex:
    version = str(entry.version_id) if entry.version_id else ""
    return pb.RepositoryIndexResponse.ModelIndex(
        name=entry.model, version=version, state=entry.state, reason=entry.reason
    )
