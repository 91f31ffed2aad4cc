"""The calls that list, load and unload models, and that count what they have done."""

from __future__ import annotations

from typing import Any

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.errors import UnsupportedError
from servemesh.worker.service.catalog import Catalog
from servemesh.worker.service.slots import SlotView
from servemesh.worker.service.statistics import Duration, Statistics

STATE_OF = {
    "READY": "READY",
    "LOADING": "LOADING",
    "WARMING": "LOADING",
    "DRAINING": "UNLOADING",
    "UNLOADED": "UNAVAILABLE",
    "FAILED": "UNAVAILABLE",
}


class RepositoryCalls:
    """Lists, loads, unloads and counts."""

    _catalog: Catalog

    async def RepositoryIndex(
        self, request: pb.RepositoryIndexRequest, context: Any
    ) -> pb.RepositoryIndexResponse:
        _check_repository(request.repository_name)
        slots = [slot for slot in self._catalog.slots() if slot.state == "READY" or not request.ready]
        return pb.RepositoryIndexResponse(models=map(_index, slots))

    async def RepositoryModelLoad(
        self, request: pb.RepositoryModelLoadRequest, context: Any
    ) -> pb.RepositoryModelLoadResponse:
        _check_repository(request.repository_name)
        _check_no_overrides(request)
        await self._catalog.load(request.model_name)
        return pb.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(
        self, request: pb.RepositoryModelUnloadRequest, context: Any
    ) -> pb.RepositoryModelUnloadResponse:
        _check_repository(request.repository_name)
        await self._catalog.unload(request.model_name)
        return pb.RepositoryModelUnloadResponse()

    async def ModelStatistics(
        self, request: pb.ModelStatisticsRequest, context: Any
    ) -> pb.ModelStatisticsResponse:
        slots = self._catalog.slots(request.name, request.version)
        return pb.ModelStatisticsResponse(
            model_stats=[_statistics(slot, slot.statistics) for slot in slots if slot.statistics is not None]
        )


def _check_repository(name: str) -> None:
    if name:
        raise UnsupportedError(
            f"there is one repository, without a name; repository_name is {name[:200]!r}",
            reason="REPOSITORY_UNKNOWN",
            repository_name=name[:200],
        )


def _check_no_overrides(request: pb.RepositoryModelLoadRequest) -> None:
    if request.parameters:
        raise UnsupportedError(
            "artifacts and settings come from the registry: load takes no parameters",
            reason="LOAD_PARAMETERS",
            parameters=", ".join(sorted(request.parameters))[:200],
        )


def _index(slot: SlotView) -> pb.RepositoryIndexResponse.ModelIndex:
    return pb.RepositoryIndexResponse.ModelIndex(
        name=slot.model,
        version=str(slot.version_id),
        state=STATE_OF[slot.state],
        reason=slot.message or ("" if slot.state == "READY" else slot.state.lower()),
    )


def _statistics(slot: SlotView, done: Statistics) -> pb.ModelStatistics:
    return pb.ModelStatistics(
        name=slot.model,
        version=str(slot.version_id),
        last_inference=done.last_call_ms,
        inference_count=done.rows,
        execution_count=done.batches,
        inference_stats=pb.InferStatistics(
            success=_duration(done.success),
            fail=_duration(done.fail),
            queue=_duration(done.queue),
            compute_input=_duration(done.compute_input),
            compute_infer=_duration(done.compute_infer),
            compute_output=_duration(done.compute_output),
        ),
        batch_stats=[
            pb.InferBatchStatistics(
                batch_size=rows,
                compute_input=_duration(size.compute_input),
                compute_infer=_duration(size.compute_infer),
                compute_output=_duration(size.compute_output),
            )
            for rows, size in sorted(done.by_rows.items())
        ],
        memory_usage=[pb.MemoryUsage(type="CPU", id=0, byte_size=slot.memory_bytes)],
    )


def _duration(duration: Duration) -> pb.StatisticDuration:
    return pb.StatisticDuration(count=duration.count, ns=duration.ns)
