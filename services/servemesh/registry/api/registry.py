"""The registry on the wire: message in, one call, message out."""

from __future__ import annotations

from typing import Any

from servemesh import names
from servemesh.api.registry.v1 import registry_pb2 as pb
from servemesh.api.registry.v1 import registry_pb2_grpc as pb_grpc
from servemesh.registry.api.aliases import AliasesApi
from servemesh.registry.api.deployments import DeploymentsApi
from servemesh.registry.api.messages import to_model
from servemesh.registry.api.requests import paths_of
from servemesh.registry.api.uploads import UploadsApi
from servemesh.registry.api.version_messages import to_version
from servemesh.registry.service.aliases import AliasBook
from servemesh.registry.service.catalog import Catalog
from servemesh.registry.service.commits import Commits
from servemesh.registry.service.deployments import DeploymentBook
from servemesh.registry.service.downloads import Downloads
from servemesh.registry.service.uploads import Uploads
from servemesh.requests import page_of, request_key

Context = Any

_MODEL_FIELDS = ("description", "labels")


class RegistryApi(AliasesApi, DeploymentsApi, UploadsApi, pb_grpc.RegistryServiceServicer):
    """Models and Versions; the rest is inherited."""

    def __init__(
        self,
        catalog: Catalog,
        aliases: AliasBook,
        deployments: DeploymentBook,
        uploads: Uploads,
        commits: Commits,
        downloads: Downloads,
    ) -> None:
        AliasesApi.__init__(self, aliases)
        DeploymentsApi.__init__(self, deployments)
        UploadsApi.__init__(self, uploads, commits, downloads)
        self._catalog = catalog

    def register(self, server: Any) -> None:
        """Add the service to a server."""
        pb_grpc.add_RegistryServiceServicer_to_server(self, server)

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:
        """Return one Model."""
        model = await self._catalog.get_model(names.model_id(request.name))
        return pb.GetModelResponse(model=to_model(model))

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        """List Models."""
        page = await self._catalog.list_models(page_of(request))
        return pb.ListModelsResponse(
            models=[to_model(model) for model in page.items], next_page_token=page.next_page_token
        )

    async def CreateModel(self, request: pb.CreateModelRequest, context: Context) -> pb.CreateModelResponse:
        """Create a Model."""
        wish = request.model
        model = await self._catalog.create_model(
            request.model_id, wish.description, wish.labels, request_key(request)
        )
        return pb.CreateModelResponse(model=to_model(model))

    async def UpdateModel(self, request: pb.UpdateModelRequest, context: Context) -> pb.UpdateModelResponse:
        """Change description and labels."""
        wish, paths = request.model, paths_of(request.update_mask, _MODEL_FIELDS, _MODEL_FIELDS)
        model = await self._catalog.update_model(
            names.model_id(wish.name),
            wish.etag,
            wish.description if "description" in paths else None,
            wish.labels if "labels" in paths else None,
        )
        return pb.UpdateModelResponse(model=to_model(model))

    async def DeleteModel(self, request: pb.DeleteModelRequest, context: Context) -> pb.DeleteModelResponse:
        """Delete a Model."""
        await self._catalog.delete_model(names.model_id(request.name), request.etag)
        return pb.DeleteModelResponse()

    async def GetModelVersion(
        self, request: pb.GetModelVersionRequest, context: Context
    ) -> pb.GetModelVersionResponse:
        """Return one Version, by its own name or by an Alias."""
        version = await self._catalog.get_named_version(request.name)
        return pb.GetModelVersionResponse(model_version=to_version(version))

    async def ListModelVersions(
        self, request: pb.ListModelVersionsRequest, context: Context
    ) -> pb.ListModelVersionsResponse:
        """List Versions."""
        model_id = names.model_id(request.parent)
        page = await self._catalog.list_versions(model_id, page_of(request, request.parent))
        return pb.ListModelVersionsResponse(
            model_versions=[to_version(version) for version in page.items],
            next_page_token=page.next_page_token,
        )

    async def DeleteModelVersion(
        self, request: pb.DeleteModelVersionRequest, context: Context
    ) -> pb.DeleteModelVersionResponse:
        """Delete a Version."""
        await self._catalog.delete_version(*names.version_ids(request.name))
        return pb.DeleteModelVersionResponse()
