"""What the gateway's use cases need of the workers and of the registry."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from servemesh.api.oip.v2 import inference_pb2 as pb

Metadata = Sequence[tuple[str, str]]


class Workers(Protocol):
    """Calls to single workers, by address. UnavailableError when a worker cannot be reached."""

    async def infer(
        self, address: str, request: pb.ModelInferRequest, *, timeout_s: float, metadata: Metadata = ()
    ) -> pb.ModelInferResponse:
        """Run one inference call."""
        ...

    def infer_many(
        self, address: str, requests: Sequence[bytes]
    ) -> AsyncGenerator[Sequence[pb.ModelStreamInferResponse], None]:
        """Run ModelInferRequests side by side; yield the answers in their order, several at a time.

        It may end before all are answered, when the worker is killed in a way that looks orderly. Close it.
        """
        ...

    async def model_metadata(
        self, address: str, request: pb.ModelMetadataRequest, *, timeout_s: float
    ) -> pb.ModelMetadataResponse:
        """Ask for a model's inputs and outputs."""
        ...

    async def model_config(
        self, address: str, request: pb.ModelConfigRequest, *, timeout_s: float
    ) -> pb.ModelConfigResponse:
        """Ask how a model is served."""
        ...

    async def model_statistics(self, address: str, *, timeout_s: float) -> pb.ModelStatisticsResponse:
        """Ask what all models of the worker have done."""
        ...

    async def load_slot(self, address: str, model: str, version_id: int, *, timeout_s: float) -> None:
        """Make an assigned Version resident and return when it is READY."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """A Model in the registry: its newest Version (0: none) and whether it has a Deployment."""

    model: str
    latest_version_id: int
    is_deployed: bool


class Catalog(Protocol):
    """What the registry knows and does. UnavailableError when it cannot be reached."""

    async def models(self, *, timeout_s: float) -> Mapping[str, KnownModel]:
        """Return every Model by id."""
        ...

    async def find_model(self, model: str, *, timeout_s: float) -> KnownModel | None:
        """Return one Model, None if there is no such."""
        ...

    async def knows(self, model: str, version: str, *, timeout_s: float) -> bool:
        """Whether there is such a Model and, unless `version` is empty, such a Version or Alias of it."""
        ...

    async def demand(self, model: str, version: str, *, timeout_s: float) -> None:
        """Ask that a Version be placed; MissingError if the Model is unknown or not deployed."""
        ...

    async def deploy(self, model: str, *, timeout_s: float) -> None:
        """Ask that a Model be served, with the defaults; nothing happens if it is deployed already."""
        ...

    async def undeploy(self, model: str, *, timeout_s: float) -> None:
        """Ask that a Model be served no more; nothing happens if it is not deployed."""
        ...
