"""The calls that list, load and unload models, and that count what they have done."""

from __future__ import annotations

from typing import Any

from servemesh import oip
from servemesh.api.oip.v2 import inference_pb2 as pb
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
        oip.check_repository(request.repository_name)
        slots = [slot for slot in self._catalog.slots() if slot.state == "READY" or not request.ready]
        return pb.RepositoryIndexResponse(models=map(_index, slots))

    async def RepositoryModelLoad(
        self, request: pb.RepositoryModelLoadRequest, context: Any
    ) -> pb.RepositoryModelLoadResponse:
        oip.check_repository(request.repository_name)
        oip.check_no_overrides(request.parameters)
        await self._catalog.load(request.model_name)
        return pb.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(
        self, request: pb.RepositoryModelUnloadRequest, context: Any
    ) -> pb.RepositoryModelUnloadResponse:
        oip.check_repository(request.repository_name)
        await self._catalog.unload(request.model_name)
        return pb.RepositoryModelUnloadResponse()

    async def ModelStatistics(
        self, request: pb.ModelStatisticsRequest, context: Any
    ) -> pb.ModelStatisticsResponse:
        slots = self._catalog.slots(request.name, request.version)
        return pb.ModelStatisticsResponse(
            model_stats=[_statistics(slot, slot.statistics) for slot in slots if slot.statistics is not None]
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
