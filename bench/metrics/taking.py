"""How many points a metrics service takes on one processor core, and in how much memory, when senders never stop."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil

from bench.metrics.fleet import Fleet, Size
from servemesh.api.otlp.v1 import metrics_export_pb2
from servemesh.observe import names, otlp_paths

IN_FLIGHT = 16
INTERVAL_S = 5.0
WARM_UP_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What was seen."""

    points_per_s: float
    """Acknowledged, of wall time."""
    points_per_core_s: float
    """Acknowledged, of processor time."""
    memory_bytes_max: int
    shed_count: int
    """Messages that were told to come again."""


async def taken(folder: Path, size: Size, seconds: float) -> Taken:
    """Send as fast as answers come, from another core than the service's."""
    cores = sorted(os.sched_getaffinity(0))
    async with _service(folder, cores[0]) as (process, address):
        os.sched_setaffinity(0, set(cores[1:]) or set(cores))
        try:
            async with grpc.aio.insecure_channel(address) as channel:
                return await _driven(channel, process, Fleet(size, time.time() - 2 * 3_600), seconds)
        finally:
            os.sched_setaffinity(0, set(cores))


async def _driven(channel: grpc.aio.Channel, process: psutil.Process, fleet: Fleet, seconds: float) -> Taken:
    export = channel.unary_unary(
        otlp_paths.METRICS, response_deserializer=metrics_export_pb2.ExportMetricsServiceResponse.FromString
    )
    counts = [one.point_count for one in fleet.processes]
    waiting: deque[tuple[int, grpc.aio.UnaryUnaryCall]] = deque()
    acknowledged = shed = memory = 0
    begin_s = used_s = 0.0
    time_s, started_s = time.time() - 2 * 3_600, time.perf_counter()
    while begin_s == 0.0 or time.perf_counter() - begin_s < seconds:
        time_s += INTERVAL_S
        for count, request in zip(counts, fleet.requests(time_s, INTERVAL_S), strict=True):
            waiting.append((count, export(request.SerializeToString())))
            if len(waiting) >= IN_FLIGHT:
                sent, call = waiting.popleft()
                if await _is_taken(call):
                    acknowledged += sent
                else:
                    shed += 1
        memory = max(memory, process.memory_info().rss)
        if begin_s == 0.0 and time.perf_counter() - started_s > WARM_UP_S:
            begin_s, used_s, acknowledged, shed = time.perf_counter(), _cpu_s(process), 0, 0
    spent_s, used_s = time.perf_counter() - begin_s, _cpu_s(process) - used_s
    for _, call in waiting:
        await _is_taken(call)
    return Taken(
        points_per_s=acknowledged / spent_s,
        points_per_core_s=acknowledged / used_s,
        memory_bytes_max=memory,
        shed_count=shed,
    )


async def _is_taken(call: grpc.aio.UnaryUnaryCall) -> bool:
    try:
        response = await call
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return False
        raise
    assert not response.partial_success.rejected_data_points, response
    return True


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@asynccontextmanager
async def _service(folder: Path, core: int) -> AsyncIterator[tuple[psutil.Process, str]]:
    """Run the service with its defaults on one core."""
    environment = {**os.environ, "SERVEMESH_METRICS_DATA_DIR": str(folder)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "servemesh.metrics.main", env=environment, stderr=asyncio.subprocess.PIPE
    )
    os.sched_setaffinity(process.pid, {core})
    assert process.stderr is not None
    try:
        async for line in process.stderr:
            said = json.loads(line)
            if said["event"] == names.READY:
                async with asyncio.TaskGroup() as group:
                    reading = group.create_task(_discarded(process.stderr))
                    yield psutil.Process(process.pid), said["address"]
                    reading.cancel()
                break
    finally:
        process.terminate()
        await process.wait()


async def _discarded(lines: asyncio.StreamReader) -> None:
    async for _ in lines:
        pass
