"""Deployments on the wire: message in, one call, message out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from servemesh import names
from servemesh.api.registry.v1 import registry_pb2 as pb
from servemesh.registry.api.messages import from_batching, from_traffic, to_deployment
from servemesh.registry.api.requests import paths_of
from servemesh.registry.service.deployments import DeploymentBook
from servemesh.requests import page_of, request_key

Context = Any

_FIELDS = ("traffic", "replicas", "batching")


class DeploymentsApi:
    """The part of RegistryService that takes wishes; the servicer inherits from it."""

    def __init__(self, deployments: DeploymentBook) -> None:
        self._deployments = deployments

    async def GetDeployment(
        self, request: pb.GetDeploymentRequest, context: Context
    ) -> pb.GetDeploymentResponse:
        """Return one Deployment."""
        deployment = await self._deployments.get(names.deployment_id(request.name))
        return pb.GetDeploymentResponse(deployment=to_deployment(deployment))

    async def ListDeployments(
        self, request: pb.ListDeploymentsRequest, context: Context
    ) -> pb.ListDeploymentsResponse:
        """List Deployments."""
        page = await self._deployments.list(page_of(request))
        return pb.ListDeploymentsResponse(
            deployments=[to_deployment(deployment) for deployment in page.items],
            next_page_token=page.next_page_token,
        )

    async def CreateDeployment(
        self, request: pb.CreateDeploymentRequest, context: Context
    ) -> pb.CreateDeploymentResponse:
        """Ask that a Model be served."""
        wish = request.deployment
        deployment = await self._deployments.create(
            names.model_id(wish.model),
            from_traffic(wish),
            wish.replicas if wish.HasField("replicas") else None,
            from_batching(wish.batching),
            request_key(request),
        )
        return pb.CreateDeploymentResponse(deployment=to_deployment(deployment))

    async def UpdateDeployment(
        self, request: pb.UpdateDeploymentRequest, context: Context
    ) -> pb.UpdateDeploymentResponse:
        """Change what is wished."""
        wish = request.deployment
        populated = [field.name for field, _ in wish.ListFields() if field.name in _FIELDS]
        paths = paths_of(request.update_mask, _FIELDS, populated)
        deployment = await self._deployments.update(
            names.deployment_id(wish.name),
            wish.etag,
            traffic=from_traffic(wish) if "traffic" in paths else None,
            replicas=wish.replicas if "replicas" in paths and wish.HasField("replicas") else None,
            clears_replicas="replicas" in paths and not wish.HasField("replicas"),
            batching=from_batching(wish.batching) if "batching" in paths else None,
        )
        return pb.UpdateDeploymentResponse(deployment=to_deployment(deployment))

    async def DeleteDeployment(
        self, request: pb.DeleteDeploymentRequest, context: Context
    ) -> pb.DeleteDeploymentResponse:
        """Stop serving a Model."""
        await self._deployments.delete(names.deployment_id(request.name), request.etag)
        return pb.DeleteDeploymentResponse()

    async def WatchDeployment(
        self, request: pb.WatchDeploymentRequest, context: Context
    ) -> AsyncIterator[pb.WatchDeploymentResponse]:
        """Send a Deployment now and after each change."""
        async with aclosing(self._deployments.watch(names.deployment_id(request.name))) as states:
            async for deployment in states:
                yield pb.WatchDeploymentResponse(deployment=to_deployment(deployment))
