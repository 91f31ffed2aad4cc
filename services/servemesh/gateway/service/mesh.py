"""What concerns the whole mesh: readiness, metadata, the repository index, loading and unloading."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from servemesh import oip
from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.errors import ExpiredError, MissingError, UnavailableError
from servemesh.gateway.domain import repository
from servemesh.gateway.service.activator import Activator
from servemesh.gateway.service.fleet_view import FleetView
from servemesh.gateway.service.ports import Catalog, KnownModel, Workers


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshLimits:
    """Bounds of mesh-wide answers, in seconds."""

    ask_timeout_s: float = 5.0  # one question to a worker or the registry
    load_timeout_s: float = 300.0  # a load or an unload, when the caller sets no shorter deadline


class Mesh:
    """Answers for all workers together, as if they were one server."""

    def __init__(
        self, fleet: FleetView, activator: Activator, workers: Workers, catalog: Catalog, limits: MeshLimits
    ) -> None:
        self._view = fleet
        self._activator = activator
        self._workers = workers
        self._catalog = catalog
        self._limits = limits

    def is_ready(self) -> bool:
        """Whether there is a worker that takes calls."""
        return any(not worker.is_draining for worker in self._view.fleet.workers)

    async def is_model_ready(self, model: str, version: str) -> bool:
        """Whether a call sent now would be run; MissingError if the model or version is not known."""
        fleet = self._view.fleet
        if not fleet.holdings(model, version):
            await self._check_known(model, version)
        return fleet.is_ready(model, version)

    async def model_metadata(self, model: str, version: str) -> pb.ModelMetadataResponse:
        """Return inputs and outputs, with every Version that is READY somewhere; loads the model if need be."""
        holdings = await self._activator.holdings(model, version)
        request = pb.ModelMetadataRequest(name=model, version=version)
        response = await self._workers.model_metadata(
            holdings[0].worker.address, request, timeout_s=self._limits.ask_timeout_s
        )
        response.versions[:] = [str(id_) for id_ in repository.ready_version_ids(self._view.fleet, model)]
        return response

    async def model_config(self, model: str, version: str) -> pb.ModelConfigResponse:
        """Return how a model is served; loads it if need be."""
        holdings = await self._activator.holdings(model, version)
        request = pb.ModelConfigRequest(name=model, version=version)
        return await self._workers.model_config(
            holdings[0].worker.address, request, timeout_s=self._limits.ask_timeout_s
        )

    async def version_ids(self, model: str, version: str) -> frozenset[str]:
        """Return the Version ids that `version` names ("" all); MissingError if it or the model is not known.

        Without a model, all Versions of all models are meant: no ids.
        """
        if not model:
            return frozenset()
        fleet = self._view.fleet
        named = {str(holding.slot.version_id) for holding in fleet.holdings(model, version)}
        if not named and (version or not fleet.slots_of(model)):
            await self._check_known(model, version)
        return frozenset(named or {version}) if version else frozenset()

    async def index(self, *, only_ready: bool) -> list[repository.Entry]:
        """List every Version that some worker is assigned, and every Model that is not deployed.

        With the registry away the list holds what the fleet knows.
        """
        entries = repository.entries(self._view.fleet, await self._known_models())
        return [entry for entry in entries if entry.state == repository.READY or not only_ready]

    async def load(self, model: str) -> None:
        """Deploy a model if it is not, and return when a call for it would be run."""
        if not self._view.fleet.is_ready(model):
            known = await self._catalog.find_model(model, timeout_s=self._limits.ask_timeout_s)
            if known is None:
                raise oip.unknown_model(model)
            if not known.is_deployed:
                await self._catalog.deploy(model, timeout_s=self._limits.ask_timeout_s)
            self._activator.expect(model)
        async with _within(self._limits.load_timeout_s, f"'{model}' did not become READY"):
            await self._activator.holdings(model, "")

    async def unload(self, model: str) -> None:
        """Delete a model's Deployment and return when no worker holds it.

        A DRAINING slot still answers, and Envoy may send it calls until it has the new tables.
        """
        try:
            await self._catalog.undeploy(model, timeout_s=self._limits.ask_timeout_s)
        except MissingError:
            raise oip.unknown_model(model) from None
        async with _within(self._limits.load_timeout_s, f"'{model}' is still held by a worker"):
            fleet = self._view.fleet
            while fleet.slots_of(model):
                fleet = await self._view.changed_from(fleet.revision)

    async def _check_known(self, model: str, version: str) -> None:
        if not await self._catalog.knows(model, version, timeout_s=self._limits.ask_timeout_s):
            raise oip.unknown_model(model, version)

    async def _known_models(self) -> list[KnownModel]:
        try:
            known = await self._catalog.models(timeout_s=self._limits.ask_timeout_s)
        except UnavailableError:
            return []
        return list(known.values())


@asynccontextmanager
async def _within(timeout_s: float, what: str) -> AsyncIterator[None]:
    """asyncio.timeout that tells the caller what did not happen in time."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        raise ExpiredError(f"{what} within {timeout_s:g} s", reason="LOAD_TIMED_OUT") from None
