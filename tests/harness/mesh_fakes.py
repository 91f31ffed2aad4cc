"""Memory versions of what the gateway's use cases need: scripted workers and a registry in a dict."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.errors import ExpiredError, MissingError, ServemeshError, UnavailableError
from servemesh.gateway.domain.fleet import Fleet, Slot, SlotState, Worker
from servemesh.gateway.service.fleet_view import LiveFleet
from servemesh.gateway.service.ports import KnownModel, Metadata


def a_slot(model: str = "digits", version_id: int = 1, **changes: object) -> Slot:
    """Return a READY default slot with changes."""
    slot = Slot(model=model, version_id=version_id, state=SlotState.READY, is_default=True)
    return replace(slot, **changes)  # type: ignore[arg-type]


def a_worker(worker_id: str = "worker-1", *slots: Slot, **changes: object) -> Worker:
    """Return a worker that is reached at "{worker_id}:1", with changes."""
    worker = Worker(worker_id=worker_id, incarnation=f"{worker_id}-a", address=f"{worker_id}:1", slots=slots)
    return replace(worker, **changes)  # type: ignore[arg-type]


class FleetTable(LiveFleet):
    """A fleet that a test sets worker by worker."""

    def __init__(self, *workers: Worker) -> None:
        super().__init__(Fleet(revision=1, by_id={worker.worker_id: worker for worker in workers}))

    def set(self, *workers: Worker) -> None:
        """Replace all workers."""
        revision = self.fleet.revision + 1
        self.put(Fleet(revision=revision, by_id={worker.worker_id: worker for worker in workers}))


class MemoryWorkers:
    """Workers that answer with their own address; `down` ones cannot be reached."""

    def __init__(self, fleet: FleetTable) -> None:
        self._fleet = fleet
        self.down: set[str] = set()
        self.hanging: set[str] = set()  # they begin to load, and never say more
        self.answered: list[tuple[str, str]] = []
        self.answer_bytes = 0  # of an answer on a stream
        self.loads: list[tuple[str, str, int]] = []
        self.load_is_slow = False  # it goes on in the worker, but not within the caller's patience
        self.statistics: dict[str, list[pb.ModelStatistics]] = {}
        self.killed_after: dict[str, int] = {}  # answers to requests of streams
        self.rounds_refused: dict[str, ServemeshError] = {}
        self.rounds: list[int] = []  # how many requests of a stream were asked together

    async def infer(
        self, address: str, request: pb.ModelInferRequest, *, timeout_s: float, metadata: Metadata = ()
    ) -> pb.ModelInferResponse:
        self._reach(address)
        self.answered.append((address, request.id))
        return pb.ModelInferResponse(model_name=request.model_name, id=request.id)

    async def infer_many(
        self, address: str, requests: Sequence[bytes]
    ) -> AsyncGenerator[Sequence[pb.ModelStreamInferResponse], None]:
        self._reach(address)
        self.rounds.append(len(requests))
        if address in self.rounds_refused:
            raise self.rounds_refused[address]
        for content in requests:
            left = self.killed_after.get(address)
            if left == 0:
                raise UnavailableError("the worker was killed")
            if left is not None:
                self.killed_after[address] = left - 1
            request = pb.ModelInferRequest.FromString(content)
            self.answered.append((address, request.id))
            answer = pb.ModelInferResponse(
                id=request.id, model_version=address, raw_output_contents=[bytes(self.answer_bytes)]
            )
            yield [pb.ModelStreamInferResponse(infer_response=answer)]

    async def model_metadata(
        self, address: str, request: pb.ModelMetadataRequest, *, timeout_s: float
    ) -> pb.ModelMetadataResponse:
        self._reach(address)
        return pb.ModelMetadataResponse(name=request.name, versions=["1"], platform="onnxruntime_onnx")

    async def model_config(
        self, address: str, request: pb.ModelConfigRequest, *, timeout_s: float
    ) -> pb.ModelConfigResponse:
        self._reach(address)
        return pb.ModelConfigResponse()

    async def model_statistics(self, address: str, *, timeout_s: float) -> pb.ModelStatisticsResponse:
        self._reach(address)
        return pb.ModelStatisticsResponse(model_stats=self.statistics.get(address, []))

    async def load_slot(self, address: str, model: str, version_id: int, *, timeout_s: float) -> None:
        self._reach(address)
        self.loads.append((address, model, version_id))
        if address in self.hanging:
            await asyncio.Event().wait()
        if self.load_is_slow:
            raise ExpiredError("Deadline Exceeded")
        workers = [
            replace(worker, slots=tuple(replace(slot, state=SlotState.READY) for slot in worker.slots))
            if worker.address == address
            else worker
            for worker in self._fleet.fleet.workers
        ]
        self._fleet.set(*workers)

    def _reach(self, address: str) -> None:
        if address in self.down:
            raise UnavailableError(f"{address} cannot be reached")


class MemoryCatalog:
    """A registry in a dict; a demanded model is reported, and placed by the test."""

    def __init__(self, *models: KnownModel) -> None:
        self.known = {model.model: model for model in models}
        self.demands: list[tuple[str, str]] = []
        self.is_away = False
        self.has_workers = True

    async def models(self, *, timeout_s: float) -> Mapping[str, KnownModel]:
        self._reach()
        return dict(self.known)

    async def find_model(self, model: str, *, timeout_s: float) -> KnownModel | None:
        self._reach()
        return self.known.get(model)

    async def knows(self, model: str, version: str, *, timeout_s: float) -> bool:
        self._reach()
        known = self.known.get(model)
        return known is not None and (not version or version == str(known.latest_version_id))

    async def demand(self, model: str, version: str, *, timeout_s: float) -> None:
        self._reach()
        self.demands.append((model, version))
        if model not in self.known or not self.known[model].is_deployed:
            raise MissingError(f"{model} is not deployed")
        if not self.has_workers:
            raise UnavailableError("no worker is there", reason="NO_WORKERS", retry_after_s=0.5)

    async def deploy(self, model: str, *, timeout_s: float) -> None:
        self._reach()
        self.known[model] = replace(self.known[model], is_deployed=True)

    async def undeploy(self, model: str, *, timeout_s: float) -> None:
        self._reach()
        if model not in self.known:
            raise MissingError(f"{model} is unknown")
        self.known[model] = replace(self.known[model], is_deployed=False)

    def _reach(self) -> None:
        if self.is_away:
            raise UnavailableError("the registry cannot be reached")
