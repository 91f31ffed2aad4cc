"""What the gateway asks of the registry, over one channel."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

import grpc

from servemesh import names
from servemesh.api.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from servemesh.api.registry.v1 import registry_pb2 as pb
from servemesh.api.registry.v1 import registry_pb2_grpc as pb_grpc
from servemesh.errors import ExistsError, InvalidError, MissingError
from servemesh.gateway.service.ports import KnownModel
from servemesh.rpc import client

PAGE_SIZE = 1000
PAGES_MAX = 100


class RegistryCalls:
    """The Catalog port over gRPC. Open for the length of an `async with`."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._channel: grpc.aio.Channel | None = None

    async def __aenter__(self) -> Self:
        self._channel = client.channel(self._address)
        self._registry = pb_grpc.RegistryServiceStub(self._channel)
        self._fleet = fleet_pb2_grpc.FleetServiceStub(self._channel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._channel is not None
        await self._channel.close()

    async def models(self, *, timeout_s: float) -> Mapping[str, KnownModel]:
        """Return every Model by id, at most a hundred thousand."""
        deployed = await self._deployed(timeout_s=timeout_s)
        found: dict[str, KnownModel] = {}
        token = ""
        for _ in range(PAGES_MAX):
            request = pb.ListModelsRequest(page_size=PAGE_SIZE, page_token=token)
            page = await client.call(self._registry.ListModels, request, timeout_s=timeout_s)
            for model in page.models:
                model_id = names.model_id(model.name)
                found[model_id] = _known(model, is_deployed=model_id in deployed)
            token = page.next_page_token
            if not token:
                break
        return found

    async def find_model(self, model: str, *, timeout_s: float) -> KnownModel | None:
        """Return one Model, None if there is none or could be none of that name."""
        try:
            request = pb.GetModelRequest(name=names.model(model))
            found = await client.call(self._registry.GetModel, request, timeout_s=timeout_s)
        except (MissingError, InvalidError):
            return None
        try:
            wanted = pb.GetDeploymentRequest(name=names.deployment(model))
            await client.call(self._registry.GetDeployment, wanted, timeout_s=timeout_s)
        except MissingError:
            return _known(found.model, is_deployed=False)
        return _known(found.model, is_deployed=True)

    async def knows(self, model: str, version: str, *, timeout_s: float) -> bool:
        """Whether there is such a Model and such a Version or Alias of it; False for no possible name."""
        if not version:
            return await self.find_model(model, timeout_s=timeout_s) is not None
        try:
            name = _resource_name(model, version)
            if names.is_version(name):
                wanted = pb.GetModelVersionRequest(name=name)
                await client.call(self._registry.GetModelVersion, wanted, timeout_s=timeout_s)
            else:
                alias = pb.GetAliasRequest(name=name)
                await client.call(self._registry.GetAlias, alias, timeout_s=timeout_s)
        except (MissingError, InvalidError):
            return False
        return True

    async def demand(self, model: str, version: str, *, timeout_s: float) -> None:
        """Ask that a Version be placed; MissingError if it is unknown, not deployed or no possible name."""
        try:
            request = fleet_pb2.DemandVersionRequest(name=_resource_name(model, version))
        except InvalidError as error:
            raise MissingError(error.message, reason="MODEL_NOT_FOUND", model=model) from error
        await client.call(self._fleet.DemandVersion, request, timeout_s=timeout_s)

    async def deploy(self, model: str, *, timeout_s: float) -> None:
        """Create a Deployment with the defaults; nothing happens if there is one."""
        request = pb.CreateDeploymentRequest(deployment=pb.Deployment(model=names.model(model)))
        try:
            await client.call(self._registry.CreateDeployment, request, timeout_s=timeout_s)
        except ExistsError:
            return

    async def undeploy(self, model: str, *, timeout_s: float) -> None:
        """Delete the Deployment; nothing happens if there is none. MissingError if the Model is unknown."""
        request = pb.DeleteDeploymentRequest(name=names.deployment(model))
        try:
            await client.call(self._registry.DeleteDeployment, request, timeout_s=timeout_s)
        except MissingError:
            if await self.find_model(model, timeout_s=timeout_s) is None:
                raise

    async def _deployed(self, *, timeout_s: float) -> frozenset[str]:
        found: set[str] = set()
        token = ""
        for _ in range(PAGES_MAX):
            request = pb.ListDeploymentsRequest(page_size=PAGE_SIZE, page_token=token)
            page = await client.call(self._registry.ListDeployments, request, timeout_s=timeout_s)
            found.update(names.deployment_id(deployment.name) for deployment in page.deployments)
            token = page.next_page_token
            if not token:
                break
        return frozenset(found)


def _known(model: pb.Model, *, is_deployed: bool) -> KnownModel:
    return KnownModel(
        model=names.model_id(model.name), latest_version_id=model.latest_version_id, is_deployed=is_deployed
    )


def _resource_name(model: str, version: str) -> str:
    if not version:
        return names.model(model)
    if names.is_version_id(version):
        return names.version(model, int(version))
    return names.alias(model, version)
