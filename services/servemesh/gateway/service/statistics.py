"""Statistics of the whole mesh: sums over workers that never fall, whoever comes and goes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.errors import ServemeshError
from servemesh.gateway.domain.fleet import Worker
from servemesh.gateway.service.fleet_view import FleetView
from servemesh.gateway.service.ports import Workers

Version = tuple[str, str]
STEPS = (
    "success",
    "fail",
    "queue",
    "compute_input",
    "compute_infer",
    "compute_output",
    "cache_hit",
    "cache_miss",
)
BATCH_STEPS = ("compute_input", "compute_infer", "compute_output")


class MeshStatistics:
    """Remembers the last counters of every worker, so that those of a dead one still count."""

    def __init__(self, fleet: FleetView, workers: Workers, *, interval_s: float, timeout_s: float) -> None:
        self._view = fleet
        self._workers = workers
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._live: dict[str, dict[Version, pb.ModelStatistics]] = {}
        self._questions = 0
        self._answered: dict[str, int] = {}  # the newest question that each live worker has answered
        self._retired: dict[Version, pb.ModelStatistics] = {}

    async def run(self) -> None:
        """Read the counters every `interval_s`, for ever: what a worker did just before it died is kept."""
        while True:
            await self._read_all()
            await asyncio.sleep(self._interval_s)

    async def total(self, model: str, version_ids: frozenset[str]) -> list[pb.ModelStatistics]:
        """Return the sums by Version, fresh from every worker that answers; empty names mean all."""
        await self._read_all()
        sums: dict[Version, pb.ModelStatistics] = {}
        for counters in [self._retired, *self._live.values()]:
            for version, statistics in counters.items():
                if (not model or version[0] == model) and (not version_ids or version[1] in version_ids):
                    add(sums.setdefault(version, _blank(version)), statistics)
        return [sums[version] for version in sorted(sums, key=lambda key: (key[0], int(key[1])))]

    async def _read_all(self) -> None:
        workers = self._view.fleet.workers
        async with asyncio.TaskGroup() as group:
            for worker in workers:
                group.create_task(self._read(worker))
        known = {worker.incarnation for worker in self._view.fleet.workers}
        for incarnation in self._live.keys() - known:
            self._answered.pop(incarnation, None)
            for statistics in self._live.pop(incarnation).values():
                self._retire(statistics)

    async def _read(self, worker: Worker) -> None:
        self._questions += 1
        question = self._questions
        try:
            response = await self._workers.model_statistics(worker.address, timeout_s=self._timeout_s)
        except ServemeshError:
            return
        # An answer that was overtaken by a newer one, or by news that the worker left, has been counted already.
        is_known = any(worker.incarnation == other.incarnation for other in self._view.fleet.workers)
        if not is_known or question < self._answered.get(worker.incarnation, 0):
            return
        self._answered[worker.incarnation] = question
        known = self._live.setdefault(worker.incarnation, {})
        for statistics in response.model_stats:
            version = (statistics.name, statistics.version)
            before = known.get(version)
            if before is not None and _restarted(before, statistics):
                self._retire(before)
            known[version] = statistics

    def _retire(self, statistics: pb.ModelStatistics) -> None:
        version = (statistics.name, statistics.version)
        kept = self._retired.setdefault(version, _blank(version))
        add(kept, statistics)
        del kept.memory_usage[:]


def add(total: pb.ModelStatistics, part: pb.ModelStatistics) -> None:
    """Add `part` to `total`: counters are summed, the last inference is the later one."""
    total.last_inference = max(total.last_inference, part.last_inference)
    total.inference_count += part.inference_count
    total.execution_count += part.execution_count
    _add_steps(total.inference_stats, part.inference_stats, STEPS)
    by_size = {batch.batch_size: batch for batch in total.batch_stats}
    for batch in part.batch_stats:
        _add_steps(by_size.setdefault(batch.batch_size, _batch(batch.batch_size)), batch, BATCH_STEPS)
    ordered = [
        pb.InferBatchStatistics.FromString(by_size[size].SerializeToString()) for size in sorted(by_size)
    ]
    del total.batch_stats[:]
    total.batch_stats.extend(ordered)
    _add_memory(total, part.memory_usage)


def _add_steps(
    total: pb.InferStatistics | pb.InferBatchStatistics,
    part: pb.InferStatistics | pb.InferBatchStatistics,
    steps: Iterable[str],
) -> None:
    for step in steps:
        into, of = getattr(total, step), getattr(part, step)
        into.SetInParent()  # tools read the steps that never happened, too
        into.count += of.count
        into.ns += of.ns


def _add_memory(total: pb.ModelStatistics, parts: Iterable[pb.MemoryUsage]) -> None:
    by_device = {(usage.type, usage.id): usage for usage in total.memory_usage}
    for part in parts:
        known = by_device.get((part.type, part.id))
        if known is None:
            total.memory_usage.append(part)
        else:
            known.byte_size += part.byte_size


def _restarted(before: pb.ModelStatistics, now: pb.ModelStatistics) -> bool:
    """Whether the counters began anew: the Version was unloaded and loaded again."""
    return (
        now.inference_count < before.inference_count
        or now.execution_count < before.execution_count
        or now.inference_stats.success.count < before.inference_stats.success.count
    )


def _blank(version: Version) -> pb.ModelStatistics:
    return pb.ModelStatistics(name=version[0], version=version[1])


def _batch(size: int) -> pb.InferBatchStatistics:
    return pb.InferBatchStatistics(batch_size=size)
